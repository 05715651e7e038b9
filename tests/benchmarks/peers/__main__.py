"""`python -m tests.benchmarks.peers [--only PEER ...] [--measure NAME ...] [--reps 3] [--scale 1.0]`: print the table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.peers.peer import TWICE, Peer
from tests.benchmarks.peers.servers import SERVERS, Server, missing

ROOT = Path(__file__).resolve().parents[3]
NODE = Path(__file__).with_name("node")
NODE_MODULES = ROOT / ".hatch" / "peers-node"
"""Where the packages of Node.js are installed; kept for the next time."""
LIMIT_SECONDS = 400.0

PYTHON_PEERS = ("naq", "saq", "huey", "taskiq_nats", "celery", "rq")
NODE_PEERS = {"bullmq": "redis", "graphile": "postgres"}
MEASURES = {"enqueue": 5_000, "bulk": 20_000, "drain": 20_000, "drain_off": 20_000, "sleep": 5_000, "latency": 500}
"""How many jobs each has."""
FIGURES = {
    "drain, results kept": "jobs/s",
    "drain, no results": "jobs/s",
    "sleep(0.05), 100 at a time, of ideal": "",
    "enqueue, each awaited": "jobs/s",
    "enqueue, the fastest way": "jobs/s",
    "round trip, p50": "ms",
    "round trip, p99": "ms",
    "pickup, p50": "ms",
    "worker CPU of a job": "\N{MICRO SIGN}s",
    "server CPU of a job": "\N{MICRO SIGN}s",
}
HIDES = {
    "bullmq": "Node.js; Redis without persistence. Enqueued in calls of 1,000; 100 jobs at a time.",
    "graphile": (
        "Node.js; PostgreSQL with its defaults. Keeps no results. With the settings of its performance page: 24 jobs at a time,"
        " 500 held by the worker. Enqueued in calls of 1,000."
    ),
}


def unavailable(peer: str) -> str | None:
    """Return why a peer cannot be measured here."""
    if peer in NODE_PEERS:
        if shutil.which("node") is None or shutil.which("npm") is None:
            return "node and npm are needed"
        program = missing(NODE_PEERS[peer])
    else:
        try:
            program = missing(adapter(peer).store)
        except ImportError as error:
            return str(error)
    return None if program is None else f"{program} is needed"


def adapter(peer: str) -> Peer:
    found: Peer = importlib.import_module(f"tests.benchmarks.peers.adapters.{peer}").Adapter()
    return found


def install_node_packages() -> None:
    NODE_MODULES.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "bench.mjs"):
        shutil.copy(NODE / name, NODE_MODULES)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=NODE_MODULES, check=True)


def environment(server: Server, measure: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NAQ_", "NATS_", "PEERS_"))}
    return kept | {
        "PEERS_URL": server.url,
        "PEERS_SERVER_PID": str(server.pid),
        "PEERS_MEASURE": measure,
        "PEERS_RESULTS": "off" if measure == "drain_off" else "on",
    }


def measured(peer: str, measure: str, jobs: int) -> dict[str, float]:
    """Measure in a process of its own, on a fresh server; nothing where that fails."""
    is_node = peer in NODE_PEERS
    command = (
        ["node", "bench.mjs", peer, str(jobs)]
        if is_node
        else [sys.executable, "-m", f"{__package__}.measure", peer, measure, str(jobs)]
    )
    with SERVERS[NODE_PEERS[peer] if is_node else adapter(peer).store]() as server:
        try:
            done = subprocess.run(
                command,
                cwd=NODE_MODULES if is_node else ROOT,
                env=environment(server, measure),
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"{peer} {measure}: not done after {LIMIT_SECONDS:g} s; left out\n")
            return {}
    sys.stderr.write(done.stderr if done.returncode or TWICE in done.stderr else "")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        sys.stderr.write(f"{peer} {measure}: failed; left out\n")
        return {}
    found: dict[str, float] = json.loads(lines[-1])
    return found


def run(peers: list[str], measures: list[str], reps: int, scale: float) -> dict[str, dict[str, list[float]]]:
    """Measure, the peers in turns, so that a slow minute of the machine hits all alike; return figures, peers, values."""
    found: dict[str, dict[str, list[float]]] = {}
    for rep in range(1, reps + 1):
        for measure in measures:
            for peer in peers:
                if peer in NODE_PEERS:
                    if measure != "drain":  # it enqueues and drains in one
                        continue
                elif measure in adapter(peer).skipped:
                    continue
                sys.stderr.write(f"{rep}/{reps} {measure} {peer}\n")
                for figure, value in measured(peer, measure, max(10, int(MEASURES[measure] * scale))).items():
                    found.setdefault(figure, {}).setdefault(peer, []).append(value)
    return found


def cell(values: list[float], ours: list[float]) -> str:
    """Return the median, the range, and the ratio to NAQ's median."""
    if not values:
        return "-"
    median = statistics.median(values)
    form = "{:,.0f}" if median >= 100 else "{:.2f}"
    shown = f"{form.format(median)} [{form.format(min(values))}-{form.format(max(values))}]"
    return shown if values is ours or not ours else f"{shown} ({median / statistics.median(ours):.2f})"


def table(found: dict[str, dict[str, list[float]]], peers: list[str]) -> str:
    lines = [f"| | {' | '.join(peers)} |", f"|---|{'---|' * len(peers)}"]
    for figure, unit in FIGURES.items():
        if figure in found:
            ours = found[figure].get("naq", [])
            cells = [cell(found[figure].get(peer, []), ours) for peer in peers]
            lines.append(f"| {figure}{f', {unit}' if unit else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def notes(peer: str) -> str:
    """Return versions, and what the figures of a peer hide."""
    if peer in NODE_PEERS:
        package = NODE_MODULES / "node_modules" / {"graphile": "graphile-worker"}.get(peer, peer) / "package.json"
        return f"- {peer} {json.loads(package.read_text())['version']}: {HIDES[peer]}"
    found = adapter(peer)
    versions = ", ".join(f"{package} {version(package)}" for package in found.packages)
    return f"- {peer} ({versions}): {found.hides}"


def load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def main() -> None:
    parser = argparse.ArgumentParser(prog="hatch run bench:peers", description="Measure NAQ beside other task queues.")
    everybody = [*PYTHON_PEERS, *NODE_PEERS]
    parser.add_argument("--only", action="append", choices=everybody, help="may be repeated; default: all that can run here")
    parser.add_argument("--measure", action="append", choices=MEASURES, help="may be repeated; default: all")
    parser.add_argument("--reps", type=int, default=3, help="repetitions; the table shows median, range and ratio to NAQ (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of jobs (1.0)")
    given = parser.parse_args()
    wanted = given.only or everybody
    reasons = {peer: unavailable(peer) for peer in wanted}
    for peer, reason in reasons.items():
        if reason is not None:
            sys.stderr.write(f"{peer} is left out: {reason}\n")
    peers = [peer for peer in wanted if reasons[peer] is None]
    if NODE_PEERS.keys() & set(peers):
        install_node_packages()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and workers are ended
    before = load()
    found = run(peers, given.measure or list(MEASURES), given.reps, given.scale)
    print(table(found, peers))
    print(f"\n{given.reps} repetitions in turns, {given.scale:g} times the usual jobs; median [lowest-highest] (ratio to NAQ).")
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, load averages {before} before and {load()} after.\n")
    print("\n".join(notes(peer) for peer in peers))


if __name__ == "__main__":
    main()
