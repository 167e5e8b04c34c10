"""Who carries the calls."""
