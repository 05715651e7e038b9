"""Hides values that look like secrets in the text previews of arguments and results."""

import re

WORDS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api[-_]?key",
    "access[-_]?key",
    "private[-_]?key",
    "authorization",
    "credential",
    "cookie",
    "session[-_]?id",
    "otp",
    "pin",
    "cvv",
    "card[-_]?number",
    "iban",
    "ssn",
)
MASK = "•••"

_VALUE = r"""(?:[bru]{0,2}"(?:[^"\\]|\\.)*"?|[bru]{0,2}'(?:[^'\\]|\\.)*'?|[^\s,;)\]}]+)"""


class Masker:
    """Replaces the value after a key that looks like a secret's: `password='x'`, `"token": "y"`, `api_key=z`, `Authorization: Bearer w`.

    It works on text, as nothing is ever unpickled here, so it cannot know secrets that stand without their name.
    """

    def __init__(self, more: tuple[str, ...] = ()) -> None:
        words = "|".join((*WORDS, *(re.escape(word) for word in more)))
        key = rf"""(?P<key>["']?[\w.-]*(?:{words})[\w.-]*["']?\s*(?:=|:|=>)\s*)"""
        # Short words such as pin and otp must stand alone; `shipping=1` is no secret.
        key = key.replace("|otp|pin|", r"|(?<![A-Za-z])(?:otp|pin)(?![A-Za-z])|")
        self._pattern = re.compile(rf"{key}(?:Bearer\s+|Basic\s+)?{_VALUE}", re.IGNORECASE)
        self._url = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^\s/@'\"]+@", re.IGNORECASE)

    def __call__(self, text: str | None) -> str:
        """Return the text without what looks secret."""
        if not text:
            return ""
        masked = self._pattern.sub(lambda found: f"{found['key']}{MASK}", text)
        return self._url.sub(lambda found: f"{found['scheme']}{MASK}@", masked)
