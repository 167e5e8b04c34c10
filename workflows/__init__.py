"""Durable state machines. They decide nothing that masking.domain does not decide."""
