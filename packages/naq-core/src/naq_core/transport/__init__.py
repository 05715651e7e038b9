"""A client for NATS. For NAQ's own distributions; may change in any release."""
