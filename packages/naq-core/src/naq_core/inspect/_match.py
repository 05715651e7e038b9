"""Whether a job is one of those a filter means."""

import re
from collections.abc import Callable
from datetime import datetime

from naq_core.masks import Mask, masked_headers, searchable
from naq_core.views import JobFilter, JobView

_ANY = r'(?:[^"\\]|\\.)*'
"""What may come before something within a JSON string."""


def may_match(wanted: JobFilter, view: JobView, mask: Mask | None = None) -> bool:
    """Return whether what is the same all through a job's life matches.

    Args:
        mask: As of `matches`.
    """
    return (
        (not wanted.queue or view.queue in wanted.queues)
        and (not wanted.function or wanted.function in view.function)
        and (not wanted.workflow or view.workflow == wanted.workflow)
        and (not wanted.schedule or view.schedule == wanted.schedule)
        and _is_within(wanted, view.enqueued_at)
        and (not (wanted.tags or wanted.headers) or _has_labels(wanted, view, mask))
    )


def matches(wanted: JobFilter, view: JobView, mask: Mask | None = None) -> bool:
    """Return whether the job matches as it is now.

    Args:
        view: As it is stored.
        mask: Hides parts of its texts, which then match nothing.
    """
    return (
        (not wanted.states or view.state in wanted.states)
        and (not wanted.worker or view.worker == wanted.worker)
        and may_match(wanted, view, mask)
        and (not wanted.error or (bool(view.errors) and _is_type(wanted.error, view.errors[-1].type)))
        and (not wanted.text or has_text(view, wanted.text, mask))
    )


def record_sieve(wanted: JobFilter, mask: Mask | None = None) -> Callable[[bytes], bool]:
    """Return what says of a stored record, unread, whether it may match: most of what a search passes is not worth decoding.

    Only words that JSON writes as they are can be looked for so. Names are looked for in their own fields alone, and text not at
    all where parts of it are masked: how long a search takes, and how far it comes in its time, would tell what they hold.
    """
    patterns = [
        re.compile(rf'"{field}"\s*:\s*"{before}{re.escape(word)}'.encode())
        for field, before, word in (
            ("function", _ANY, wanted.function),
            ("worker", "", wanted.worker),
            ("type", rf"(?:{_ANY}\.)?", wanted.error),
        )
        if _is_literal(word)
    ]
    if mask is None:
        patterns += [re.compile(re.escape(f'"{each}"').encode()) for each in wanted.tags if _is_literal(each)]
        patterns += [re.compile(re.escape(f'"{each}"').encode()) for _, each in wanted.headers if _is_literal(each)]
    text = wanted.text.casefold().encode() if mask is None and _is_literal(wanted.text) else b""

    def may_hold(data: bytes) -> bool:
        return all(pattern.search(data) for pattern in patterns) and (not text or text in _folded(data))

    return may_hold


def _folded(data: bytes) -> bytes:
    return data.lower() if data.isascii() else data.decode(errors="replace").casefold().encode()


def _is_literal(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and not set(text) & {'"', "\\"}


def has_text(view: JobView, text: str, mask: Mask | None = None) -> bool:
    """Return whether the id, or what may be seen of the arguments or of the last error's message, holds the text in any case."""
    text = text.casefold()
    return any(text in each.casefold() for each in searchable(view, mask))


def _has_labels(wanted: JobFilter, view: JobView, mask: Mask | None) -> bool:
    """Return whether a job has these tags and headers, as they may be seen."""
    tags = set(view.tags) if mask is None else set(map(mask, view.tags))
    if not tags.issuperset(wanted.tags):
        return False
    for name, value in wanted.headers:
        found = view.headers.get(name)
        if found != value or (mask is not None and masked_headers({name: found}, mask)[name] != value):
            return False
    return True


def _is_within(wanted: JobFilter, at: datetime | None) -> bool:
    if wanted.since is None and wanted.until is None:
        return True
    if at is None:
        return False
    return (wanted.since is None or at >= wanted.since) and (wanted.until is None or at <= wanted.until)


def _is_type(wanted: str, found: str) -> bool:
    """`ValueError` matches `ValueError`, `TimeoutError` also `package.TimeoutError`."""
    return found == wanted or found.endswith(f".{wanted}")
