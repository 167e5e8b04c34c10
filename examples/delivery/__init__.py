"""A courier with many customers at once: each has a number of its own on which the two reach each other."""
