"""Where functions run: on the event loop, in threads, in child processes."""
