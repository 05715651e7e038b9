"""Reading the state of the whole: shared by the client, the CLI and the dashboard. Nothing here changes anything."""

from naq_core.inspect.broker import broker_info
from naq_core.inspect.jobs import count_jobs, get_arguments, get_call, get_job, list_jobs, list_running_but
from naq_core.inspect.queues import get_queue, list_queues
from naq_core.inspect.schedulers import leading_scheduler
from naq_core.inspect.signals import waiting_for_signals
from naq_core.inspect.state import job_state
from naq_core.inspect.trust import Trust, read_trust
from naq_core.inspect.waiting import read_json_result, wait_for_job
from naq_core.inspect.workers import list_past_workers, list_workers
from naq_core.inspect.workflows import get_workflow, list_workflows
from naq_core.storage.drift import TopologyItem, check_topology

__all__ = [
    "TopologyItem",
    "Trust",
    "broker_info",
    "check_topology",
    "count_jobs",
    "get_arguments",
    "get_call",
    "get_job",
    "get_queue",
    "get_workflow",
    "job_state",
    "leading_scheduler",
    "list_jobs",
    "list_past_workers",
    "list_queues",
    "list_running_but",
    "list_workers",
    "list_workflows",
    "read_json_result",
    "read_trust",
    "wait_for_job",
    "waiting_for_signals",
]
