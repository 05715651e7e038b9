"""Errors of webhooks."""

from naq_core.errors.base import NaqError


class WebhookError(NaqError):
    """A webhook was not accepted: the receiver cannot be reached, is overloaded, or has failed. Another try may succeed."""


class WebhookRefusedError(WebhookError):
    """A webhook was refused: another try would get the same answer."""
