"""What the dashboard can change: for its forms and its API alike."""
