"""A function call with an id and options: how it is made, checked, encoded and decoded."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import Any, Generic, Self, TypeVar

import msgspec

from naq_core import names
from naq_core.calling import call_here
from naq_core.chosen_arguments import key_of
from naq_core.delivery_options import NO_DELIVERY_OPTIONS, DeliveryOptions
from naq_core.dependency import NO_WIRING, Wiring, is_wired, wire, with_results_named
from naq_core.envelope import WIRE_VERSION, Envelope, JobOptions, Large, encode_envelope
from naq_core.errors import InvalidOptionError, JobError
from naq_core.functions import function_name, registered_object, unwrap
from naq_core.option_set import OptionSet, options_for
from naq_core.options import ENQUEUE_OPTIONS, check_names, with_given
from naq_core.previews import preview
from naq_core.queue_policy import made_key
from naq_core.record import JobRecord
from naq_core.retry import Delay
from naq_core.serialization import JSON, Call, decode_call, encode_call
from naq_core.settings import Settings
from naq_core.signatures import check_call, checked_call
from naq_core.storage import objects
from naq_core.storage.connection import Connection
from naq_core.typed_json import convert_arguments

R_co = TypeVar("R_co", covariant=True)

TEXT = {str}


NO_KWARGS: Mapping[str, Any] = MappingProxyType({})


class _Unnamed(str):
    """The queue of a job for which none was named, unlike one that was named so."""

    __slots__ = ()


UNNAMED = _Unnamed("default")


def _given(function: Any, max_retries: Any, retry_delay: Any, job_id: Any, more: Mapping[str, Any]) -> OptionSet:
    if max_retries is None and retry_delay is None and job_id is None and not more:
        return options_for(function)
    check_names(more, ENQUEUE_OPTIONS, "a job")
    given = {"max_retries": max_retries, "retry_delay": retry_delay, "job_id": job_id}
    return options_for(function, OptionSet({**{name: value for name, value in given.items() if value is not None}, **more}))


class JobCall(Generic[R_co]):
    """One call of a function, to be made by a worker; `Job` adds how it is followed.

    Args and errors are those of `Job`.
    """

    __slots__ = (
        "_args",
        "_call",
        "_connection",
        "_ended",
        "_function",
        "_given",
        "_is_checked",
        "_kwargs",
        "_laid",
        "_large",
        "_preview",
        "budget",
        "delivery",
        "due",
        "enqueued_at",
        "expires",
        "is_fresh",
        "is_new",
        "job_id",
        "options",
        "queue",
        "run",
        "sequence",
        "serializer",
        "wiring",
        "workflow",
    )

    def __init__(  # noqa: PLR0913, PLR0915 - the promised signature, and one attribute after the other
        self,
        function: Callable[..., Any] | str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        max_retries: int | None = None,
        retry_delay: Delay | Sequence[Delay] | None = None,
        *,
        job_id: str | None = None,
        queue: str = UNNAMED,
        serializer: str | None = None,
        options: OptionSet | None = None,
        **more: Any,
    ) -> None:
        is_plain = type(args) is tuple and (not kwargs or (type(kwargs) is dict and {*map(type, kwargs)} == TEXT))
        if not is_plain or not (callable(function) or type(function) is str):
            function = checked_call(function, args, kwargs)
        kwargs = kwargs or NO_KWARGS
        if options is None:
            options = _given(function, max_retries, retry_delay, job_id, more)
        if not isinstance(options, OptionSet):
            raise InvalidOptionError("options", f"must be an OptionSet, not a {type(options).__name__}: use keywords instead")
        job_options = options.job
        if callable(job_options.key):
            job_options = msgspec.structs.replace(job_options, key=made_key(job_options.key, args, kwargs))
        self.wiring = NO_WIRING
        """What it waits for."""
        depends_on, lenient, tell, wait_for = options.wiring
        if depends_on is not None or tell or wait_for is not None or is_wired(args, kwargs):
            self.wiring, args, kwargs = wire(depends_on or (), args, kwargs, allow_failure=lenient, tell=tell, wait_for=wait_for)
        self._function: Callable[..., Any] | str = unwrap(function) if callable(function) else function
        self._args = args
        self._kwargs: Mapping[str, Any] = kwargs
        self._call: Call | None = None
        self._large: Large | None = None
        self._preview: str | None = None
        """Of the arguments; of a deserialized job, whose arguments are decoded only when they are asked for."""
        self.serializer = serializer
        """`pickle` or `json`; None: the one of the connection, else the setting."""
        self._connection: Connection | None = None
        self._ended: JobRecord | None = None
        self._laid: JobCall[R_co] | None = None
        delivery = options.delivery
        if delivery.unique_by is not None:
            key = key_of(self._function, args, kwargs, delivery.unique_by)
            delivery = delivery._replace(unique=key, unique_by=None)
        self.delivery = delivery
        """When it may start, until when, and which others it excludes."""
        chosen = delivery.job_id if delivery.unique else options.job_id
        self.job_id = names.new_id() if chosen is None else names.check_job_id(chosen)
        self.is_fresh = chosen is None
        """The id was made here, so no other client can have enqueued it."""
        self.queue = names.check_queue((options.queue or "default") if queue is UNNAMED else queue)
        self.run = names.new_id() if delivery.unique else ""
        """The run token, if the id may have several runs, one after the other."""
        self.sequence = 0
        """Of such a run: the stream sequence it was stored at."""
        self.is_new = True
        """Whether its enqueue stored it; False where a live job of its id was there and is meant instead."""
        self.enqueued_at = self.due = self.expires = 0.0
        """Seconds since the epoch, fixed when it is enqueued; 0 for at once, and for never."""
        self.workflow = ""
        """The workflow it belongs to."""
        self.options = job_options
        self.budget = options.budget
        """Seconds its enqueue may be repeated; None: as the settings say."""
        self._given = options.worker_options if isinstance(function, str) else None
        self._is_checked = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.job_id} {self.function_name} on {self.queue!r}>"

    @property
    def ties(self) -> Wiring:
        """The former name of `wiring`."""
        warnings.warn("Job.ties is now Job.wiring", DeprecationWarning, stacklevel=2)
        return self.wiring

    @property
    def terms(self) -> DeliveryOptions:
        """The former name of `delivery`."""
        warnings.warn("Job.terms is now Job.delivery", DeprecationWarning, stacklevel=2)
        return self.delivery

    @property
    def function_name(self) -> str:
        """`module:qualname`."""
        if self._call is not None:
            return self._call.function
        return self._function if isinstance(self._function, str) else function_name(self._function)

    @property
    def function(self) -> Callable[..., Any] | str:
        """The function; of a deserialized job decoded on first use."""
        self._decode()
        return self._function

    @property
    def plain_function(self) -> Callable[..., Any] | None:
        """The function, where this process has it: of one that is named only a task's that is registered here."""
        return registered_object(self._function) if isinstance(self._function, str) else self._function

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments."""
        self._decode()
        return tuple(self._args)

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments."""
        self._decode()
        return dict(self._kwargs)

    @property
    def max_retries(self) -> int:
        """How many times a failed job is retried."""
        return self.options.retry.max_retries

    @property
    def retry_delay(self) -> float | tuple[float, ...]:
        """Seconds before each retry."""
        delays = self.options.retry.delays
        return delays[0] if len(delays) == 1 else delays

    def _decode(self) -> None:
        if self._call is not None and self._function == "":
            function, args, kwargs = decode_call(self._call, self._serializer_name())
            if self._call.content_type == JSON:
                args, kwargs = convert_arguments(function, args, kwargs, self._open_arguments())
            self._function, self._args, self._kwargs = function, args, kwargs

    def _open_arguments(self) -> list[int | str]:
        """Return the arguments whose values are the results of other jobs."""
        return [fill.at for fill in self.wiring.fill]

    def _serializer_name(self) -> str:
        if self.serializer is not None:
            return self.serializer
        return (Settings.load() if self._connection is None else self._connection.settings).job_serializer

    def change_options(self, options: JobOptions, names: Iterable[str]) -> None:
        """Take other options; those of these names count as given, so that a task's do not replace them (for middleware)."""
        self.options = options
        self._given = with_given(self._given, names)

    def change_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take other arguments; those that are the same objects as before cost nothing (for middleware)."""
        before = (*self._args, *self._kwargs.values())
        if [*self._kwargs] == [*kwargs] and list(map(id, before)) == list(map(id, (*args, *kwargs.values()))):
            return
        self._args, self._kwargs = args, kwargs
        self._call, self._preview, self._is_checked = None, None, False

    def check(self) -> None:
        """Check the arguments against the function's signature, where it is known, once (for queues).

        Raises:
            InvalidCallError: One is missing or surplus; names it.
        """
        if not self._is_checked and not isinstance(self._function, str):
            check_call(self._function, self._args, self._kwargs)
        self._is_checked = True

    def encode(self) -> Call:
        """Return function and arguments as bytes, made once.

        Raises:
            EncodeError: The function or an argument cannot be serialized; names it.
            InvalidCallError: The arguments do not fit the function's signature.
        """
        if self._call is None:
            if not self._is_checked:
                self.check()
            open_at = self._open_arguments() if self.wiring.fill else ()
            self._call = encode_call(self._function, self._args, self._kwargs, self._serializer_name(), open_at)
        return self._call

    def _fix_times(self) -> None:
        self.enqueued_at = time.time() if self._connection is None else self._connection.clock.now()
        if self.delivery is not NO_DELIVERY_OPTIONS:
            self.due, self.expires = self.delivery.due(self.enqueued_at), self.delivery.expiry(self.enqueued_at)

    def is_end(self, record: JobRecord) -> bool:
        """Whether a record is that of this job's end: of its run of the id, or of one that took its place."""
        return record.state.is_final and (not self.run or record.run == self.run or record.sequence > self.sequence > 0)

    def serialize(self) -> bytes:
        """Return the job's wire form, unsigned.

        Raises:
            EncodeError: The function or an argument cannot be serialized; names it.
        """
        call = self._call or self.encode()
        if not self.enqueued_at:
            self._fix_times()
        shown = with_results_named(self.wiring, self._args, self._kwargs) if self.wiring.fill else (self._args, self._kwargs)
        return encode_envelope(
            Envelope(
                v=WIRE_VERSION,
                id=self.job_id,
                fn=call.function,
                ct=call.content_type,
                body=call.body if self._large is None else b"",
                at=self.enqueued_at,
                by_value=call.by_value,
                source=call.source,
                run=self.run,
                args=preview(*shown) if self._preview is None else self._preview,
                opt=self.options if not self.options.has_callbacks else self._options_with_callbacks(),
                given=self._given,
                after=self.wiring.after,
                fill=self.wiring.fill,
                tell=self.wiring.tell,
                workflow=self.workflow,
                large=self._large,
                expires=self.expires,
            )
        )

    def _options_with_callbacks(self) -> JobOptions:
        from naq_core.callbacks import with_encoded_callbacks  # noqa: PLC0415 - which makes jobs of them

        return with_encoded_callbacks(self.options, self._serializer_name())

    async def store_arguments(self, connection: Connection, *, held_for: float = 0.0) -> None:
        """Put the encoded call into the object store, so that `serialize` only refers to it (for queues).

        Args:
            held_for: Seconds until the job becomes ready, by which the call is kept longer.
        """
        settings = connection.settings
        ttl = held_for + (settings.large_ttl + settings.dead_ttl).total_seconds()
        self._large = await objects.put(connection, self.queue, self.job_id, objects.ARGUMENTS, self.encode().body, ttl)

    async def load_arguments(self, connection: Connection) -> None:
        """Read the encoded call of a deserialized job back, where it is in the object store.

        Raises:
            LargePayloadError: It is gone, or not what was stored.
        """
        call = self._call
        if call is not None and self._large is not None and not call.body:
            self._call = msgspec.structs.replace(call, body=await objects.get(connection, self._large))

    async def discard_arguments(self) -> None:
        """Remove the call from the object store after all, as the job was not enqueued (for queues)."""
        large, self._large = self._large, None
        if large is not None:
            await objects.remove(await self.connection.here(), large)

    async def execute(self) -> Any:
        """Call the function here and now, and return what it returns; a plain function runs in a thread."""
        self._decode()
        return await call_here(self._function, self._args, self._kwargs)

    def copied(self) -> Self:
        """Return a copy for a workflow to add dependencies to, so that this job stays as it is (for workflows).

        The first copy has this job's id, and is what this job's own methods follow. Any further one, or one of a job that was
        enqueued before, gets a new id, unless the id was chosen.
        """
        made = copy(self)
        if self._connection is None and self._laid is None:
            self._laid = made
        else:
            made._begin_again()  # noqa: SLF001 - a job itself
        return made

    def _begin_again(self) -> None:
        """Become a job that was never enqueued, with the same call and options."""
        self._connection = self._laid = self._large = None
        self.workflow = ""
        self.enqueued_at = self.due = self.expires = 0.0
        self.is_new, self.sequence = True, 0
        if self.is_fresh:
            self.job_id = names.new_id()
        if self.run:
            self.run = names.new_id()

    def bind(self, connection: Connection) -> None:
        """Tie the job to the connection that follows it (for queues)."""
        self._connection = connection

    @property
    def connection(self) -> Connection:
        """The connection that follows the job.

        Raises:
            JobError: It was not enqueued through a queue.
        """
        if self._connection is None:
            if self._laid is not None:
                return self._laid.connection
            raise JobError(self.job_id, "was not enqueued through a queue, so it has no connection")
        return self._connection
