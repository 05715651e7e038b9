"""Whether a job is one of those a filter means."""

from collections.abc import Callable
from datetime import datetime

from naq_core.views import JobFilter, JobView


def may_match(wanted: JobFilter, view: JobView) -> bool:
    """Return whether what is the same all through a job's life matches."""
    return (
        (not wanted.queue or view.queue == wanted.queue)
        and (not wanted.function or wanted.function in view.function)
        and (not wanted.workflow or view.workflow == wanted.workflow)
        and (not wanted.schedule or view.schedule == wanted.schedule)
        and _is_within(wanted, view.enqueued_at)
    )


def matches(wanted: JobFilter, view: JobView) -> bool:
    """Return whether the job matches as it is now."""
    return (
        (not wanted.states or view.state in wanted.states)
        and (not wanted.worker or view.worker == wanted.worker)
        and may_match(wanted, view)
        and (not wanted.error or (bool(view.errors) and _is_type(wanted.error, view.errors[-1].type)))
        and (not wanted.text or has_text(view, wanted.text))
    )


def record_sieve(wanted: JobFilter) -> Callable[[bytes], bool]:
    """Return what says of a stored record, unread, whether it may match: most of what a search passes is not worth decoding.

    Only words that JSON writes as they are can be looked for so.
    """
    words = [each.encode() for each in (wanted.function, wanted.worker, wanted.error) if _is_literal(each)]
    text = wanted.text.casefold().encode() if _is_literal(wanted.text) else b""

    def may_hold(data: bytes) -> bool:
        return all(word in data for word in words) and (not text or text in _folded(data))

    return may_hold


def _folded(data: bytes) -> bytes:
    return data.lower() if data.isascii() else data.decode(errors="replace").casefold().encode()


def _is_literal(text: str) -> bool:
    return text.isascii() and text.isprintable() and not set(text) & {'"', "\\"}


def has_text(view: JobView, text: str) -> bool:
    """Return whether the id, the arguments or the last error's message hold the text, whatever its case."""
    text = text.casefold()
    return (
        text in view.job_id.casefold()
        or text in view.arguments.casefold()
        or (bool(view.errors) and text in view.errors[-1].message.casefold())
    )


def _is_within(wanted: JobFilter, at: datetime | None) -> bool:
    if wanted.since is None and wanted.until is None:
        return True
    if at is None:
        return False
    return (wanted.since is None or at >= wanted.since) and (wanted.until is None or at <= wanted.until)


def _is_type(wanted: str, found: str) -> bool:
    """`ValueError` matches `ValueError`, `TimeoutError` also `package.TimeoutError`."""
    return found == wanted or found.endswith(f".{wanted}")
