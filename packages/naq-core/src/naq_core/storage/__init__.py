"""What NAQ keeps on the server: one file for each kind of thing. For NAQ's own distributions; may change in any release."""
