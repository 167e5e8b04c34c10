"""Sessions at a carrier that does the masking itself: how ours follow them, and are put right by its records."""
