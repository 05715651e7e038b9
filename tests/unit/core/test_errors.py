"""Errors are found where they always were, whichever file defines them."""

from __future__ import annotations

import pickle

from naq_core import errors


def test_every_error_is_named_by_the_package() -> None:
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    assert len(found) > 40
    assert {each.__module__ for each in found} == {"naq_core.errors"}
    error = errors.JobFailedError("job-1", "ValueError", "wrong", "")
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), copied.args, vars(copied)) == (errors.JobFailedError, error.args, vars(error))
    assert b"naq_core.errors" in pickle.dumps(error)
    assert b"naq_core.errors.jobs" not in pickle.dumps(error)
