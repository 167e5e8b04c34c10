"""PostgreSQL and Temporal on one machine, from Python packages, for `masking run` and the demo."""
