"""Number masking: Plivo's Masking Session API over Temporal workflows."""
