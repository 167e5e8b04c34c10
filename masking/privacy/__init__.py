"""What keeps phone numbers, PINs and tokens unreadable at rest."""
