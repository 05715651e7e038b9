"""One attempt: call the function where it belongs, within its time, and return an outcome. Knows nothing of NATS."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from naq_core.context import JobContext, set_current_job
from naq_core.dependency import ParentOutcome, fill_in
from naq_core.envelope import Envelope, encode_envelope
from naq_core.errors import AttemptTimeoutError
from naq_core.serialization import Call, decode_call
from naq_core.settings import Settings
from naq_worker._active import Active
from naq_worker._calling import is_async, of_error, of_value
from naq_worker._executors.frames import Run
from naq_worker._executors.processes import Processes
from naq_worker._executors.threads import Threads
from naq_worker._report import Reporter
from naq_worker.outcome import Interrupted, Outcome


@dataclass(slots=True)
class Attempts:
    """Runs attempts for one worker."""

    settings: Settings
    threads: Threads
    processes: Processes

    async def run(
        self,
        active: Active,
        envelope: Envelope,
        attempt: int,
        fence: int,
        reporter: Reporter,
        parents: tuple[ParentOutcome, ...] | None = None,
    ) -> Outcome:
        """Run one attempt; the task may be cancelled through `active.interrupt` while it does."""
        options = envelope.opt
        if options.process:
            job: Any = self.processes.run(
                Run(encode_envelope(envelope), active.delivery.queue, attempt, fence, parents), options.timeout, reporter
            )
        else:
            try:
                call = Call(envelope.fn, envelope.body, envelope.ct, envelope.by_value)
                function, args, kwargs = decode_call(call, self.settings.job_serializer, self.settings.allowed_functions)
                if parents is not None and envelope.fill:
                    args, kwargs = fill_in(envelope, parents, args, kwargs)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a payload must not take the worker down
                return of_error(error, None)
            set_current_job(
                JobContext(
                    job_id=envelope.id,
                    queue=active.delivery.queue,
                    function=envelope.fn,
                    attempt=attempt,
                    fence=fence,
                    enqueued_at=datetime.fromtimestamp(envelope.at, UTC),
                    workflow=envelope.workflow,
                    _parents=parents,
                    _report=reporter.progress,
                    _log=reporter.log,
                    _stop=active.flag,
                )
            )
            job = self._call(function, args, kwargs)
        return await self._bounded(active, envelope, job)

    async def _bounded(self, active: Active, envelope: Envelope, job: Any) -> Outcome:
        """Await the call within the job's time-out; a child process's time-out begins when it has one."""
        options = envelope.opt
        limit = None if options.process else options.timeout
        within: asyncio.Timeout | None = None
        active.is_running = True
        try:
            if active.stopping:
                job.close()
                return Interrupted(lease_lost=active.lease_lost)
            if limit is None:
                value = await job
            else:
                async with asyncio.timeout(limit) as within:
                    value = await job
        except asyncio.CancelledError as error:
            if active.stopping:
                _forget_cancellation()
                return Interrupted(lease_lost=active.lease_lost)
            return of_error(error, options.retry)  # raised by the function itself
        except TimeoutError as error:
            if (options.process and options.timeout is not None) or (within is not None and within.expired()):
                active.flag.is_set = True  # a thread goes on regardless, but can be told
                return of_error(AttemptTimeoutError(envelope.id, options.timeout or 0), options.retry)
            return of_error(error, options.retry)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary: whatever a job raises is its outcome
            return of_error(error, options.retry)
        finally:
            active.is_running = False
        return value if options.process else of_value(value, self.settings.job_serializer)

    async def _call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if is_async(function):
            return await function(*args, **kwargs)
        result = await self.threads.run(lambda: function(*args, **kwargs))
        return await result if inspect.isawaitable(result) else result


def _forget_cancellation() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
