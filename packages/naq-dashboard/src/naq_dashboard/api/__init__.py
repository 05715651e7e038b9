"""The JSON interface: the same operations and views as the pages and `naq … --json`."""

from typing import Any

from naq_dashboard.api.actions import ACTING
from naq_dashboard.api.audit import TRAIL
from naq_dashboard.api.errors import ERRORS
from naq_dashboard.api.events import EVENTS
from naq_dashboard.api.functions import FUNCTIONS
from naq_dashboard.api.health import HEALTH
from naq_dashboard.api.jobs import JOBS
from naq_dashboard.api.metrics import METRICS
from naq_dashboard.api.queues import QUEUES
from naq_dashboard.api.results import RESULTS
from naq_dashboard.api.schedules import SCHEDULES
from naq_dashboard.api.signals import SIGNALS
from naq_dashboard.api.workers import WORKERS
from naq_dashboard.api.workflows import WORKFLOWS

API_HANDLERS: list[Any] = [
    *HEALTH,
    *WORKERS,
    *QUEUES,
    *JOBS,
    *RESULTS,
    *ERRORS,
    *SCHEDULES,
    *WORKFLOWS,
    *SIGNALS,
    *EVENTS,
    *METRICS,
    *FUNCTIONS,
    *TRAIL,
    *ACTING,
]

__all__ = ["API_HANDLERS"]
