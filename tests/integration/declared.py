"""Tasks that declare their schedules."""

from naq_client import task


@task(cron="0 3 * * *", timezone="Europe/Berlin", overlap="skip", max_retries=2, schedule_jitter=5)
def nightly() -> str:
    return "done"


@task(interval="5m", schedule_id="beat", queue="beats", expires=60)
async def beat() -> str:
    return "beat"
