"""What a worker tells of itself; `_keepalive` publishes it, `Worker.list_workers` and the claims of other workers read it."""

import os
import platform
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from naq_core import __version__
from naq_core.platforms import resident_bytes
from naq_worker._active import Active


def process_facts() -> dict[str, Any]:
    """Return host, process id, resident memory in bytes (0 where it cannot be known) and versions."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "rss": resident_bytes(),
        "version": __version__,
        "python": platform.python_version(),
    }


def running_jobs(active: Mapping[tuple[str, str], Active], now: Callable[[], float]) -> dict[str, Any]:
    """Return the jobs in hand with their start times, and of each queue how many run.

    The time is taken before the jobs are listed: so a presence that is younger than a claim lists its job.
    """
    at = now()
    jobs = tuple(active.values())
    return {
        "at": at,
        "running": {each.delivery.job_id: each.started_at for each in jobs},
        "in_progress": Counter(each.delivery.queue for each in jobs if each.has_slot),
    }
