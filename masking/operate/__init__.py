"""What operators do from the command line, on the same database as the running services."""
