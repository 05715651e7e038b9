"""The command that runs a worker process: `naq worker` and `python -m naq_worker`."""

import asyncio
import gc
import logging
import os
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from naq_core.commands import import_modules, loop_factory, make_current_directory_importable, unreachable
from naq_core.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    HookError,
    InvalidNameError,
    InvalidOptionError,
)
from naq_core.logs import complain, logging_set_up
from naq_core.manage.declared import file_policies
from naq_core.platforms import has_room
from naq_core.settings import Settings
from naq_core.standard_streams import treat_output_as_log
from naq_worker._leaving import PATIENCE, Deadline, leftover_threads
from naq_worker._options import Options
from naq_worker.worker import Worker

if TYPE_CHECKING:
    from naq_worker._lifespan import Lifespan
    from naq_worker._link import SupervisorLink

__all__ = ["SHORT_OPTIONS", "run_worker", "worker"]

SHORT_OPTIONS = {"concurrency": "-c", "imports": "-i", "http_port": "--health-port"}
"""Other spellings that `naq worker` adds."""

_NAME = "worker"
_CANCELLED = _FAILED = 1
_USAGE, _UNREACHABLE, _IMPORT_FAILED, _INTERRUPTED = 2, 3, 4, 130

_PYTHONS_THRESHOLDS = frozenset({700, 2000})
"""How many new objects start a garbage collection by default: up to Python 3.12, and from 3.13 on."""
_GARBAGE_THRESHOLD = 10_000

log = logging.getLogger(__name__)


def worker(  # noqa: PLR0913 - a parameter is an option
    *queues: str,
    concurrency: int | None = None,
    workers: int | None = None,
    burst: bool = False,
    nats_url: str | None = None,
    imports: tuple[str, ...] = (),
    max_jobs: int | None = None,
    max_memory: str | None = None,
    max_idle: str | None = None,
    http_port: int | None = None,
    http_host: str = "127.0.0.1",
    name: str | None = None,
    reload: bool = False,
    log_level: str | None = None,
    log_format: str | None = None,
) -> int:
    """Run a worker process, or several, until a signal stops it.

    On SIGTERM or Ctrl-C it takes no new jobs, waits for running ones (up to NAQ_SHUTDOWN_GRACE)
    and requeues the rest. The current directory is importable.

    Args:
        queues: The queues to take jobs from, the most important first; or with weights, as in
            mail=3 reports=1, for shares of the slots. 'cust-*' is a pattern: all queues that match,
            those that appear later included. Default: NAQ_WORKER_QUEUES, else NAQ_DEFAULT_QUEUE.
        concurrency: How many jobs run at a time in each process (NAQ_CONCURRENCY, else 10).
        workers: How many processes to run (NAQ_WORKERS, else 1). With more than one, those that die are restarted.
        burst: Stop as soon as the queues are empty.
        nats_url: The server's address (NAQ_NATS_URL, else nats://localhost:4222).
        imports: A module to import first, so that its tasks are registered. May be repeated.
        max_jobs: End a process after this many jobs. One of several is replaced by a new one.
        max_memory: End a process, between jobs, that uses more memory than this: 512MB, 1GiB.
        max_idle: End a process that has had no job for this long: 30s, 10m.
        http_port: Answer /livez, /readyz, /startupz and /metrics on this port.
        http_host: The address to listen on; 0.0.0.0 for every interface.
        name: What the worker's id begins with, instead of the host's name: letters, digits and -.
        reload: Start the processes again when a Python file below this folder changes; they finish their running jobs first.
        log_level: DEBUG, INFO, WARNING, ERROR or CRITICAL (NAQ_LOG_LEVEL, else INFO).
        log_format: console, json or logfmt (NAQ_LOG_FORMAT, else console).

    Returns:
        The exit code: 0 stopped cleanly, 1 ended by an error, by a hook or by a job that cancelled it, 2 a wrong setting,
        3 no usable NATS server, 4 a module cannot be imported, 130 interrupted during start-up.
    """
    options = Options(
        queues=queues,
        concurrency=concurrency,
        workers=workers,
        burst=burst,
        nats_url=nats_url,
        imports=imports,
        max_jobs=max_jobs,
        max_memory=max_memory,
        max_idle=max_idle,
        http_port=http_port,
        http_host=http_host,
        name=name,
        reload=reload,
        log_level=log_level,
        log_format=log_format,
    )
    return run_worker(options)


def run_worker(options: Options, supervised: tuple[int, int] | None = None) -> int:
    """Run the worker process, or the supervisor of several.

    Args:
        options: Of the command.
        supervised: Where this is one of several: the descriptor that leads to the supervisor, and the number of this process.

    Returns:
        The exit code.
    """
    treat_output_as_log()
    shape = "console"
    try:
        settings = Settings.load(
            concurrency=options.concurrency,
            workers=options.workers,
            nats_url=options.nats_url,
            log_level=options.log_level,
            log_format=options.log_format,
        )
        shape = settings.log_format
        names = _weighted(options.queues or settings.worker_queues) or [settings.default_queue]
        if supervised is None and (settings.workers > 1 or options.reload):
            from naq_worker.supervisor import supervise

            _ = Worker(names, settings=settings, name=options.name), _lifespan(options)  # what is wrong is said once
            return supervise(options, settings)
        life = _lifespan(options, is_supervised=supervised is not None)
        link = None if supervised is None else _link(supervised, settings)
        with logging_set_up(settings):
            make_current_directory_importable()
            problem = import_modules(options.imports)
        if problem is not None:
            return complain(_NAME, problem, _IMPORT_FAILED, shape)
        _collect_less_garbage()
        worker = Worker(
            names,
            settings=settings,
            burst=options.burst,
            handle_signals=True,
            imports=options.imports,
            name=options.name,
        )
        worker.policies = file_policies()
        if life is not None:
            worker.each_turn.append(partial(life.check, worker))
        if link is not None:
            link.attach(worker)
            worker.each_turn.append(partial(link.report, worker))
        return _serve(worker, options, life, None if link is None else partial(link.beat, worker))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except asyncio.CancelledError:
        return complain(_NAME, "a job cancelled the worker; its running jobs were returned to their queues", _CANCELLED, shape)
    except (ConfigurationError, InvalidNameError) as error:
        return complain(_NAME, str(error), _USAGE, shape)
    except BrokerUnavailableError as error:
        return complain(_NAME, unreachable(options.nats_url, error), _UNREACHABLE, shape)
    except (BrokerError, HookError) as error:
        return complain(_NAME, str(error), _FAILED if isinstance(error, HookError) else _UNREACHABLE, shape)


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


def _lifespan(options: Options, *, is_supervised: bool = False) -> "Lifespan | None":
    """Return the limits of this process, or None where it has none."""
    if (options.max_jobs, options.max_memory, options.max_idle) == (None, None, None):
        return None
    from naq_worker._lifespan import Lifespan

    return Lifespan(options.max_jobs, options.max_memory, options.max_idle, is_supervised=is_supervised)


def _link(supervised: tuple[int, int], settings: Settings) -> "SupervisorLink":
    from naq_worker._link import SupervisorLink

    return SupervisorLink(*supervised, settings.shutdown_grace.total_seconds())


def _serve(worker: Worker, options: Options, life: "Lifespan | None", beat: Callable[[], None] | None) -> int:
    """Run a worker, and see to it that the process ends when it has ended; return the exit code."""
    code = _CANCELLED
    spare = socket.socketpair()  # the event loop needs two descriptors to end: jobs may have used up the others
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            _run(runner, worker, options, beat)
            code = 0 if life is None else life.exit_code
        finally:
            for each in spare:
                each.close()
            deadline = Deadline(PATIENCE, code)
    if not leftover_threads() and has_room(sys.stdout) and has_room(sys.stderr):  # the interpreter flushes both
        deadline.call_off()
    return code


def _run(runner: asyncio.Runner, worker: Worker, options: Options, beat: Callable[[], None] | None) -> None:
    """Run the event loop until the worker has ended: a job whose own task or callback raises SystemExit only stops the loop."""
    first: list[asyncio.Task[None]] = []

    async def run() -> None:
        if (task := asyncio.current_task()) is not None:
            first.append(task)
        if options.http_port is None and beat is None and "NOTIFY_SOCKET" not in os.environ:
            await worker.run()
            return
        from naq_worker._health import observed

        with observed(worker, options, beat):
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
