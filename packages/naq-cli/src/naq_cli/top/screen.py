"""The screen of `naq top`, in Textual."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.css.query import NoMatches
from textual.widgets import DataTable, Footer, Static, TabbedContent, TabPane

from naq_cli._errors import CommandError, explain
from naq_cli._format import STATE_COLORS, for_people
from naq_cli._jobs import COLUMNS as JOB_COLUMNS
from naq_cli._output import Column
from naq_cli._session import Session
from naq_cli.commands.queue import COLUMNS as QUEUE_COLUMNS
from naq_cli.commands.workers import COLUMNS as WORKER_COLUMNS
from naq_cli.top.logs import JobScreen
from naq_cli.top.reading import Picture, PictureReader
from naq_core.errors import NaqError
from naq_core.manage import pause_queue, resume_queue, retry_job
from naq_core.views import JobFilter
from naq_core.wording import counted, size

JOBS = ("Job", "State", "Queue", "Function", "Attempt", "Enqueued", "Took")
FAILURES = ("Job", "Queue", "Function", "Attempt", "Error")


def _chosen(titles: Sequence[str]) -> list[Column]:
    return [next(column for column in JOB_COLUMNS if column.title == title) for title in titles]


class Pane:
    """One of the lists.

    Args:
        name: Its id.
        columns: What it shows of each item.
        items: Takes the items out of a picture.
        key: The key of an item, unique within the list.
    """

    def __init__(
        self, name: str, columns: Sequence[Column], items: Callable[[Picture], Sequence[Any]], key: Callable[[Any], str]
    ) -> None:
        self.name, self.columns, self.items, self.key = name, columns, items, key

    def fill(self, table: "DataTable[Text]", picture: Picture) -> None:
        """Show the items of a picture; the selected row stays selected while it is there."""
        rows = {self.key(item): [_cell(column, item) for column in self.columns] for item in self.items(picture)}
        if list(rows) == [row.value for row in table.rows]:
            for key, cells in rows.items():
                for column, cell in zip(table.columns, cells, strict=True):
                    if table.get_cell(key, column) != cell:
                        table.update_cell(key, column, cell, update_width=True)
            return
        selected, top = selected_key(table), table.scroll_y
        table.clear()
        for key, cells in rows.items():
            table.add_row(*cells, key=key)
        if selected in rows:
            table.move_cursor(row=list(rows).index(selected), scroll=False)
            table.scroll_to(y=top, animate=False)


def _job_key(job: Any) -> str:
    return f"{job.job_id}@{job.queue}"


PANES = (
    Pane("queues", QUEUE_COLUMNS, lambda picture: picture.queues, lambda queue: str(queue.queue)),
    Pane("workers", WORKER_COLUMNS, lambda picture: picture.workers, lambda worker: str(worker["worker_id"])),
    Pane("jobs", _chosen(JOBS), lambda picture: picture.jobs, _job_key),
    Pane("failures", _chosen(FAILURES), lambda picture: picture.failures, _job_key),
)
PATIENCE = 3.0
"""Seconds after which the screen says that the server does not answer."""
KEYS = {"pause": {"queues"}, "retry": {"jobs", "failures"}, "logs": {"jobs", "failures"}}
"""In which panes an action can be done."""


def selected_key(table: "DataTable[Text]") -> str | None:
    """Return the key of the row that is selected."""
    if not table.row_count:
        return None
    return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value


def _cell(column: Column, item: Any) -> Text:
    text = for_people(column.value(item))
    return Text(text, style=STATE_COLORS.get(text, ""), justify="right" if column.right else "left", no_wrap=True)


class Top(App[None]):
    """Shows pictures, one after the other.

    Args:
        session: The connection, and the settings that messages name.
        wanted: Which jobs to show.
        seconds: Between two pictures.
    """

    TITLE = "naq top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #head { height: auto; padding: 0 1; }
    #panes { height: 1fr; }
    TabbedContent > ContentSwitcher { height: 1fr; }
    TabPane { padding: 0; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar = [
        *(Binding(str(number), f"show('{pane.name}')", show=False) for number, pane in enumerate(PANES, 1)),
        Binding("p", "pause", "Pause or resume"),
        Binding("r", "retry", "Retry"),
        Binding("l", "logs", "Logs"),
        Binding("q,ctrl+c", "quit", "Quit"),
    ]

    def __init__(self, session: Session, wanted: JobFilter, seconds: float = 1.0) -> None:
        super().__init__()
        self._session = session
        self._reader = PictureReader(session.connection, wanted)
        self._seconds = seconds
        self._changed = asyncio.Event()
        self._head = Static("Reading…", id="head")
        self._panes = TabbedContent(initial="queues", id="panes")
        self._tables = {pane.name: DataTable[Text](id=f"{pane.name}-table", cursor_type="row") for pane in PANES}
        self.picture: Picture | None = None

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield self._head
        with self._panes:
            for number, pane in enumerate(PANES, 1):
                with TabPane(f"{number} {pane.name.capitalize()}", id=pane.name):
                    yield self._tables[pane.name]
        yield Footer()

    def on_mount(self) -> None:
        """Begin to read."""
        for pane in PANES:
            table = self._tables[pane.name]
            for column in pane.columns:
                table.add_column(Text(column.title, justify="right" if column.right else "left"), key=column.title)
        self._keep_reading()

    @work
    async def _keep_reading(self) -> None:
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(PATIENCE):
                    self.picture = await self._reader.read()
            except NaqError as error:  # what was read last stays
                self._complain(explain(error, self._session.settings).message)
            except TimeoutError:
                self._complain(
                    f"the server at {self._session.settings.redacted_url()} does not answer; what was read last is shown"
                )
            else:
                self._show(self.picture)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._seconds)

    def _complain(self, message: str) -> None:
        self._head.update(Text(message, style="bold red"))

    def _show(self, picture: Picture) -> None:
        self._head.update(_head(picture))
        for pane in PANES:
            pane.fill(self._tables[pane.name], picture)
        with contextlib.suppress(NoMatches):  # the screen is being closed
            for number, pane in enumerate(PANES, 1):
                count = len(pane.items(picture))
                self._panes.get_tab(pane.name).label = f"{number} {pane.name.capitalize()} {count or ''}".rstrip()

    def on_tabbed_content_tab_activated(self) -> None:
        """Let the keys work on the list that is shown now."""
        self._tables[self._pane].focus()
        self.refresh_bindings()

    async def on_data_table_row_selected(self) -> None:
        """Return on a job shows its log."""
        if self._pane in KEYS["logs"]:
            await self.action_logs()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only the keys that do something in the list that is shown."""
        del parameters
        return action not in KEYS or (self.picture is not None and self._pane in KEYS[action])

    def action_show(self, pane: str) -> None:
        """Show a list."""
        self._panes.active = pane

    def action_pause(self) -> None:
        """Pause the selected queue, or resume it."""
        queue = selected_key(self._tables["queues"])
        if queue is None or self.picture is None:
            return
        is_paused = any(each.paused for each in self.picture.queues if each.queue == queue)
        action, change = ("resume-queue", resume_queue) if is_paused else ("pause-queue", pause_queue)
        done = f"{queue} is {'not paused any longer' if is_paused else 'paused'}."
        self._do(action, queue, lambda: change(self._session.connection, queue), done)

    def action_retry(self) -> None:
        """Run the selected job again: requeue a dead one, or do not wait for its retry."""
        job = selected_key(self._tables[self._pane])
        if job is not None:
            self._do("retry-job", job, lambda: retry_job(self._session.connection, job), f"{job} is requeued.")

    async def action_logs(self) -> None:
        """Show the log and the error of the selected job."""
        job = selected_key(self._tables[self._pane])
        if job is not None:
            await self.push_screen(JobScreen(self._session, job, self._seconds))

    def _do(self, action: str, target: str, change: Callable[[], Coroutine[Any, Any, object]], done: str) -> None:
        self.run_worker(self._change(action, target, change, done), group="changes")

    async def _change(self, action: str, target: str, change: Callable[[], Coroutine[Any, Any, object]], done: str) -> None:
        """Change something, with a note in the audit trail, and say so."""
        try:
            async with self._session.acting(action, target):
                await change()
        except (NaqError, CommandError) as error:
            self.notify(explain(error, self._session.settings).message, severity="error", markup=False)
        else:
            self.notify(done, markup=False)
        self._changed.set()

    @property
    def _pane(self) -> str:
        return self._panes.active


def _head(picture: Picture) -> Text:
    broker = picture.broker
    busy, slots = picture.slots
    rate = "" if picture.per_second is None else f", {picture.per_second:,.1f} jobs/s"
    stored = sum(int(stream.get("bytes", 0)) for stream in broker.streams)
    return Text.assemble(
        (broker.url, "bold"),
        f"  namespace {broker.namespace}, nats-server {broker.version}, {broker.rtt * 1000:.1f} ms away, {size(stored)} stored\n",
        f"{counted(len(picture.workers), 'worker')}, {busy} of {slots} slots busy{rate}; ",
        f"{sum(queue.waiting for queue in picture.queues):,} waiting, {sum(queue.dead for queue in picture.queues):,} dead",
    )
