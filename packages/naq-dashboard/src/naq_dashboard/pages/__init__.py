"""The pages: what each shows, loaded from naq_core."""

from naq_dashboard.pages.audit import audit
from naq_dashboard.pages.errors import errors
from naq_dashboard.pages.events import events
from naq_dashboard.pages.functions import function, functions
from naq_dashboard.pages.jobs import delayed, job, jobs, new_job
from naq_dashboard.pages.overview import overview
from naq_dashboard.pages.page import Page
from naq_dashboard.pages.queues import queue, queues
from naq_dashboard.pages.schedules import edit_schedule, new_schedule, schedule, schedules
from naq_dashboard.pages.signals import signals
from naq_dashboard.pages.workers import worker, workers
from naq_dashboard.pages.workflows import workflow, workflows

PAGES: tuple[Page, ...] = (
    Page("overview", "", overview),
    Page("queues", "queues", queues),
    Page("queue", "queues/{queue:str}", queue, watches=("queue",)),
    Page("jobs", "jobs", jobs),
    Page("job", "jobs/{job_id:str}", job, watches=("job_id", "queue")),
    Page("job-new", "new-job", new_job),
    Page("errors", "errors", errors),
    Page("functions", "functions", functions),
    Page("function", "functions/{function:str}", function),
    Page("delayed", "delayed", delayed),
    Page("schedules", "schedules", schedules),
    Page("schedule-new", "new-schedule", new_schedule),
    Page("schedule", "schedules/{schedule_id:str}", schedule),
    Page("schedule-edit", "schedules/{schedule_id:str}/edit", edit_schedule),
    Page("workflows", "workflows", workflows),
    Page("workflow", "workflows/{workflow_id:str}", workflow),
    Page("signals", "signals", signals),
    Page("events", "events", events),
    Page("audit", "audit", audit),
    Page("workers", "workers", workers),
    Page("worker", "workers/{worker_id:str}", worker),
)

BY_NAME = {page.name: page for page in PAGES}

__all__ = ["BY_NAME", "PAGES", "Page"]
