"""Payloads that leave a mark when somebody unpickles them."""

import os
import pickle
from pathlib import Path
from typing import Any


class Mark:
    """Unpickling it makes a file, as an attacker's payload would run a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.makedirs, (os.fspath(self.path),)

    def arguments(self) -> bytes:
        """Return pickled arguments of a call with the mark among them."""
        return pickle.dumps(((self,), {}))

    def result(self) -> bytes:
        """Return a pickled result."""
        return pickle.dumps(self)


def harmless(number: int = 0) -> int:
    """Return the number."""
    return number


WATCH = """
import os, pickle

def alarm(*_, **__):
    os.makedirs(os.environ["NAQ_TEST_ALARM"], exist_ok=True)
    raise RuntimeError("something was unpickled")

import _pickle
import cloudpickle
for module in (pickle, _pickle, cloudpickle, cloudpickle.cloudpickle):
    for name in ("load", "loads", "Unpickler", "_load", "_loads", "_Unpickler"):
        if hasattr(module, name):
            setattr(module, name, alarm)
"""
"""A `sitecustomize` that raises and leaves a mark when anything is unpickled in the process, child processes included."""
