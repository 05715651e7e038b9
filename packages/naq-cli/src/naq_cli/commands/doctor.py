"""`naq doctor`: what is wrong, and what to do about it."""

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator
from http.client import HTTPException
from typing import Annotated, Any
from urllib.parse import urlsplit

from cyclopts import Parameter

from naq_cli._findings import Finding, finding_of
from naq_cli._format import printable
from naq_cli._options import Reading
from naq_cli._output import Column
from naq_cli._schedule_findings import schedule_findings
from naq_cli._session import Session, connected
from naq_cli.exit_codes import ExitCode
from naq_core import unreadable
from naq_core.attention import queue_problems, signal_problems, worker_problems
from naq_core.errors import NaqError
from naq_core.inspect import check_topology, list_workers, read_trust, waiting_for_signals
from naq_core.settings import redact_url
from naq_core.storage.subjects import NORMAL
from naq_core.transport.clock import MOST_SKEW, WARN_SECONDS
from naq_core.wording import counted, size, span, were

_RECOMMENDED = (2, 15)
_TIGHT = 0.8
_SLOW_SECONDS = 0.25
_MOST_SHOWN = 20


COLUMNS = (
    Column("Check", lambda finding: finding.check),
    Column("Status", lambda finding: finding.status),
    Column("Found", lambda finding: finding.found, wrap=True),
    Column("What to do", lambda finding: finding.advice, wrap=True),
)


@connected("doctor", Reading)
async def doctor(
    session: Session,
    *queues: str,
    monitor_url: str | None = None,
    strict: Annotated[bool, Parameter(negative="")] = False,
    remove_unreadable: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Check the server, its settings and limits, NAQ's streams, the workers and the clocks.

    The exit code is 1 if a check found a problem, and 3 if no server can be reached.

    Args:
        queues: Queues that must be usable.
        monitor_url: The server's monitoring address (http://host:8222), which reports sync_interval. By default port 8222
            of the server is tried.
        strict: Warnings count as problems.
        remove_unreadable: Delete the documents that cannot be read. A job whose record is deleted may run again.
        yes: Do not ask for confirmation.
    """
    if remove_unreadable:
        return await _remove(session, yes=yes)
    findings = [finding async for finding in _checks(session, list(queues), monitor_url)]
    output = session.output
    if output.is_terminal:
        _print(session, findings)
    else:
        output.list(findings, COLUMNS, key=lambda finding: f"{finding.check}={finding.status}", empty="")
    bad = {"problem", "warning"} if strict else {"problem"}
    return ExitCode.FAILED if any(finding.status in bad for finding in findings) else ExitCode.OK


async def _remove(session: Session, *, yes: bool) -> int:
    """Delete what cannot be read."""
    found, removed = await unreadable.find_unreadable(session.connection), 0
    if found:
        session.output.confirm(f"{counted(len(found), 'unreadable document')} would be deleted. naq doctor lists them.", yes=yes)
        async with session.acting("remove-unreadable", "") as entry:
            removed = await unreadable.remove_unreadable(session.connection, found)
            entry.reason = f"{counted(removed, 'document')} removed"
    left = ""
    if removed < len(found):
        left = f" {len(found) - removed} have keys that cannot be addressed; only deleting their bucket removes them."
    session.output.done(f"{counted(removed, 'document')} {were(removed)} deleted.{left}", names=[str(removed)])
    return ExitCode.OK


def _print(session: Session, findings: list[Finding]) -> None:
    """One line for each finding, and below it what to do: sentences do not fit into columns."""
    from rich.table import Table
    from rich.text import Text

    colors = {"ok": "green", "warning": "yellow", "problem": "bold red", "unknown": "bright_black"}
    grid = Table.grid(padding=(0, 2))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings:
        text = Text(finding.found)
        if finding.advice:
            text.append(f"\n→ {finding.advice}", style="dim")
        grid.add_row(Text(finding.status, style=colors[finding.status]), Text(finding.check), text)
    session.output.console().print(grid)


async def _checks(session: Session, queues: list[str], monitor_url: str | None) -> AsyncIterator[Finding]:
    yield _version(session)
    yield await _round_trip(session)
    account = await session.connection.api("INFO")
    for finding in _limits(account):
        yield finding
    yield _payload(session)
    yield await _trust(session)
    async for finding in _topology(session, queues):
        yield finding
    yield _clock(session)
    if monitor_url is None and session.settings.jetstream_domain is not None:
        yield _elsewhere(session.settings.jetstream_domain)
    else:
        yield await asyncio.to_thread(_sync_interval, session.settings.nats_url, monitor_url, session.connection.server_id)
    for name, check in (
        ("workers", _workers),
        ("queues", _queues),
        ("scheduler", schedule_findings),
        ("signals", _signals),
        ("stored", _stored),
    ):
        try:
            async for finding in check(session):
                yield finding
        except NaqError as error:  # what is wrong with the streams was found above; the other checks may still say more
            yield Finding(check=name, status="unknown", found=f"cannot be checked: {error}")


def _version(session: Session) -> Finding:
    version = session.connection.server_version
    known = tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())
    if known >= _RECOMMENDED:
        return Finding(check="server", status="ok", found=f"nats-server {version} at {session.connection.url}")
    wanted = ".".join(map(str, _RECOMMENDED))
    return Finding(
        check="server",
        status="warning",
        found=f"nats-server {version} at {session.connection.url}",
        advice=f"It works, but NAQ is tested with {wanted} or newer.",
    )


async def _round_trip(session: Session) -> Finding:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        await session.connection.api("INFO")
        times.append(time.perf_counter() - began)
    best = min(times)
    if best < _SLOW_SECONDS:
        return Finding(check="round trip", status="ok", found=f"{best * 1000:.1f} ms")
    return Finding(
        check="round trip",
        status="warning",
        found=f"{best * 1000:.0f} ms",
        advice="Each job costs several round trips: run workers near the server.",
    )


def _limits(account: dict[str, Any]) -> list[Finding]:
    limits = account.get("limits") or {}
    findings = []
    for name, used_key, limit_key in (("storage", "storage", "max_storage"), ("memory", "memory", "max_memory")):
        used, limit = account.get(used_key, 0), limits.get(limit_key, -1)
        if limit is None or limit <= 0:
            if name == "storage":
                findings.append(Finding(check=name, status="ok", found=f"{size(used)} used, no limit for this account"))
            continue
        full = used / limit
        findings.append(
            Finding(
                check=name,
                status="ok" if full < _TIGHT else "problem" if full >= 0.95 else "warning",
                found=f"{size(used)} of {size(limit)} used ({full:.0%})",
                advice="" if full < _TIGHT else f"A full store rejects jobs: raise the account's max {name}, or purge a queue.",
            )
        )
    return findings


def _payload(session: Session) -> Finding:
    limit = session.connection.max_payload
    if limit >= 1_000_000:
        return Finding(check="max_payload", status="ok", found=size(limit))
    return Finding(
        check="max_payload",
        status="warning",
        found=size(limit),
        advice="Larger arguments are rejected or go to the object store: set max_payload: 1MB in the server's configuration.",
    )


async def _trust(session: Session) -> Finding:
    """What confines this user: of other users the server tells nothing."""
    try:
        trust = await read_trust(session.connection)
    except NaqError as error:
        return Finding(check="trust", status="unknown", found=f"the user's permissions are unknown: {error}")
    signed, others = bool(session.settings.signing_key), trust.other_namespaces
    found = [
        f"account {trust.account}",
        "the user is restricted by permissions" if trust.confined else "the user has full access",
        "jobs are signed" if signed else "jobs are not signed",
    ]
    advice = []
    if not trust.confined and not signed:
        advice.append(
            "Fine for development. Else give each process a user with permissions (naq_core.permissions), or sign jobs."
        )
    if others:
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        found.append(f"the account also holds {', '.join(others[:3])}{more}")
        advice.append(
            "A user who may create streams or consumers reaches every namespace of the account: use one account per trust domain."
        )
    return Finding(check="trust", status="warning" if advice else "ok", found="; ".join(found), advice=" ".join(advice))


async def _topology(session: Session, queues: list[str]) -> AsyncIterator[Finding]:
    fine = 0
    for item in await check_topology(session.connection, queues):
        name = f"{item.kind} {item.name}"
        if item.state == "ok":
            fine += 1
        elif item.state == "missing":
            place = session.connection.names.place_of(item.name) if item.kind == "consumer" else None
            if place is not None and place[1] != NORMAL:
                continue  # created with the first job of its priority
            # Streams are made when they are first needed; a queue that was named must be usable now.
            status = "problem" if item.kind == "consumer" else "warning"
            advice = f"naq setup {' '.join(queues)}".rstrip() + " creates it; so does the first enqueue."
            yield Finding(check=name, status=status, found="missing", advice=advice)
        else:
            what = "; ".join(f"{key} is {text}" for key, text in item.differences.items())
            yield Finding(
                check=name,
                status="problem" if item.breaks_promises else "warning",
                found=what,
                advice="naq setup --update changes it."
                if item.can_update
                else "An existing stream cannot be changed here: use another NAQ_NAMESPACE, or delete it with its contents.",
            )
    if fine:
        yield Finding(check="streams", status="ok", found=f"{fine} streams and consumers have the configuration that NAQ needs")


def _clock(session: Session) -> Finding:
    clock = session.connection.clock
    if not clock.is_known:
        return Finding(check="clock", status="unknown", found="the server's time is unknown until a stream exists")
    skew, error = clock.skew, clock.uncertainty
    if abs(skew) - error < WARN_SECONDS:
        found = f"this machine and the server agree within {max(abs(skew), error):.3f} s"
        return Finding(check="clock", status="ok", found=found)
    return Finding(
        check="clock",
        status="warning",
        found=f"this machine's clock is {_apart(skew)} the server's",
        advice="NAQ uses the server's clock, but your code reads this one, and a scheduler whose clock is more than"
        f" {MOST_SKEW:.0f} s off does not lead: synchronise both clocks by NTP.",
    )


def _apart(skew: float) -> str:
    return f"{span(abs(skew))} {'ahead of' if skew > 0 else 'behind'}"


def _elsewhere(domain: str) -> Finding:
    return Finding(
        check="sync_interval",
        status="unknown",
        found=f"jobs are stored in the JetStream domain {domain}, of another server than this one",
        advice="Give the monitoring address of that server with --monitor-url.",
    )


def _sync_interval(nats_url: str, monitor_url: str | None, server_id: str) -> Finding:
    """Ask the monitoring port: no request over NATS tells it."""
    named = monitor_url is not None
    address = (monitor_url or _guess(nats_url)).rstrip("/")
    try:
        with urllib.request.urlopen(f"{address}/jsz?config=true", timeout=1) as answer:  # noqa: S310 - http, checked below
            told = json.load(answer)
        if not named and told.get("server_id") != server_id:
            raise ValueError("a different server answers there")  # noqa: TRY301 - one way to say that it is unknown
    except (OSError, ValueError, HTTPException) as error:
        shown = redact_url(address)
        reason = getattr(error, "reason", error) if shown == address else type(error).__name__  # it may quote the address
        return Finding(
            check="sync_interval",
            status="problem" if named else "unknown",
            found=f"cannot read it from {shown}: {reason}",
            advice="Give the monitoring address with --monitor-url (the server's http_port setting enables it).",
        )
    config = told.get("config") or {}
    nanoseconds = int(config.get("sync_interval") or 0)
    if config.get("sync_always"):
        return Finding(check="sync_interval", status="ok", found="always: an accepted job survives a power cut")
    return Finding(
        check="sync_interval",
        status="warning",
        found=f"{span(nanoseconds / 1e9) if nanoseconds else '2m'}: a power cut may lose what was accepted since",
        advice="In production set jetstream { sync_interval: always } on one server, or run three replicas.",
    )


def _guess(nats_url: str) -> str:
    first = nats_url.split(",", maxsplit=1)[0].strip()
    host = urlsplit(first if "://" in first else f"nats://{first}").hostname or "localhost"
    return f"http://[{host}]:8222" if ":" in host else f"http://{host}:8222"


async def _stored(session: Session) -> AsyncIterator[Finding]:
    """Documents that another program wrote, or that were damaged."""
    found = await unreadable.find_unreadable(session.connection)
    for each in found[:_MOST_SHOWN]:
        yield Finding(
            check=f"unreadable {each.kind}",
            status="problem",
            found=f"{printable(each.key)}: {each.reason}",
            advice="naq doctor --remove-unreadable deletes it.",
        )
    if len(found) > _MOST_SHOWN:
        yield Finding(check="unreadable", status="problem", found=f"{len(found) - _MOST_SHOWN:,} more unreadable documents")
    if not found:
        yield Finding(check="stored", status="ok", found="every document checked is readable")


async def _workers(session: Session) -> AsyncIterator[Finding]:
    alive = sum("unreadable" not in each for each in await list_workers(session.connection))
    if alive:
        yield Finding(check="workers", status="ok", found=f"{alive} alive")
    for problem in await worker_problems(session.connection):
        yield finding_of(problem)


async def _queues(session: Session) -> AsyncIterator[Finding]:
    for problem in await queue_problems(session.connection):
        yield finding_of(problem)


async def _signals(session: Session) -> AsyncIterator[Finding]:
    page = await waiting_for_signals(session.connection)
    if page.jobs:
        number = f"{len(page.jobs)} or more waiting jobs" if page.has_more else counted(len(page.jobs), "waiting job")
        yield Finding(check="signals", status="ok", found=f"{number}: naq signal lists them")
    for problem in await signal_problems(session.connection):
        yield finding_of(problem)
