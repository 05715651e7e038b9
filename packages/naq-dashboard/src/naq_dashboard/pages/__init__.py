"""The pages: what each shows, loaded from naq_core."""

from naq_dashboard.pages.errors import errors
from naq_dashboard.pages.jobs import delayed, job, jobs
from naq_dashboard.pages.overview import overview
from naq_dashboard.pages.page import Page
from naq_dashboard.pages.queues import queue, queues
from naq_dashboard.pages.workers import worker, workers

PAGES: tuple[Page, ...] = (
    Page("overview", "", overview),
    Page("queues", "queues", queues),
    Page("queue", "queues/{queue:str}", queue, watches=("queue",)),
    Page("jobs", "jobs", jobs),
    Page("job", "jobs/{job_id:str}", job, watches=("job_id",)),
    Page("errors", "errors", errors),
    Page("delayed", "delayed", delayed),
    Page("workers", "workers", workers),
    Page("worker", "workers/{worker_id:str}", worker),
)

__all__ = ["PAGES", "Page"]
