"""What the web frameworks have in common: how long a request waits for NATS, and what it answers then."""

import logging
from typing import Any

from naq_client.queue import Queue
from naq_core.errors import EnqueueUnknownError, JobTimeoutError
from naq_core.settings import Settings

log = logging.getLogger(__name__)

REQUEST_BUDGET = 2.0
"""Seconds that a request waits for a NATS server that is away, where no setting says otherwise. Scripts wait 30."""
RETRY_AFTER = "5"
"""Seconds after which a client may ask again."""


def request_settings(**given: Any) -> Settings:
    """Return settings with a `publish_budget` that suits requests, unless one was set.

    Args:
        given: Settings by their names.

    Raises:
        InvalidOptionError: There is no such setting. ConfigurationError: A value is wrong.
    """
    settings = Settings.choose(None, Queue, **given)
    if settings.source("publish_budget") == "default":
        return Settings.choose(settings, Queue, publish_budget=REQUEST_BUDGET)
    return settings


def explained(error: Exception) -> str:
    """Return what the sender of a request may know of an error, and log the rest, which names servers."""
    log.warning("a request was answered with 503: %s", error)
    if isinstance(error, JobTimeoutError):
        return "The job has not finished in time. It goes on."
    if isinstance(error, EnqueueUnknownError):
        return "It is unknown whether the job was stored."
    return "Jobs cannot be accepted at the moment."
