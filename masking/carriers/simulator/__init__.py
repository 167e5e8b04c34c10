"""A telephone network that needs no phone.

A carrier of its own: it has phones and numbers, fetches a called number's answer URL, obeys
the Voice XML it gets, rings the other phone, posts the events. It meets the gateway only
over HTTP, signed, as Plivo Voice would (plivo-wire.md §6 and §7).

Where what is: a call's life in `call.py`; XML elements in `elements.py`, read in `voice_xml.py` and obeyed in
`interpreter.py`; the callee's leg in `dialling.py`; what phones do by themselves in `phones.py` and `ringing.py`;
what the application is told in `reporter.py`, and how it is reached in `application.py`.
"""
