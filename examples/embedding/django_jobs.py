"""Jobs that use models of the Django program: `naq worker --imports django_jobs`, beside it."""

import django_app  # noqa: F401 - calls `django.setup()`; a larger project has DJANGO_SETTINGS_MODULE and calls it here
from django.contrib.auth.models import User
from django.db import close_old_connections


def greeting(user_id: int) -> str:
    """Read the row as it is now; in a thread, or with `process=True` in a child process."""
    close_old_connections()
    return f"Welcome, {User.objects.get(pk=user_id).username}!"


def initial(user: User) -> str:
    """Take a model object: it can be unpickled once Django is set up, which `--imports` sees to in child processes too."""
    return str(user.username[0])
