"""`python -m naq_dashboard`, for machines without naq-cli."""

import argparse

from naq_core.starting import run_process
from naq_dashboard.command import dashboard


def main() -> int:
    """Run the dashboard with the options of `naq dashboard`.

    Returns:
        Its exit code.
    """
    parser = argparse.ArgumentParser(prog="naq-dashboard", description="Serve the dashboard until a signal stops it.")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port (8080)")
    parser.add_argument("--nats-url", help="the NATS server")
    parser.add_argument("--root-path", help="path under which a proxy serves the dashboard")
    parser.add_argument("--read-only", action="store_true", help="refuse every action")
    parser.add_argument("--insecure-no-auth", action="store_true", help="listen on any address without a login")
    parser.add_argument("--log-level", help="DEBUG, INFO, WARNING, ERROR or CRITICAL")
    parser.add_argument("--log-format", help="console, json or logfmt (NAQ_LOG_FORMAT)")
    parser.add_argument("--hash-password", action="store_true", help="ask for a password, print its hash, and exit")
    return dashboard(**vars(parser.parse_args()))


if __name__ == "__main__":
    run_process(main)
