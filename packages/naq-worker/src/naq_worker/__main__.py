"""`python -m naq_worker QUEUE...`: the worker process without naq-cli."""

import argparse

from naq_core.starting import run_process
from naq_worker._options import Options
from naq_worker.command import run_worker


def main() -> int:
    """Read the command line and run the worker.

    Returns:
        The exit code of `naq_worker.command.worker`.
    """
    parser = argparse.ArgumentParser(prog="python -m naq_worker", description="Run a worker process.")
    parser.add_argument("queues", nargs="*", metavar="QUEUE", help="queues to take jobs from (NAQ_DEFAULT_QUEUE)")
    parser.add_argument("-c", "--concurrency", type=int, help="how many jobs run at a time (NAQ_CONCURRENCY)")
    parser.add_argument("--burst", action="store_true", help="stop as soon as the queues are empty")
    parser.add_argument("--nats-url", help="the server's address (NAQ_NATS_URL)")
    parser.add_argument("--imports", action="append", default=[], metavar="MODULE", help="import this module first")
    parser.add_argument("--log-level", help="DEBUG, INFO, WARNING, ERROR or CRITICAL (NAQ_LOG_LEVEL)")
    parser.add_argument("--log-format", help="console, json or logfmt (NAQ_LOG_FORMAT)")
    parser.add_argument("--workers", type=int, help="how many processes to run (NAQ_WORKERS)")
    parser.add_argument("--max-jobs", type=int, help="end a process after this many jobs")
    parser.add_argument("--max-memory", metavar="SIZE", help="end a process that uses more memory, as in 512MB")
    parser.add_argument("--max-idle", metavar="DURATION", help="end a process that has had no job for this long, as in 10m")
    parser.add_argument("--http-port", "--health-port", type=int, help="answer /livez, /readyz, /startupz and /metrics there")
    parser.add_argument("--http-host", default="127.0.0.1", help="the address to listen on (default: this machine only)")
    parser.add_argument("--name", help="what the worker's id begins with (default: the host's name)")
    parser.add_argument("--reload", action="store_true", help="start again when a Python file below this folder changes")
    parser.add_argument("--link", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    given = vars(parser.parse_args())
    link, number = given.pop("link"), given.pop("number")
    options = Options(**{**given, "queues": tuple(given["queues"]), "imports": tuple(given["imports"])})
    return run_worker(options, None if link is None else (link, number))


if __name__ == "__main__":
    run_process(main)
