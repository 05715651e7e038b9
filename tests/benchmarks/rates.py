"""Rates: how much of one is reached, how late jobs start under it, and what it costs where it is not reached."""

from __future__ import annotations

from collections.abc import Iterable

from naq_cli.bench.measures import percentile
from naq_client import Queue, QueuePolicy
from naq_core.rates import Rate
from tests.benchmarks import jobs
from tests.benchmarks.keys import drain_of
from tests.benchmarks.lab import QUEUE, Lab, Namespace, until

RATES = (20, 100, 1000)
SECONDS = 10
"""For which each rate is asked for."""
KEYS = 10


async def rates(lab: Lab) -> None:
    """Work off no-op jobs at 20, 100 and 1,000 a second, without keys and of ten keys; and under a rate that is not reached.

    And at 100 a second by four workers, which share its list.
    """
    plain = await drain_of(lab, lambda slot: None)
    rate = await drain_of(lab, lambda slot: None, QueuePolicy(rate="10000/s", burst=500))
    lab.results.add("drain, a rate that is not reached", "jobs/s", rate, plain, "the same jobs without a rate")
    for per_second in RATES:
        await _paced(lab, per_second, keys=0)
        await _paced(lab, per_second, keys=KEYS)
    await _paced(lab, 100, keys=0, workers=4)


async def _paced(lab: Lab, per_second: int, *, keys: int, workers: int = 1) -> None:
    count = SECONDS * per_second
    policy = QueuePolicy(rate=f"{per_second}/s", key_limit=per_second)
    rate, _ = policy.rates
    assert rate is not None
    stamps = lab.stamps(count)
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        await queue.set_policy(policy)
        await queue.enqueue_many(
            queue.options(key=f"key-{slot % keys}" if keys else None).call(jobs.noop, slot) for slot in range(count)
        )
        with lab.workers(space.settings, workers):
            await until(lambda: stamps.count() >= count, "jobs under a rate")
    name = f"{per_second:,} a second, {keys or 'no'} keys" + (f", {workers} workers" if workers > 1 else "")
    lab.results.add(f"{name}: rate", "jobs/s", stamps.rate(), per_second, "what was asked for")
    late = lateness(sorted(stamps.start), rate)
    for share, which in ((0.5, "p50"), (0.99, "p99")):
        lab.results.add(f"{name}: start after it was allowed, {which}", "ms", 1e3 * percentile(late, share))


def lateness(starts: Iterable[float], rate: Rate) -> list[float]:
    """Return by how many seconds starts were later than a bucket allows from which all those before took their tokens.

    A job takes its token before it starts, and the first one does so at an unknown time: the least late one counts as in time.
    """
    late: list[float] = []
    full_at = 0.0
    for at in starts:
        allowed = full_at - (rate.burst - 1) * rate.interval
        late.append(at - allowed if allowed > 0 else 0.0)
        full_at = max(full_at, at) + rate.interval
    least = min(late[rate.burst :])
    return [each - least for each in late[rate.burst :]]
