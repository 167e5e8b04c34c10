"""Files by name, in a folder or in object storage."""
