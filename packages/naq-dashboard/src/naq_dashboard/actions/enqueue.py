"""Enqueueing from the dashboard, as `naq enqueue` does it."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeVar

import msgspec
from litestar.exceptions import ValidationException

from naq_core.delivery_options import unique_id
from naq_core.enqueue.submit import submit_on
from naq_core.job import Job
from naq_core.names import new_id
from naq_core.option_set import OptionSet
from naq_core.options import OPTIONS, Option, read_options
from naq_core.storage.connection import Connection
from naq_core.written_calls import read_function
from naq_dashboard.actions.details import Target, Text
from naq_dashboard.languages import Sentence, said
from naq_dashboard.masking import MASK

__all__ = ["SERIALIZER", "NewJob", "Order", "check_call", "enqueue_job", "given_options", "offering", "target_of"]

T = TypeVar("T", bound="type[Order]")

SERIALIZER = "json"
"""How every call made here is stored, whatever the settings say: this process handles no pickles. All workers read it."""
LONGEST = 500_000
"""Characters of arguments; what is larger belongs into a program."""

NOT_GIVEN: tuple[object, ...] = (None, "", [])


class Order(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What options are given in, each in a field of its name."""

    TABLE: ClassVar[Mapping[str, Option]] = OPTIONS


def offering(names: Collection[str]) -> Callable[[T], T]:
    """Give a struct the fields of the options of these names.

    A field takes any value, for the option's own check to refuse; null, and text or a list that is empty, count as not given.
    """

    def decorate(cls: T) -> T:
        fields = [(name, Any, None) for name in cls.TABLE if name in names]
        made: Any = msgspec.defstruct(
            cls.__name__, fields, bases=(cls,), module=cls.__module__, kw_only=True, forbid_unknown_fields=True
        )
        made.__doc__ = cls.__doc__
        return made  # type: ignore[no-any-return]  # a subclass

    return decorate


@offering(OPTIONS)
class NewJob(Order, kw_only=True, forbid_unknown_fields=True):
    """A call of a function that workers know by its name, and the job's options."""

    function: Text
    """`module:function`."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


def given_options(order: Order, now: datetime) -> dict[str, Any]:
    """Return the options that a struct of `offering` was given, as a program gives them.

    Args:
        now: The server's time, from which durations count.
    """
    values = {name: getattr(order, name) for name in order.__struct_fields__ if name in order.TABLE}
    stripped = {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}
    written = {name: value for name, value in stripped.items() if value not in NOT_GIVEN}
    given = read_options(written, now, order.TABLE)
    if isinstance(delay := given.get("delay"), str) and "at" not in given:
        at = OPTIONS["at"].kind.read(delay, now)
        if isinstance(at, datetime):  # the field took a time before there was `at`
            del given["delay"]
            given["at"] = at
    return given


def check_call(function: str, args: list[Any], kwargs: dict[str, Any]) -> str:
    """Return the name of the function that is called; nothing is imported here, the worker will.

    Raises:
        ValidationException: It is not `module:function`, or the arguments are too long.
    """
    length = len(msgspec.json.encode((args, kwargs)))
    if MASK in str((args, kwargs)):
        raise ValidationException(f"an argument contains {MASK}, which stands for a hidden value: type the value itself")
    if length > LONGEST:
        raise ValidationException(f"the arguments are too long: {length:,} characters of at most {LONGEST:,}")
    try:
        return read_function(function)
    except ValueError as error:
        raise ValidationException(str(error)) from error


_KEYS = frozenset({"unique", "unique_by", "throttle"})
"""Options that determine a job's id."""


def target_of(order: NewJob) -> Target:
    """Return id and queue of a job to be; its id is the one it is given, that of its unique key, or a new one."""
    job_id, key, queue = (str(getattr(order, name) or "").strip() for name in ("job_id", "unique", "queue"))
    return Target(job_id or (unique_id(key) if key else new_id()), queue)


async def enqueue_job(connection: Connection, target: Target, order: NewJob) -> Sentence:
    """Enqueue a call of a function that workers know by its name. Its id makes it safe to be repeated.

    Raises:
        ValidationException: The call is wrong. NaqError: An option is, or it cannot be enqueued.
    """
    function = check_call(order.function, order.args, order.kwargs)
    given = given_options(order, connection.clock.utc())
    options = OptionSet({"job_id": target.name, **given} if _KEYS.isdisjoint(given) else given)
    name = options.queue or connection.settings.default_queue
    job: Job[Any] = Job(function, order.args, order.kwargs, queue=name, serializer=SERIALIZER, options=options)
    await submit_on(connection, job)
    if not job.is_new:
        return said("Job %(job)s already exists and was not changed.", job=job.job_id)
    return said("Enqueued as %(job)s on queue %(queue)s.", job=job.job_id, queue=job.queue)
