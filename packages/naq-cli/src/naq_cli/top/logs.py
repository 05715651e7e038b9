"""The screen of one job: its log, its progress and its last error."""

import asyncio
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from naq_cli._errors import explain
from naq_cli._format import STATE_COLORS, as_time, printable
from naq_cli._jobs import attempts, last_error, progress_text
from naq_cli._session import Session
from naq_core.errors import NaqError
from naq_core.inspect import get_job
from naq_core.record import JobState
from naq_core.views import JobView

LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}


class JobScreen(Screen[None]):
    """Shows a job, and follows it until it has ended.

    Args:
        session: The connection.
        job: The job's id, with its queue.
        seconds: Between two looks.
    """

    BINDINGS: ClassVar = [Binding("escape,l,q", "app.pop_screen", "Back")]
    CSS = "JobScreen Static { padding: 0 1; }"

    def __init__(self, session: Session, job: str, seconds: float) -> None:
        super().__init__()
        self._session, self._job, self._seconds = session, job, seconds

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        with VerticalScroll():
            yield Static("Reading…", id="job")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to read."""
        self._follow()

    @work
    async def _follow(self) -> None:
        while True:
            try:
                job = await get_job(self._session.connection, self._job)
            except NaqError as error:
                self._show(Text(explain(error, self._session.settings).message, style="bold red"))
            else:
                self._show(_picture(job))
                if job.state.is_final:
                    return
            await asyncio.sleep(self._seconds)

    def _show(self, text: Text) -> None:
        if not self.is_attached:  # it is being closed
            return
        scroll = self.query_one(VerticalScroll)
        is_at_end = scroll.scroll_y >= scroll.max_scroll_y
        self.query_one("#job", Static).update(text)
        if is_at_end:
            scroll.scroll_end(animate=False)


def _picture(job: JobView) -> Text:
    text = Text.assemble(
        (job.job_id, "bold"),
        f"  {printable(job.function)}({printable(job.arguments)}) on {job.queue}\n",
        (job.state, STATE_COLORS.get(job.state, "")),
        f", attempt {attempts(job)} {printable(progress_text(job.progress))}\n\n",
    )
    for line in job.logs:
        at = as_time(line.at)
        when = "" if at is None else f"{at.astimezone():%H:%M:%S} "
        text.append(when, "dim").append(f"{line.level:<8} ", LEVELS.get(line.level, "")).append(f"{printable(line.message)}\n")
    if not job.logs:
        text.append("It has logged nothing.\n", "dim")
    traceback = job.errors[-1].traceback if job.errors and job.state is not JobState.SUCCEEDED else ""
    text.append(f"\n{printable(traceback or last_error(job))}", "red")
    return text
