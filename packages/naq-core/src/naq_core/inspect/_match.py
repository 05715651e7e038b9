"""Whether a job is one of those a filter means."""

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
