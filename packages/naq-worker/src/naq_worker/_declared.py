"""The options of a task, for jobs that were enqueued by the name of its function alone."""

import logging
from typing import Any

import msgspec

from naq_core.callback_option import EVENTS
from naq_core.callbacks import with_encoded_callbacks
from naq_core.dependency import signal_parent
from naq_core.envelope import Envelope, Fill, JobOptions
from naq_core.errors import NaqError, UnknownTaskError
from naq_core.option_set import NO_OPTION_SET, OptionSet, declared_options
from naq_core.options import UNKNOWN_BY_NAME, fill_options
from naq_core.queue_policy import made_key
from naq_core.serialization import Call, decode_call, find_function
from naq_core.settings import Settings

log = logging.getLogger(__name__)


class ByName:
    """Adds to jobs what their tasks declare for the options that the enqueuer left open.

    The enqueuer need not have the code, so only the worker can know them. It imports the function, as far as it may run it; one
    that cannot be found is left to the attempt, which says so.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.found: set[str] = set()
        """The names of the functions that were found: their modules are loaded."""

    def complete(self, envelope: Envelope) -> tuple[Envelope, dict[str, Any]]:
        """Look a job's function up, once for each delivery.

        Returns:
            The envelope with the options of its task, and what says whether it may start: the key and the signal that the task
            declares and the job lacks, by the names of the options. `with_gates` applies these.
        """
        if envelope.given is None:
            return envelope, {}
        declared = self._declared(envelope.fn)
        if declared is None:
            return msgspec.structs.replace(envelope, given=None), {}
        given = {*envelope.given, "key"}  # which may be a function of the arguments
        options = fill_options(envelope.opt, given, declared.job, declared.given)
        if options.has_callbacks:
            options = self._with_callbacks(options, envelope)
        expires = envelope.expires
        if not expires and "expires" in declared.given and "expires" not in given:
            expires = declared.delivery.expiry(envelope.at)
        gates = {
            "key": "" if envelope.opt.key else declared.job.key,
            "wait_for": "" if envelope.signal else declared.wiring[3],
        }
        gates = {name: value for name, value in gates.items() if value and name not in envelope.given}
        return msgspec.structs.replace(envelope, opt=options, expires=expires, given=None), gates

    def with_gates(self, envelope: Envelope, body: bytes, gates: dict[str, Any]) -> Envelope:
        """Return the envelope with a key and a signal.

        Args:
            body: The call, of a job with large arguments too.

        Raises:
            NaqError: The arguments cannot be read, or the task does not take them. Whatever the functions of the task raise.
        """
        args: tuple[Any, ...] = ()
        kwargs: dict[str, Any] = {}
        if any(map(callable, gates.values())):
            call = Call(envelope.fn, body, envelope.ct, by_value=False)
            _, args, kwargs = decode_call(call, self._settings.job_serializer, self._settings.allowed_functions)
        options, after, fill = envelope.opt, envelope.after, envelope.fill
        if key := gates.get("key"):
            options = msgspec.structs.replace(options, key=made_key(key, args, kwargs) if callable(key) else key)
        if wait_for := gates.get("wait_for"):
            after = (signal_parent(wait_for, args, kwargs), *after)
            fill = tuple(Fill(each.at, tuple(place + 1 for place in each.of), each.many, each.shape) for each in fill)
        return msgspec.structs.replace(envelope, opt=options, after=after, fill=fill)

    def _declared(self, name: str) -> OptionSet | None:
        try:
            function = find_function(name, self._settings.job_serializer, self._settings.allowed_functions)
        except UnknownTaskError:
            return None
        declared = declared_options(function) or NO_OPTION_SET
        if name not in self.found:
            self.found.add(name)
            _warn(name, declared)
        return declared

    def _with_callbacks(self, options: JobOptions, envelope: Envelope) -> JobOptions:
        """Return options with the callbacks of a task as they can be enqueued, or without them where that is impossible."""
        none = msgspec.structs.replace(options, **dict.fromkeys(EVENTS, ()))
        if options.fast:
            return none
        try:
            return with_encoded_callbacks(options, self._settings.job_serializer)
        except NaqError as error:
            log.error("job %s has no callbacks: %s", envelope.id, error)  # noqa: TRY400 - the error says it all
            return none


def _warn(name: str, declared: OptionSet) -> None:
    """Say which options of a task have no effect on jobs that were enqueued by its name."""
    if unknown := UNKNOWN_BY_NAME.intersection(declared.given):
        text = "%s declares %s, which has no effect on jobs that are enqueued by the name of the function: give it there too"
        log.warning(text, name, ", ".join(sorted(unknown)))
