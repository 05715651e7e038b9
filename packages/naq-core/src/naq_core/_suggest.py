"""What a misspelt name was probably meant to be."""

from collections.abc import Iterable


def meant(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the closest of the known names, or nothing where none is close."""
    from difflib import get_close_matches  # noqa: PLC0415 - only errors need it

    close = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""
