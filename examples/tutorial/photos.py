"""The jobs of a small photo site: thumbnails, mail, and a report each morning."""

import os
import smtplib
import time
from email.message import EmailMessage
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from naq_client import JobOutcome, current_job, task, track

FOLDER = Path(os.environ.get("PHOTOS", "uploads"))
MAIL_PORT = int(os.environ.get("MAIL_PORT", "8025"))
WIDTHS = (1600, 800, 400, 200, 100)
DAY = 24 * 60 * 60


@task(max_retries=2, retry_delay=5, timeout=60, ignore_on=[UnidentifiedImageError])
def make_thumbnails(name: str) -> list[str]:
    """Write smaller copies of a photo, and return their names."""
    made = []
    for width in track(WIDTHS, note="thumbnails"):
        with Image.open(FOLDER / name) as photo:
            photo.thumbnail((width, width))
            photo.convert("RGB").save(FOLDER / f"{name}-{width}.jpg")
        made.append(f"{name}-{width}.jpg")
    return made


def send_mail(to: str, subject: str, text: str) -> None:
    """Hand a message to the mail server; its id makes it possible to recognise a message that is sent twice."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "photos@example.org", to, subject
    message["Message-ID"] = f"<{current_job().job_id}@photos.example.org>"
    message.set_content(text)
    with smtplib.SMTP("localhost", MAIL_PORT, timeout=10) as server:
        server.send_message(message)


@task(queue="mail", max_retries=5, retry_delay=[2, 10, 60])
def tell(outcome: JobOutcome, to: str) -> None:
    """Tell somebody what has become of their photo."""
    if outcome.is_success:
        send_mail(to, "Your photo is ready", f"It has {len(outcome.result)} sizes now.")
    else:
        send_mail(to, "We cannot read your photo", "Please send it as JPEG or PNG.")


@task(queue="mail", cron="0 6 * * *", timezone="Europe/Berlin", schedule_id="report", max_retries=5, retry_delay=60)
def report() -> int:
    """Mail the number of photos of the last 24 hours."""
    photos = [path for path in FOLDER.glob("*.photo") if path.stat().st_mtime > time.time() - DAY]
    send_mail("owner@example.org", "Photos of the last 24 hours", f"There were {len(photos)}.")
    return len(photos)
