"""The form of a check for Nagios, Icinga and cron: one line with performance data, and one of four exit codes.

As the Monitoring Plugins Development Guidelines have it.
"""

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from naq_cli._errors import CommandError, explain
from naq_cli._format import printable
from naq_cli._options import Common
from naq_cli._parameters import with_parameters
from naq_cli._session import Session, configure_logging, make_output
from naq_cli.exit_codes import ExitCode
from naq_core.connection import Connection
from naq_core.errors import BrokerError, NaqError
from naq_core.settings import Settings

PATIENCE = 10.0
"""Seconds after which a check is given up: the monitoring system has a limit, too."""
_AWAY = frozenset({ExitCode.UNREACHABLE, ExitCode.TIMED_OUT})


class Status(IntEnum):
    """The state of what is checked; also the exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a figure is a warning or critical; None: never."""

    warning: float | None = None
    critical: float | None = None
    is_least: bool = False
    """The figure must not be less; else it must not be more."""

    def status(self, value: float) -> Status:
        """Return what a figure amounts to."""
        for status, limit in ((Status.CRITICAL, self.critical), (Status.WARNING, self.warning)):
            if limit is not None and (value < limit if self.is_least else value > limit):
                return status
        return Status.OK

    def __str__(self) -> str:
        """Return the ranges as performance data has them."""
        return ";".join("" if each is None else f"{each:g}{':' * self.is_least}" for each in (self.warning, self.critical))


@dataclass(frozen=True, slots=True)
class PerformanceFigure:
    """A figure among the performance data."""

    label: str
    value: float
    limits: Thresholds = Thresholds()
    unit: str = ""

    def __str__(self) -> str:
        """Return it as `'label'=value[unit];[warning];[critical]`."""
        label = f"'{self.label}'" if set(self.label) & set(" ='") else self.label
        value = f"{self.value:.3f}".rstrip("0").rstrip(".")
        return f"{label}={value}{self.unit};{self.limits}".rstrip(";")


@dataclass(frozen=True, slots=True)
class StatusFinding:
    """Something that is not as it should be."""

    status: Status
    text: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check has found."""

    findings: Sequence[StatusFinding]
    summary: str
    """What to say where nothing is wrong."""
    figures: Sequence[PerformanceFigure] = ()

    @property
    def status(self) -> Status:
        """The worst of the findings."""
        return max((each.status for each in self.findings), default=Status.OK)

    def line(self, service: str) -> str:
        """Return the line to print: the worst findings first."""
        found = sorted((each for each in self.findings if each.status), key=lambda each: -each.status)
        text = "; ".join(each.text for each in found) or self.summary
        figures = f" | {' '.join(map(str, self.figures))}" if self.figures else ""
        return f"{service.upper()} {self.status.name} - {printable(' '.join(text.split())).replace('|', '/')}{figures}"


def exceeded(figures: Iterable[tuple[PerformanceFigure, str]]) -> list[StatusFinding]:
    """Return a finding, with its text, for each figure beyond its limits."""
    return [StatusFinding(status, text) for figure, text in figures if (status := figure.limits.status(figure.value))]


def limits_of(text: str | None, option: str, read: Callable[[str], float], *, is_least: bool = False) -> Thresholds:
    """Read `WARNING,CRITICAL`; either may be empty, and the second may be missing.

    Args:
        text: As given; None: no limits.
        option: How it is called.
        read: Reads one of them; raises ValueError.
        is_least: The figure must not be less.

    Raises:
        CommandError: It is not of that form.
    """
    if text is None:
        return Thresholds(is_least=is_least)
    parts = [each.strip() for each in text.split(",")]
    try:
        if len(parts) > 2:
            raise ValueError("has more than two parts")  # noqa: TRY301 - one way to refuse it
        warning, critical = [read(each) if each else None for each in (*parts, "")][:2]
    except ValueError as error:
        raise CommandError(f"{option}: {text!r} is not of the form WARNING,CRITICAL: {error}", ExitCode.USAGE) from error
    return Thresholds(warning, critical, is_least)


def checking(service: str) -> Callable[[Callable[..., Awaitable[CheckResult]]], Callable[..., int]]:
    """Make a command of a coroutine function that returns a verdict; its first parameter is a session.

    Whatever goes wrong is said in the same form: without a usable server the state is critical, after a wrong option unknown.
    """

    def decorate(action: Callable[..., Awaitable[CheckResult]]) -> Callable[..., int]:
        def run(*args: object, options: Common | None = None, **kwargs: object) -> int:
            verdict = _verdict(options or Common(), lambda session: action(session, *args, **kwargs))
            if not (options and options.quiet and verdict.status is Status.OK):
                sys.stdout.write(f"{verdict.line(service)}\n")
            return verdict.status

        shared = inspect.Parameter("options", inspect.Parameter.KEYWORD_ONLY, default=Common(), annotation=Common)
        with_parameters(run, action, [*list(inspect.signature(action).parameters.values())[1:], shared])
        return run

    return decorate


def _verdict(options: Common, action: Callable[[Session], Awaitable[CheckResult]]) -> CheckResult:
    settings: Settings | None = None

    async def look(settings: Settings) -> CheckResult:
        async with asyncio.timeout(PATIENCE), Connection(settings, name="naq-cli", patient=False) as connection:
            return await action(Session(connection, make_output(options)))

    configure_logging()
    try:
        settings = Settings.load(nats_url=options.nats_url, nats_context=options.context, namespace=options.namespace)
        return asyncio.run(look(settings))
    except TimeoutError:
        return CheckResult([StatusFinding(Status.CRITICAL, f"NATS did not answer within {PATIENCE:g} s")], "")
    except (CommandError, NaqError, BrokerError) as error:
        message, code = explain(error, settings)
        return CheckResult([StatusFinding(Status.CRITICAL if code in _AWAY else Status.UNKNOWN, " ".join(message.split()))], "")
    except Exception as error:  # noqa: BLE001 - the boundary: the monitoring system reads one line
        return CheckResult([StatusFinding(Status.UNKNOWN, f"unexpected {type(error).__name__}: {error}")], "")
