"""A worker and a scheduler inside a program of somebody else: its signals, its contexts, its hooks."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import pytest

from naq_client import Queue
from naq_core import Settings
from naq_core.errors import HookError
from naq_core.testing import WorkerRunner
from naq_scheduler import Scheduler
from naq_worker import Worker
from tests.integration import work
from tests.support.eventually import eventually

Service: TypeAlias = Worker | Scheduler
Make: TypeAlias = Callable[..., Service]
PATIENCE = 60.0

both = pytest.mark.parametrize("make", [partial(Worker, "default"), Scheduler], ids=["worker", "scheduler"])


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[list["asyncio.Task[None]"]]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in services]
        await eventually(lambda: _serve(services), PATIENCE)
        yield tasks
        for each in services:
            each.stop()


def _serve(services: tuple[Service, ...]) -> None:
    assert all(each.is_serving if isinstance(each, Worker) else each.is_ready for each in services)


async def ended(tasks: list["asyncio.Task[None]"]) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)


@pytest.fixture
def told() -> Iterator[list[int]]:
    """Handle SIGTERM as uvicorn does, by `signal.signal`; give what arrived."""
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    yield told
    signal.signal(signal.SIGTERM, before)


@both
async def test_signals_belong_to_the_program(make: Make, settings: Settings, told: list[int]) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    async with running(make(settings=settings)) as tasks:
        signal.raise_signal(signal.SIGTERM)
        assert told == [signal.SIGTERM]
        await asyncio.sleep(0)
        assert not tasks[0].done()
    assert signal.getsignal(signal.SIGTERM) is handler


@both
async def test_handlers_that_were_asked_for_are_replaced_by_those_before(make: Make, settings: Settings, told: list[int]) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    services = [make(settings=settings, handle_signals=True) for _ in range(2)]
    async with running(*services) as tasks:
        signal.raise_signal(signal.SIGTERM)
        await ended(tasks)
    assert not told
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == before
    signal.raise_signal(signal.SIGTERM)
    assert told == [signal.SIGTERM]


@both
async def test_handlers_of_the_event_loop_come_back_too(make: Make, settings: Settings) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    try:
        async with running(make(settings=settings, handle_signals=True)) as tasks:
            signal.raise_signal(signal.SIGTERM)
            await ended(tasks)
        told.clear()
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await told.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


async def test_a_handler_that_the_program_sets_meanwhile_stays(settings: Settings, told: list[int]) -> None:
    async with running(Scheduler(settings=settings, handle_signals=True)):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert not told


@both
async def test_outside_the_main_thread_signals_cannot_be_asked_for(make: Make, settings: Settings) -> None:
    with pytest.raises(RuntimeError, match="main thread only"):
        await asyncio.to_thread(asyncio.run, make(settings=settings, handle_signals=True).run())


@both
async def test_run_can_be_called_once(make: Make, settings: Settings) -> None:
    service = make(settings=settings)
    async with running(service):
        pass
    with pytest.raises(RuntimeError, match="has already run; create a new one"):
        await service.run()


@both
async def test_a_service_that_was_stopped_before_does_not_start(make: Make, settings: Settings) -> None:
    nowhere = Settings.load(nats_url="nats://127.0.0.1:1", namespace=settings.namespace)
    service = make(settings=nowhere)
    service.stop()
    await service.run()


@pytest.mark.parametrize("error", [ValueError("first"), SystemExit("first")], ids=["error", "exit"])
async def test_all_hooks_end_and_the_first_error_is_raised(error: BaseException, settings: Settings) -> None:
    called: list[str] = []

    def broken(name: str, raised: BaseException) -> Iterator[None]:
        yield
        called.append(name)
        raise raised

    async def close() -> AsyncIterator[None]:
        yield
        called.append("close")

    hooks: list[Any] = [close, partial(broken, "b", KeyError("second")), contextlib.asynccontextmanager(close)]
    hooks += [contextlib.contextmanager(partial(broken, "a", error))]
    with pytest.raises((HookError, SystemExit), match="first"):
        await asyncio.to_thread(asyncio.run, Worker("default", settings=settings, burst=True, hooks=hooks).run())
    assert called == ["a", "close", "b", "close"]


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("function", [work.become_tenant, work.become_tenant_here])
async def test_each_attempt_starts_from_the_context_of_the_start(
    function: Callable[[str], Any], process: bool, queue: Queue, naq_worker: WorkerRunner
) -> None:
    jobs = [await queue.options(process=process).enqueue(function, f"tenant {number}") for number in range(6)]
    await naq_worker.run_until_idle(concurrency=2, hooks=[work.move_in])
    assert {await job.result(20) for job in jobs} == {"house"}
    assert work.tenant.get() == "nobody"
