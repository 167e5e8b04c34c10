"""A pool of virtual numbers: which one a session gets, why one cannot be had, and how many are needed."""
