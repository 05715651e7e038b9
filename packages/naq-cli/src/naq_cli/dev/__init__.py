"""`naq dev`: what the command does, the processes that it starts, and what keeps them running."""
