"""Showing and changing workflows."""

from naq_cli._output import Column
from naq_cli._session import Session
from naq_cli.commands.job.listing import duration, last_error
from naq_core.inspect import get_workflow, list_workflows
from naq_core.manage import cancel_workflow, retry_workflow
from naq_core.views import WorkflowView
from naq_core.wording import counted, were

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


async def list_page(session: Session, limit: int, cursor: str | None) -> None:
    """List a page of workflows."""
    page = await list_workflows(session.connection, limit, cursor)
    session.output.list(
        page.workflows, COLUMNS, key=lambda workflow: workflow.workflow_id, empty="There are no workflows.", document=page
    )
    if page.cursor is not None and not session.output.is_json:
        session.output.remark(f"There are more: --cursor {page.cursor}")


async def show_one(session: Session, workflow_id: str) -> None:
    """Show a workflow."""
    workflow = await get_workflow(session.connection, workflow_id)
    output = session.output
    facts = [
        ("Workflow", workflow.workflow_id),
        ("Name", workflow.name),
        ("State", state_of(workflow)),
        ("Unreadable", workflow.unreadable),
        ("Ended", done_of(workflow)),
        ("Jobs", workflow.counts),
        ("Created", workflow.created_at),
    ]
    output.facts(facts, document=workflow)
    if not output.is_json and not output.quiet:
        output.lines([""])
        output.list(workflow.jobs, JOB_COLUMNS, key=lambda job: job.job_id, empty="")


async def cancel(session: Session, workflow_id: str, reason: str, *, yes: bool) -> None:
    """Cancel what has not ended."""
    workflow = await get_workflow(session.connection, workflow_id)
    open_jobs = workflow.total - sum(workflow.counts.get(state, 0) for state in (*_ENDED, "unknown"))
    if open_jobs:
        session.output.confirm(f"{open_jobs} of {counted(workflow.total, 'job')} of {workflow_id} would be cancelled.", yes=yes)
    async with session.acting("cancel-workflow", workflow_id, reason=reason) as entry:
        done = await cancel_workflow(session.connection, workflow_id, reason)
        entry.reason = f"{counted(done, 'job')} cancelled"
    session.output.done(f"{counted(done, 'job')} of {workflow_id} {were(done)} cancelled.", names=[str(done)])


async def retry(session: Session, workflow_id: str) -> None:
    """Try again what has failed."""
    async with session.acting("retry-workflow", workflow_id) as entry:
        done = await retry_workflow(session.connection, workflow_id)
        entry.reason = f"{counted(done, 'job')} requeued"
    session.output.done(f"{counted(done, 'job')} of {workflow_id} {were(done)} requeued.", names=[str(done)])
