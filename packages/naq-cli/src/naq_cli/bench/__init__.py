"""`naq bench`: the command, what it measures, and the jobs that its workers run."""
