"""Reading the state of the whole: shared by the client, the CLI and the dashboard. Nothing here changes anything."""

from naq_core.inspect.workers import list_workers

__all__ = ["list_workers"]
