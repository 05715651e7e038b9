"""Every command of `naq` in one table: what the root help shows and what the parser mounts."""

from typing import NamedTuple


class Command(NamedTuple):
    """A command at the top level."""

    group: str
    help: str
    target: str = ""
    """`module:object` in naq-cli; empty where another distribution brings the command."""
    distribution: str = ""
    """The distribution to install for it."""


RUN, LOOK, PREPARE, OTHER = "Run", "Inspect and manage", "Prepare", "Plugins"
GROUPS = (RUN, LOOK, PREPARE, OTHER)

COMMANDS = {
    "dev": Command(RUN, "Server, worker, scheduler and dashboard for development.", "naq_cli.dev.command:dev"),
    "worker": Command(RUN, "Run a worker process.", distribution="naq-worker"),
    "scheduler": Command(RUN, "Run a scheduler, which fires recurring schedules.", distribution="naq-scheduler"),
    "dashboard": Command(RUN, "Serve the web dashboard.", distribution="naq-dashboard"),
    "server": Command(RUN, "Run a nats-server with JetStream in the foreground.", "naq_cli.commands.server:server"),
    "enqueue": Command(LOOK, "Enqueue a function call.", "naq_cli.commands.enqueue:enqueue"),
    "job": Command(LOOK, "List, show, retry, cancel and delete jobs.", "naq_cli.commands.job:app"),
    "queue": Command(LOOK, "List, show, pause, limit, purge and delete queues.", "naq_cli.commands.queue:app"),
    "schedule": Command(LOOK, "List, add, pause, trigger and backfill recurring schedules.", "naq_cli.commands.schedule:app"),
    "workflow": Command(LOOK, "List, show, cancel and retry workflows.", "naq_cli.commands.workflow:app"),
    "signal": Command(LOOK, "Send a signal to the jobs that wait for it, and list them.", "naq_cli.commands.signal:signal"),
    "workers": Command(LOOK, "List, show, quiet, resize and stop worker processes.", "naq_cli.commands.workers:app"),
    "events": Command(LOOK, "Print job events as they happen.", "naq_cli.commands.events:events"),
    "audit": Command(LOOK, "Show who did what with the dashboard and this command.", "naq_cli.commands.audit:audit"),
    "top": Command(LOOK, "Show queues, workers, jobs and failures, live in the terminal.", "naq_cli.top.command:top"),
    "stats": Command(LOOK, "Show statistics of all queues, once or continuously.", "naq_cli.commands.stats:stats"),
    "deploy": Command(LOOK, "Mark deployments in the dashboard's charts.", "naq_cli.commands.deploy:app"),
    "check": Command(LOOK, "Check workers, queues or schedules, for Nagios and cron.", "naq_cli.commands.check:app"),
    "doctor": Command(PREPARE, "Check the server, streams and workers, and suggest fixes.", "naq_cli.commands.doctor:doctor"),
    "bench": Command(PREPARE, "Measure how fast jobs are enqueued and run on this server.", "naq_cli.bench.command:bench"),
    "setup": Command(PREPARE, "Create NAQ's streams and the consumers of queues.", "naq_cli.commands.setup:setup"),
    "generate": Command(
        PREPARE, "Make files for Docker, systemd, Kubernetes, KEDA and nats-server.", "naq_cli.commands.generate:app"
    ),
    "config": Command(PREPARE, "Show every setting and where it comes from.", "naq_cli.commands.config:app"),
    "completion": Command(PREPARE, "Print or install completion for your shell.", "naq_cli.commands.completion:completion"),
}
"""In the order of the help."""

ALIASES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("purge",): ("queue", "purge"),
    ("list-scheduled",): ("job", "list", "--state", "held"),
    ("job-control",): ("job",),
    ("list-workers",): ("workers", "list"),
    ("workflows",): ("workflow", "list"),
    ("queues",): ("queue", "list"),
    ("schedules",): ("schedule", "list"),
    ("jobs",): ("job", "list"),
    **{("worker", verb): ("workers", verb) for verb in ("list", "show", "quiet", "resume", "resize", "stack", "stop")},
}
"""Other spellings, by their first words. A queue called `list` is worked on with `naq worker -- list`."""


def resolve_alias(words: list[str]) -> list[str]:
    """Replace an alias at the beginning of a command line by what it stands for."""
    for length in (2, 1):
        meant = ALIASES.get(tuple(words[:length]))
        if meant is not None:
            return [*meant, *words[length:]]
    return words
