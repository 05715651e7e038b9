"""Pages and streams that follow what happens."""
