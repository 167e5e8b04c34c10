"""What a newcomer can try."""
