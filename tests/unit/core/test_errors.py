"""Errors are found where they always were, whichever file defines them."""

from __future__ import annotations

import pickle

import pytest

from naq_core import Job, errors


def test_every_error_is_named_by_the_package() -> None:
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    assert len(found) > 40
    assert {each.__module__ for each in found} == {"naq_core.errors"}
    error = errors.JobFailedError("job-1", "ValueError", "wrong", "")
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), copied.args, vars(copied)) == (errors.JobFailedError, error.args, vars(error))
    assert b"naq_core.errors" in pickle.dumps(error)
    assert b"naq_core.errors.jobs" not in pickle.dumps(error)


def test_the_former_name_of_a_jobs_delivery_options_warns() -> None:
    job: Job[object] = Job("a:b", delay=5)
    with pytest.warns(DeprecationWarning, match=r"Job\.delivery"):
        assert job.terms is job.delivery
