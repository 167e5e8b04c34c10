"""A ride whose rider and driver call each other without learning each other's number."""
