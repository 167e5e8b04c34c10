"""The whole system on one machine, in one process tree: `masking run`."""
