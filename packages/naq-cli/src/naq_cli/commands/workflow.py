"""`naq workflow`: list, show, cancel and retry workflows."""

from typing import Annotated

from cyclopts import App, Parameter

from naq_cli._jobs import duration, last_error
from naq_cli._options import Destroying, Reading
from naq_cli._output import Column
from naq_cli._session import Session, connected
from naq_core.inspect import get_workflow, list_workflows
from naq_core.manage import cancel_workflow, retry_workflow
from naq_core.views import WorkflowView
from naq_core.wording import counted, were

app = App(name="workflow", help="List, show, cancel and retry workflows.")

_ENDED = ("succeeded", "dead", "cancelled", "expired")
_WORST_FIRST = ("dead", "cancelled", "expired", "retrying", "running", "queued", "held")


def state_of(workflow: WorkflowView) -> str:
    """Return the state that says most of the whole: what failed, else what goes on."""
    if workflow.unreadable:
        return "unreadable"
    return next((state for state in _WORST_FIRST if workflow.counts.get(state)), "succeeded")


def done_of(workflow: WorkflowView) -> str:
    """Return how many jobs have ended."""
    return f"{sum(workflow.counts.get(state, 0) for state in _ENDED)}/{workflow.total}"


COLUMNS = (
    Column("Workflow", lambda workflow: workflow.workflow_id),
    Column("Name", lambda workflow: workflow.name, wrap=True),
    Column("State", state_of),
    Column("Ended", done_of, right=True),
    Column("Created", lambda workflow: workflow.created_at, right=True),
    Column("Jobs", lambda workflow: workflow.counts, rank=2, wrap=True),
)
JOB_COLUMNS = (
    Column("Job", lambda job: job.job_id),
    Column("State", lambda job: job.state),
    Column("Function", lambda job: job.function, wrap=True),
    Column("After", lambda job: len(job.parents) or None, right=True),
    Column("Took", duration, rank=2, right=True),
    Column("Queue", lambda job: job.queue, rank=4, wrap=True),
    Column("Error", last_error, rank=3, wrap=True),
)


@app.command(name="list")
@connected("workflow list", Reading)
async def list_(session: Session, *, limit: Annotated[int, Parameter(alias="-n")] = 20, cursor: str | None = None) -> None:
    """List workflows, newest first.

    Args:
        limit: Workflows per page.
        cursor: Continue where the previous page ended.
    """
    page = await list_workflows(session.connection, limit, cursor)
    session.output.list(
        page.workflows, COLUMNS, key=lambda workflow: workflow.workflow_id, empty="There are no workflows.", document=page
    )
    if page.cursor is not None and not session.output.is_json:
        session.output.remark(f"There are more: --cursor {page.cursor}")


@app.command
@connected("workflow show", Reading)
async def show(session: Session, workflow: str, /) -> None:
    """Show a workflow and its jobs, parents before children.

    Args:
        workflow: Its id.
    """
    view = await get_workflow(session.connection, workflow)
    output = session.output
    facts = [
        ("Workflow", view.workflow_id),
        ("Name", view.name),
        ("State", state_of(view)),
        ("Unreadable", view.unreadable),
        ("Ended", done_of(view)),
        ("Jobs", view.counts),
        ("Created", view.created_at),
    ]
    output.facts(facts, document=view)
    if not output.is_json and not output.quiet:
        output.lines([""])
        output.list(view.jobs, JOB_COLUMNS, key=lambda job: job.job_id, empty="")


@app.command
@connected("workflow cancel", Destroying)
async def cancel(session: Session, workflow: str, /, *, reason: str = "") -> None:
    """Cancel every job of a workflow that has not ended.

    Args:
        workflow: Its id.
        reason: The reason, stored in the jobs' records.
    """
    view = await get_workflow(session.connection, workflow)
    open_jobs = view.total - sum(view.counts.get(state, 0) for state in (*_ENDED, "unknown"))
    if open_jobs:
        session.output.confirm(f"{open_jobs} of {counted(view.total, 'job')} of {workflow} would be cancelled.")
    async with session.acting("cancel-workflow", workflow, reason=reason) as entry:
        done = await cancel_workflow(session.connection, workflow, reason)
        entry.reason = f"{counted(done, 'job')} cancelled"
    session.output.done(f"{counted(done, 'job')} of {workflow} {were(done)} cancelled.", names=[str(done)])


@app.command
@connected("workflow retry")
async def retry(session: Session, workflow: str, /) -> None:
    """Requeue the failed jobs of a workflow; jobs that succeeded are not repeated.

    Args:
        workflow: Its id.
    """
    async with session.acting("retry-workflow", workflow) as entry:
        done = await retry_workflow(session.connection, workflow)
        entry.reason = f"{counted(done, 'job')} requeued"
    session.output.done(f"{counted(done, 'job')} of {workflow} {were(done)} requeued.", names=[str(done)])
