"""Evidence packs: what a session's history, decisions, callbacks and money were, in a file that can be replayed."""
