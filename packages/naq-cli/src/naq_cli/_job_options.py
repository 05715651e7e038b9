"""The options of a job and of a schedule on a command line, made of the table of options."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, make_dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from cyclopts import Group, Parameter

from naq_cli._errors import CommandError
from naq_cli.exit_codes import ExitCode
from naq_core.errors import InvalidOptionError, InvalidScheduleError
from naq_core.option_set import OptionSet
from naq_core.options import OPTIONS, RUN_OPTIONS, SCHEDULE_OPTIONS, Option, read_options

T = TypeVar("T", bound="TypedOptions")

TIMES = Group("Times", sort_key=5)
JOB = Group("Job", sort_key=10)
ATTEMPTS = Group("Attempts", sort_key=11)
NOT_GIVEN: tuple[object, ...] = (None, False, ())


class TypedOptions:
    """Options as they were typed; the fields are those that `offering` adds."""

    TABLE: ClassVar[Mapping[str, Option]] = OPTIONS

    def given(self, now: datetime) -> dict[str, Any]:
        """Return the options that were given, as a program gives them."""
        return read_options({name: value for name, value in vars(self).items() if value not in NOT_GIVEN}, now, self.TABLE)

    def read(self, now: datetime) -> OptionSet:
        """Return the options of a job that were given.

        Args:
            now: The server's time, from which durations count.

        Raises:
            CommandError: A value is wrong, or two contradict each other; names the option.
        """
        with flags_named():
            return OptionSet(self.given(now))


def offering(names: Collection[str]) -> Callable[[type[T]], type[T]]:
    """Give a class the fields of the options of these names, in the order of the table, how attempts are run last."""

    def decorate(cls: type[T]) -> type[T]:
        chosen = [(name, _group_of(name, cls.TABLE)) for name in cls.TABLE if name in names]
        chosen.sort(key=lambda each: (each[1] is ATTEMPTS, each[0] != "queue"))
        fields = [_field(name, cls.TABLE, group) for name, group in chosen]
        made = make_dataclass(cls.__name__, fields, bases=(cls,), frozen=True, kw_only=True)
        made.__module__ = cls.__module__
        return Parameter(name="*")(made)

    return decorate


@contextmanager
def flags_named() -> Iterator[None]:
    """Let the error of a wrong option name it as it is typed."""
    try:
        yield
    except InvalidOptionError as error:
        if error.setting not in OPTIONS:
            raise
        raise CommandError(f"{flags_of(error.setting)[0]}: {error.problem}", ExitCode.USAGE) from error
    except InvalidScheduleError as error:
        if error.what not in SCHEDULE_OPTIONS:
            raise
        raise CommandError(f"{flags_of(error.what, SCHEDULE_OPTIONS)[0]}: {error.problem}", ExitCode.USAGE) from error


def flags_of(name: str, table: Mapping[str, Option] = OPTIONS) -> tuple[str, ...]:
    """Return how an option is typed."""
    return table[name].flags or (f"--{name.replace('_', '-')}",)


def _group_of(name: str, table: Mapping[str, Option]) -> Group:
    return TIMES if table is SCHEDULE_OPTIONS else ATTEMPTS if name in RUN_OPTIONS else JOB


def _field(name: str, table: Mapping[str, Option], group: Group) -> tuple[str, Any, Any]:
    kind = table[name].kind
    parameter = Parameter(
        name=flags_of(name, table),
        help=table[name].described,
        group=group,
        negative="",
        metavar="CHOICE" if kind.choices else "INT" if kind.schema["type"] == "integer" else None,
    )
    if kind.is_list:
        return name, Annotated[tuple[str, ...], parameter], field(default=())
    if kind.schema["type"] == "boolean":
        return name, Annotated[bool, parameter], field(default=False)
    typed: Any = Literal[kind.choices] | str if kind.choices else str  # text: the check of the table refuses what is wrong
    return name, Annotated[typed | None, parameter], field(default=None)
