"""For the tests of programs that use NAQ: a pytest plugin on a real server, and what its fixtures are made of.

The fixtures (`docs/testing.md`) come by themselves where pytest is installed: `naq_server`, `naq_namespace`, `naq_settings`,
`naq_connection`, `naq_queue`, `naq_worker`, `naq_inline`, `assert_enqueued`. This module imports neither pytest nor anything
that only tests need.
"""

from naq_core.testing._jobs import assert_enqueued, waiting_jobs
from naq_core.testing._worker import WorkerRunner

__all__ = ["WorkerRunner", "assert_enqueued", "waiting_jobs"]
