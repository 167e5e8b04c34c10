"""Our own masking over any carrier that speaks Plivo's Voice XML."""
