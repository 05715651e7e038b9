"""The pages: what each shows, loaded from naq_core."""

from naq_dashboard.pages.overview import overview
from naq_dashboard.pages.page import Page
from naq_dashboard.pages.workers import worker, workers

PAGES: tuple[Page, ...] = (
    Page("overview", "", overview),
    Page("workers", "workers", workers),
    Page("worker", "workers/{worker_id:str}", worker),
)

__all__ = ["PAGES", "Page"]
