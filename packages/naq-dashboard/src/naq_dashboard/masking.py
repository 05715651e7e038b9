"""Hides values that look like secrets in the text previews of arguments and results."""

import re
from functools import lru_cache

WORDS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "credential",
    "cookie",
    "sessionid",
    "cardnumber",
    "iban",
)
WHOLE_WORDS = frozenset({"otp", "pin", "cvv", "ssn", "pwd", "auth"})
"""Too short to be looked for inside of others: `shipping` is no secret."""
MASK = "•••"
KNOWN = 4096
"""Keys that are remembered: a search asks for the same few in thousands of records."""

_KEY = re.compile(r"(?<![\w.-])([\w.-]{1,100})[\"']?\s{0,4}(?:=>|=|:)\s{0,4}")
_VALUE = re.compile(
    r"""(?:[bru]{0,2}["']?(?:Bearer|Basic)\s+)?(?:[bru]{0,2}"(?:[^"\\]|\\.)*"?|[bru]{0,2}'(?:[^'\\]|\\.)*'?|[^\s,;)\]}]+)""",
    re.IGNORECASE | re.DOTALL,
)
_URL_USER = re.compile(r"(?<=://)[^\s/@'\"]{1,300}@")
_PARTS = re.compile(r"[^A-Za-z0-9]+")


class Masker:
    """Replaces the value after a key that looks like a secret's: `password='x'`, `"token": "y"`, `Authorization: Bearer w`.

    It works on text, as nothing is ever unpickled here, so it cannot know secrets that stand without their name.
    """

    def __init__(self, more: tuple[str, ...] = ()) -> None:
        self._words = (*WORDS, *(plain_word(word) for word in more))
        self._is_secret = lru_cache(KNOWN)(self._names_secret)

    def __call__(self, text: str | None) -> str:
        """Return the text without what looks secret."""
        if not text:
            return ""
        kept: list[str] = []
        done = 0
        for key in _KEY.finditer(text):
            if key.start() < done or not self._is_secret(key[1]):
                continue
            value = _VALUE.match(text, key.end())
            if value is not None:
                kept += (text[done : key.end()], MASK)
                done = value.end()
        kept.append(text[done:])
        return _URL_USER.sub(f"{MASK}@", "".join(kept))

    def _names_secret(self, key: str) -> bool:
        plain = plain_word(key)
        return any(word in plain for word in self._words) or not WHOLE_WORDS.isdisjoint(_PARTS.split(key.lower()))


def plain_word(text: str) -> str:
    """Return a word or key as the two are compared: its ASCII letters and digits, in lower case."""
    return _PARTS.sub("", text).lower()
