"""What may be seen of a job by somebody from whom parts of its texts are hidden."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from naq_core.views import JobView

Mask: TypeAlias = Callable[[str], str]
"""Returns a text without what is to be hidden. It must depend on nothing but the text."""


def masked(view: JobView, mask: Mask | None) -> JobView:
    """Return a job with every text masked that its producer, its worker or its function wrote."""
    if mask is None:
        return view
    replace = msgspec.structs.replace
    progress = view.progress
    return replace(
        view,
        arguments=mask(view.arguments),
        result=None if view.result is None else mask(view.result),
        reason=mask(view.reason),
        tags=tuple(map(mask, view.tags)),
        headers=masked_headers(view.headers, mask),
        callbacks={event: [mask(call) for call in calls] for event, calls in view.callbacks.items()},
        errors=[replace(each, message=mask(each.message), traceback=mask(each.traceback)) for each in view.errors],
        logs=[replace(each, message=mask(each.message)) for each in view.logs],
        signal=mask(view.signal),
        progress=None if progress is None else replace(progress, note=mask(progress.note)),
    )


def masked_headers(headers: Mapping[str, str], mask: Mask) -> dict[str, str]:
    """Return headers as they may be seen; a value is masked with its name, which may say that it is a secret."""
    return {name: mask(f"{name}={value}").removeprefix(f"{name}=") for name, value in headers.items()}


def masked_value(value: Any, mask: Mask) -> Any:
    """Return a value of JSON as it may be seen: what is below a key that names a secret is hidden as a whole."""
    match value:
        case dict():
            return {mask(str(key)): _below(str(key), each, mask) for key, each in value.items()}
        case list() | tuple():
            return [masked_value(each, mask) for each in value]
        case str():
            return mask(value)
        case _:
            return value


def _below(key: str, value: Any, mask: Mask) -> Any:
    probe = f"{key}=x"
    hidden = mask(probe)
    return masked_value(value, mask) if hidden == probe else hidden.removeprefix(f"{key}=")


def searchable(view: JobView, mask: Mask | None) -> Iterator[str]:
    """Yield the texts in which words are looked for, as they may be seen."""
    yield view.job_id
    yield view.arguments if mask is None else mask(view.arguments)
    if view.errors:
        message = view.errors[-1].message
        yield message if mask is None else mask(message)
