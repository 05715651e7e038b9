"""A shop that enqueues tasks."""
