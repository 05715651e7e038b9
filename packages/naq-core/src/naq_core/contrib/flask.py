"""Flask: each attempt runs within the context of the application."""

from collections.abc import Callable, Iterator

try:
    from flask import Flask
except ImportError as error:
    raise ImportError("Flask is not installed: pip install flask") from error

from naq_core.middleware import Attempt

__all__ = ["AppContext"]


class AppContext:
    """Middleware that pushes an application context, so that `current_app`, `g` and extensions work in jobs.

    Functions of `teardown_appcontext` are called after the attempt, with its error.

    Args:
        app: The application, or a function that makes it, which is called when the first job runs.
    """

    def __init__(self, app: Flask | Callable[[], Flask]) -> None:
        self._app = app

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        """Run the function within the context."""
        del attempt
        if not isinstance(self._app, Flask):
            self._app = self._app()
        with self._app.app_context():
            yield
