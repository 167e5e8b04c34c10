"""Recordings in our own storage: fetched from the carrier, kept encrypted, handed over, removed."""
