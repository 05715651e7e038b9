"""One module for each task queue."""
