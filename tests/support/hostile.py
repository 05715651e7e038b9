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
