"""The jobs of the word count."""

import asyncio
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from naq_core import Job

AT_ONCE = 20
_WORD = re.compile(r"[^\W\d_]{2,}")


def count_words(path: str) -> dict[str, int]:
    """Count the words of one file, small and capital letters alike."""
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return dict(Counter(_WORD.findall(text.casefold())))


async def add_up(job_ids: Iterable[str]) -> dict[str, int]:
    """Fetch the counts of all files by their jobs' ids and add them up.

    The ids travel, not the counts: they could be larger than one message may be.

    Returns:
        The 1,000 most frequent words of all; `""` stands for the number of words altogether.
    """
    total: Counter[str] = Counter()
    gate = asyncio.Semaphore(AT_ONCE)

    async def add(job_id: str) -> None:
        async with gate:
            total.update(await Job.fetch_result(job_id))

    async with asyncio.TaskGroup() as group:
        for job_id in job_ids:
            group.create_task(add(job_id))
    return {"": total.total(), **dict(total.most_common(1000))}
