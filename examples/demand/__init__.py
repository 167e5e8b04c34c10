"""Synthetic days of demand for `masking numbers plan`."""
