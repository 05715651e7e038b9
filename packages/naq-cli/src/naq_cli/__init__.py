"""The `naq` command; what it can do depends on the NAQ packages installed beside it."""
