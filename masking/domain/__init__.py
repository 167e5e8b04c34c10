"""The pure core: what a session is and what happens to it. No I/O, no clock, no randomness."""
