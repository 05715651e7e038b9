"""The scheduler of NAQ: fires recurring schedules, on any number of machines at once, each time exactly one job."""

from naq_core import __version__
from naq_scheduler.scheduler import Scheduler

__all__ = ["Scheduler", "__version__"]
