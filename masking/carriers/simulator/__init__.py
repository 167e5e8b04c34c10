"""A telephone network that needs no phone.

A carrier of its own: it has phones and numbers, fetches a called number's answer URL, obeys
the Voice XML it gets, rings the other phone, posts the events. It meets the gateway only
over HTTP, signed, as Plivo Voice would (plivo-wire.md §6 and §7).
"""
