"""Callbacks on their way to customers."""
