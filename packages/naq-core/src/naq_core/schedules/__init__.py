"""Recurring schedules: made and changed here, fired by `naq_scheduler`. Programs, the CLI and the dashboard share it."""

from naq_core.names import check_schedule_id
from naq_core.schedules.backfill import MOST_RUNS, backfill_schedule, backfill_times
from naq_core.schedules.declared import Reconciled, declare, declared_specs, file_specs, reconcile
from naq_core.schedules.leading import read_scheduler, scheduler_view
from naq_core.schedules.spec import ScheduleSpec, firing_id, make_named_spec, make_spec
from naq_core.schedules.store import (
    delete_schedule,
    get_schedule,
    list_schedule_documents,
    list_schedules,
    next_runs,
    pause_schedule,
    put_schedule,
    resume_schedule,
    schedule_history,
    trigger_schedule,
    update_schedule,
)

__all__ = [
    "MOST_RUNS",
    "Reconciled",
    "ScheduleSpec",
    "backfill_schedule",
    "backfill_times",
    "check_schedule_id",
    "declare",
    "declared_specs",
    "delete_schedule",
    "file_specs",
    "firing_id",
    "get_schedule",
    "list_schedule_documents",
    "list_schedules",
    "make_named_spec",
    "make_spec",
    "next_runs",
    "pause_schedule",
    "put_schedule",
    "read_scheduler",
    "reconcile",
    "resume_schedule",
    "schedule_history",
    "scheduler_view",
    "trigger_schedule",
    "update_schedule",
]
