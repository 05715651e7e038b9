"""`naq deploy`: marks of deployments, which charts show."""

from cyclopts import App

from naq_cli._options import Common, Reading
from naq_cli._output import Column
from naq_cli._session import Session, connected
from naq_core.deploys import ACTION, check_version, list_deploys

app = App(name="deploy", help="Mark deployments in the dashboard's charts, and list the marks.")

COLUMNS = (
    Column("Version", lambda deploy: deploy.version),
    Column("At", lambda deploy: deploy.at),
    Column("By", lambda deploy: deploy.by or "nobody"),
)


@app.command
@connected("deploy mark", Common)
async def mark(session: Session, version: str, /) -> None:
    """Mark that a version is deployed now. The mark is an entry of the audit trail, and a line in the dashboard's charts.

    Args:
        version: Its name, such as v12 or a commit.
    """
    name = check_version(version)
    async with session.acting(ACTION, name):
        pass
    session.output.remark(f"Marked: {name}.")


@app.command(name="list")
@connected("deploy list", Reading)
async def list_(session: Session) -> None:
    """List the latest marks, newest first."""
    deploys = await list_deploys(session.connection)
    session.output.list(deploys, COLUMNS, key=lambda deploy: deploy.version, empty="No deployment is marked: naq deploy mark v1")
