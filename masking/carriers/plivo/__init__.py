"""Plivo as the carrier that does the masking itself: its Masking API, and the callbacks of its sessions."""
