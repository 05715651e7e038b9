"""The commands that naq-cli itself brings; each module is imported when its command runs."""
