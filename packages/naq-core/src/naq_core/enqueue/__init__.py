"""The only way in which a job gets onto the server. For NAQ's own distributions; may change in any release."""
