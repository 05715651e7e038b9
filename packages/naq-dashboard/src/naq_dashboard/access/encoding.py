"""Bytes as text for URLs, cookies and settings."""

import base64

__all__ = ["as_bytes", "as_text"]


def as_text(data: bytes) -> str:
    """Return bytes as URL-safe Base64 without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def as_bytes(text: str) -> bytes:
    """Return the bytes that `as_text` wrote.

    Raises:
        ValueError: The text is not Base64.
    """
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
