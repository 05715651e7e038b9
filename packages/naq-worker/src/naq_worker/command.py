"""The command that runs a worker process: `naq worker` and `python -m naq_worker`."""

import asyncio
import gc
import logging
import socket
import sys

from naq_core.commands import import_modules, loop_factory, make_current_directory_importable, unreachable
from naq_core.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    InvalidNameError,
    InvalidOptionError,
)
from naq_core.log_lines import has_room
from naq_core.logs import complain, logging_set_up
from naq_core.settings import Settings
from naq_core.standard_streams import treat_output_as_log
from naq_worker._leaving import PATIENCE, Deadline, leftover_threads
from naq_worker.worker import Worker

__all__ = ["SHORT_OPTIONS", "worker"]

SHORT_OPTIONS = {"concurrency": "-c", "imports": "-i"}
"""Short spellings that `naq worker` adds."""

_NAME = "worker"
_CANCELLED, _USAGE, _UNREACHABLE, _IMPORT_FAILED, _INTERRUPTED = 1, 2, 3, 4, 130

_PYTHONS_THRESHOLDS = frozenset({700, 2000})
"""How many new objects start a garbage collection by default: up to Python 3.12, and from 3.13 on."""
_GARBAGE_THRESHOLD = 10_000

log = logging.getLogger(__name__)


def worker(
    *queues: str,
    concurrency: int | None = None,
    burst: bool = False,
    nats_url: str | None = None,
    imports: tuple[str, ...] = (),
    log_level: str | None = None,
    log_format: str | None = None,
) -> int:
    """Run a worker process until a signal stops it.

    On SIGTERM or Ctrl-C it takes no new jobs, waits for running ones (up to NAQ_SHUTDOWN_GRACE)
    and requeues the rest. The current directory is importable.

    Args:
        queues: The queues to take jobs from, the most important first; or with weights, as in
            mail=3 reports=1, for shares of the slots. Default: NAQ_DEFAULT_QUEUE.
        concurrency: How many jobs run at a time (NAQ_CONCURRENCY, else 10).
        burst: Stop as soon as the queues are empty.
        nats_url: The server's address (NAQ_NATS_URL, else nats://localhost:4222).
        imports: A module to import first, so that its tasks are registered. May be repeated.
        log_level: DEBUG, INFO, WARNING, ERROR or CRITICAL (NAQ_LOG_LEVEL, else INFO).
        log_format: console, json or logfmt (NAQ_LOG_FORMAT, else console).

    Returns:
        The exit code: 0 stopped cleanly, 1 ended by an error or by a job that cancelled it, 2 a wrong setting,
        3 no usable NATS server, 4 a module cannot be imported, 130 interrupted during start-up.
    """
    treat_output_as_log()
    shape = "console"
    try:
        settings = Settings.load(concurrency=concurrency, nats_url=nats_url, log_level=log_level, log_format=log_format)
        shape = settings.log_format
        with logging_set_up(settings):
            make_current_directory_importable()
            problem = import_modules(imports)
        if problem is not None:
            return complain(_NAME, problem, _IMPORT_FAILED, shape)
        _collect_less_garbage()
        names = _weighted(queues) or [settings.default_queue]
        _serve(Worker(names, settings=settings, burst=burst, handle_signals=True, imports=imports))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except asyncio.CancelledError:
        return complain(_NAME, "a job has cancelled the worker; its running jobs went back to their queues", _CANCELLED, shape)
    except (ConfigurationError, InvalidNameError) as error:
        return complain(_NAME, str(error), _USAGE, shape)
    except BrokerUnavailableError as error:
        return complain(_NAME, unreachable(nats_url, error), _UNREACHABLE, shape)
    except BrokerError as error:
        return complain(_NAME, str(error), _UNREACHABLE, shape)
    return 0


def _collect_less_garbage() -> None:
    """Let Python look for reference cycles less often: that takes a fifth of the time of a worker with many short jobs.

    What exists now is looked at no more. An application that has set a threshold of its own keeps it.
    """
    if gc.isenabled() and gc.get_threshold()[0] in _PYTHONS_THRESHOLDS:
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GARBAGE_THRESHOLD, *gc.get_threshold()[1:])


def _weighted(queues: tuple[str, ...]) -> list[str] | dict[str, float]:
    """Read `name=weight`; where one queue has a weight, those without have 1."""
    if not any("=" in each for each in queues):
        return list(queues)
    weights: dict[str, float] = {}
    for each in queues:
        name, _, weight = each.partition("=")
        try:
            weights[name] = float(weight or "1")
        except ValueError:
            raise InvalidOptionError("queues", f"{each!r} is not of the form name=number") from None
    return weights


def _serve(worker: Worker) -> None:
    """Run a worker, and see to it that the process ends when it has ended."""
    code = _CANCELLED
    spare = socket.socketpair()  # the event loop needs two descriptors to end: jobs may have used up the others
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            _run(runner, worker)
            code = 0
        finally:
            for each in spare:
                each.close()
            deadline = Deadline(PATIENCE, code)
    if not leftover_threads() and has_room(sys.stdout) and has_room(sys.stderr):  # the interpreter flushes both
        deadline.call_off()


def _run(runner: asyncio.Runner, worker: Worker) -> None:
    """Run the event loop until the worker has ended: a job whose own task or callback raises SystemExit only stops the loop."""
    first: list[asyncio.Task[None]] = []

    async def run() -> None:
        if (task := asyncio.current_task()) is not None:
            first.append(task)
        await worker.run()

    async def go_on() -> None:
        await asyncio.wait(first)
        first[0].result()

    main = run()
    while True:
        try:
            return runner.run(main)
        except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
            if not first or first[0].done() or not worker.is_serving:
                raise
            log.error("a job stopped the event loop (%r); restarting it", error)  # noqa: TRY400 - the job's record has the rest
            main = go_on()
