"""What sessions cost: prices by rate cards, the ledger, corrections, and the comparison with a carrier's records."""
