"""The HTTP side: the sessions API, carrier webhooks, health."""
