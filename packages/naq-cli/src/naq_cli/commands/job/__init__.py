"""`naq job`: jobs, one or many."""

from cyclopts import App

from naq_cli.commands.job.changes import cancel, delete, reschedule, retry, run_now
from naq_cli.commands.job.detail import logs, result, show, wait
from naq_cli.commands.job.listing import list_

app = App(name="job", help="List, show, retry, cancel and delete jobs.")
app.command(list_, name="list")
for command in (show, result, wait, logs, cancel, retry, delete, run_now, reschedule):
    app.command(command)
