"""`naq workflow`: list, show, cancel and retry workflows."""

from typing import Annotated

from cyclopts import App, Parameter

from naq_cli._options import COMMON, DESTROYING, READING, Common, Destroying, Reading

app = App(name="workflow", help="List, show, cancel and retry workflows.")


@app.command(name="list")
def list_(*, limit: Annotated[int, Parameter(alias="-n")] = 20, cursor: str | None = None, options: Reading = READING) -> int:
    """List workflows, newest first.

    Args:
        limit: Workflows per page.
        cursor: Continue where the previous page ended.
    """
    from naq_cli._session import online
    from naq_cli.actions import workflows

    return online("workflow list", options, lambda session: workflows.list_page(session, limit, cursor))


@app.command
def show(workflow: str, /, *, options: Reading = READING) -> int:
    """Show a workflow and its jobs, parents before children.

    Args:
        workflow: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import workflows

    return online("workflow show", options, lambda session: workflows.show_one(session, workflow))


@app.command
def cancel(workflow: str, /, *, reason: str = "", options: Destroying = DESTROYING) -> int:
    """Cancel every job of a workflow that has not ended.

    Args:
        workflow: Its id.
        reason: The reason, stored in the jobs' records.
    """
    from naq_cli._session import online
    from naq_cli.actions import workflows

    return online("workflow cancel", options, lambda session: workflows.cancel(session, workflow, reason, yes=options.yes))


@app.command
def retry(workflow: str, /, *, options: Common = COMMON) -> int:
    """Requeue the failed jobs of a workflow; jobs that succeeded are not repeated.

    Args:
        workflow: Its id.
    """
    from naq_cli._session import online
    from naq_cli.actions import workflows

    return online("workflow retry", options, lambda session: workflows.retry(session, workflow))
