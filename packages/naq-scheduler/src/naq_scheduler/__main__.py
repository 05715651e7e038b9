"""`python -m naq_scheduler`: the scheduler process without naq-cli."""

import argparse

from naq_core.starting import run_process
from naq_scheduler.command import scheduler


def main() -> int:
    """Read the command line and run the scheduler.

    Returns:
        The exit code of `naq_scheduler.command.scheduler`.
    """
    parser = argparse.ArgumentParser(prog="python -m naq_scheduler", description="Run a scheduler process.")
    parser.add_argument("--enable-ha", action=argparse.BooleanOptionalAction, default=True, help="elect a leader (default)")
    parser.add_argument("--instance-id", help="its name in logs")
    parser.add_argument("--imports", action="append", default=[], metavar="MODULE", help="set up the schedules of this module")
    parser.add_argument("--http-port", "--health-port", type=int, help="answer /livez, /readyz, /startupz and /metrics there")
    parser.add_argument("--http-host", default="127.0.0.1", help="the address to listen on (default: this machine only)")
    parser.add_argument("--nats-url", help="the server's address (NAQ_NATS_URL)")
    parser.add_argument("--log-level", help="DEBUG, INFO, WARNING, ERROR or CRITICAL (NAQ_LOG_LEVEL)")
    parser.add_argument("--log-format", help="console, json or logfmt (NAQ_LOG_FORMAT)")
    given = parser.parse_args()
    return scheduler(**{**vars(given), "imports": tuple(given.imports)})


if __name__ == "__main__":
    run_process(main)
