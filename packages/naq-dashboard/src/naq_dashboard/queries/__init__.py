"""What the dashboard reads: for its pages and its API alike."""
