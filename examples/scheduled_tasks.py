"""Tasks that declare when they run; `declared_schedules.py` has them set up."""

from naq_client import task


@task(cron="0 3 * * *", timezone="Europe/Berlin", overlap="skip", max_retries=2)
def clean_up() -> str:
    """Run every night."""
    return "clean"


@task(interval=0.5, schedule_id="heartbeat")
async def beat() -> str:
    """Run every half second."""
    return "beat"
