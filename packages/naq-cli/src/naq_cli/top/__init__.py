"""`naq top`: a live screen in the terminal."""
