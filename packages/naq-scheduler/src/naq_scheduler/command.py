"""The command that runs a scheduler process: `naq scheduler` and `python -m naq_scheduler`."""

import asyncio

from naq_core.commands import import_modules, loop_factory, make_current_directory_importable, unreachable
from naq_core.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    HookError,
    InvalidNameError,
    InvalidScheduleError,
)
from naq_core.logs import complain, logging_set_up
from naq_core.notify import ServiceState, notifying
from naq_core.schedules import declared_specs, file_specs
from naq_core.settings import Settings
from naq_core.standard_streams import treat_output_as_log
from naq_core.wording import counted
from naq_scheduler.scheduler import Scheduler

__all__ = ["SHORT_OPTIONS", "scheduler"]

SHORT_OPTIONS = {"http_port": "--health-port"}
"""Other spellings that `naq scheduler` adds."""

_NAME = "scheduler"
_FAILED, _USAGE, _UNREACHABLE, _IMPORT_FAILED, _INTERRUPTED = 1, 2, 3, 4, 130


def scheduler(
    *,
    enable_ha: bool = True,
    instance_id: str | None = None,
    imports: tuple[str, ...] = (),
    http_port: int | None = None,
    http_host: str = "127.0.0.1",
    nats_url: str | None = None,
    log_level: str | None = None,
    log_format: str | None = None,
) -> int:
    """Run a scheduler process until a signal stops it.

    Start it on as many machines as you like: one is the leader and fires the schedules, the others stand by.
    On SIGTERM or Ctrl-C another one takes over at once. Schedules declared under [[schedules]] in naq.toml and by
    @task(cron=...) in the imported modules are added, changed and removed at start-up. The current directory is importable.

    Args:
        enable_ha: Elect a leader. Without it this scheduler always fires, and warns if another one runs.
        instance_id: The name in logs; by default the host and process id.
        imports: A module whose `@task(cron=...)` schedules to set up. May be repeated.
        http_port: Answer /livez, /readyz, /startupz and /metrics on this port.
        http_host: The address to listen on; 0.0.0.0 for every interface.
        nats_url: The server's address (NAQ_NATS_URL, else nats://localhost:4222).
        log_level: DEBUG, INFO, WARNING, ERROR or CRITICAL (NAQ_LOG_LEVEL, else INFO).
        log_format: console, json or logfmt (NAQ_LOG_FORMAT, else console).

    Returns:
        The exit code: 0 stopped cleanly, 1 a hook has failed, 2 a wrong setting or schedule, 3 no usable NATS server, 4 a
        module cannot be imported, 130 interrupted during start-up.
    """
    treat_output_as_log()
    shape = "console"
    try:
        settings = Settings.load(nats_url=nats_url, log_level=log_level, log_format=log_format)
        shape = settings.log_format
        with logging_set_up(settings):
            make_current_directory_importable()
            problem = import_modules(imports)
        if problem is not None:
            return complain(_NAME, problem, _IMPORT_FAILED, shape)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_run(settings, enable_ha, instance_id, imports, http_port, http_host))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (ConfigurationError, InvalidNameError, InvalidScheduleError) as error:
        return complain(_NAME, str(error), _USAGE, shape)
    except BrokerUnavailableError as error:
        return complain(_NAME, unreachable(nats_url, error), _UNREACHABLE, shape)
    except BrokerError as error:
        return complain(_NAME, str(error), _UNREACHABLE, shape)
    except HookError as error:
        return complain(_NAME, str(error), _FAILED, shape)
    except OSError as error:
        return complain(_NAME, f"cannot listen on {http_host}:{http_port}: {error}", _USAGE, shape)
    return 0


async def _run(
    settings: Settings,
    enable_ha: bool,
    instance_id: str | None,
    imports: tuple[str, ...],
    http_port: int | None,
    http_host: str,
) -> None:
    service = Scheduler(
        settings=settings,
        enable_ha=enable_ha,
        instance_id=instance_id,
        http_port=http_port,
        http_host=http_host,
        declared=declared_specs(settings, imports) | file_specs(settings),
        handle_signals=True,
    )
    with notifying(lambda: _state(service)):
        await service.run()


def _state(service: Scheduler) -> ServiceState:
    role = "leader" if service.is_leader else "follower"
    status = f"{role}; {counted(service.schedules, 'schedule')}" if service.is_ready else "not connected"
    return ServiceState(is_ready=service.has_begun, is_stopping=service.is_stopping, status=status)
