"""Making sessions unreadable for good, in PostgreSQL and in Temporal: at a command, or when they are old."""
