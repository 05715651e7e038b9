"""The former names of a job's attributes still work, and warn."""

from __future__ import annotations

import pytest

from naq_core import Job


@pytest.mark.parametrize(("old", "new"), [("terms", "delivery"), ("ties", "wiring")])
def test_a_former_name_warns_and_gives_the_same(old: str, new: str) -> None:
    job: Job[object] = Job("a:b", delay=5)
    with pytest.warns(DeprecationWarning, match=rf"Job\.{new}"):
        assert getattr(job, old) is getattr(job, new)
