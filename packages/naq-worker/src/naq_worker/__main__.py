"""`python -m naq_worker QUEUE...`: the worker process without naq-cli."""

import argparse

from naq_core.starting import run_process
from naq_worker.command import worker


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
    given = parser.parse_args()
    return worker(
        *given.queues,
        concurrency=given.concurrency,
        burst=given.burst,
        nats_url=given.nats_url,
        imports=tuple(given.imports),
        log_level=given.log_level,
        log_format=given.log_format,
    )


if __name__ == "__main__":
    run_process(main)
