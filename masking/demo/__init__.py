"""`masking demo`: a masked call from create to the final bill, for people to watch."""
