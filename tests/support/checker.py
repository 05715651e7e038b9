"""Judge a history: which promises of the queue did it break?

The rules follow Jepsen's total-queue model, with claims and faults added.

- C1  every accepted job started at least once and has exactly one end record
- C2  nothing ran or ended that nobody enqueued
- C3  two runs of a job overlap only if a fault explains it
- C4  a job that no fault touched ran exactly once per attempt that was asked for
- C5  no run starts after the job's end
- C6  fences are never reused and grow, and a fenced effect is applied once
- C7  an enqueue with an unknown outcome made no or one job
- C8  each nominal time of a schedule made one job, which ran
- C9  the queue drains in time after the last fault has healed
- C10 nothing is left over: gauges are back at their base line
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from tests.support.eventually import PATIENCE
from tests.support.history import Event

WITHOUT_A_RUN = frozenset({"cancelled", "expired"})


@dataclass(frozen=True)
class Limits:
    """How strict to be.

    Attributes:
        lease: Seconds after a fault in which its consequences may still show up.
        settle: Seconds between a function's return and the moment its end is stored.
        after_end: Seconds after a job's end in which a start is not yet a violation.
        drain: Seconds in which the queue drains after the last fault or enqueue on a quiet machine; it may take `PATIENCE`
            times as long.
    """

    lease: float = 3.0
    settle: float = 1.0
    after_end: float = 1.0
    drain: float = 30.0


@dataclass(frozen=True)
class Violation:
    """One broken rule: its name, the job (or what else it concerns) and the reason."""

    rule: str
    subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.rule} {self.subject}: {self.reason}"


@dataclass
class Run:
    """One execution of a job's function."""

    job: str
    started_at: float
    attempt: int
    fence: int
    worker: int
    ended_at: float = inf
    outcome: str | None = None


@dataclass(frozen=True)
class Fault:
    """A window in which something was broken, for one worker process or for all."""

    name: str
    since: float
    until: float
    worker: int | None

    def touches(self, since: float, until: float, worker: int, slack: float) -> bool:
        """Tell whether the window, `slack` seconds longer, meets a stretch of that worker."""
        mine = self.worker in (None, worker)
        return mine and self.since <= until and since <= self.until + slack


@dataclass
class Report:
    """What a history came to.

    Attributes:
        violations: The broken rules, in the order of their names.
        accepted: How many enqueues were accepted, and times of schedules were due.
        runs: How many times a function started.
        extra_runs: How many of these were neither a first run nor a retry after an error.
        lost: Accepted jobs without a run or an end record.
        recovery: Per job with an extra run, the longest time in seconds from one start to the next.
    """

    violations: list[Violation] = field(default_factory=list)
    accepted: int = 0
    runs: int = 0
    extra_runs: int = 0
    lost: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        worst = max(self.recovery, default=0.0)
        head = (
            f"accepted={self.accepted} runs={self.runs} extra={self.extra_runs} "
            f"lost={len(self.lost)} recovery_max={worst:.2f}s violations={len(self.violations)}"
        )
        return "\n".join([head, *(f"  {violation}" for violation in self.violations[:20])])

    def rules(self) -> set[str]:
        """Return the names of the broken rules."""
        return {violation.rule for violation in self.violations}


class Checker:
    """Applies the rules to one history.

    Args:
        events: The events, in any order.
        limits: How strict to be.
    """

    def __init__(self, events: Iterable[Event], limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.report = Report()
        self._by_kind: dict[str, list[Event]] = defaultdict(list)
        for event in sorted(events, key=lambda event: event.at):
            self._by_kind[event.kind].append(event)
        self._due = {event.job for event in self._by_kind["due"]}
        self._invoked = {event.job for event in self._by_kind["enq_invoke"]} | self._due
        self._accepted = {event.job for event in self._by_kind["enq_ok"]}
        self._unknown = {event.job for event in self._by_kind["enq_unknown"]}
        self._runs = self._collect_runs()
        self._ends: dict[str, list[Event]] = defaultdict(list)
        for event in self._by_kind["terminal"]:
            self._ends[event.job].append(event)
        self._faults = [
            Fault(f["name"], f["t0"], f["t1"], f.get("worker")) for f in (event.fields for event in self._by_kind["fault"])
        ]

    def check(self) -> Report:
        """Apply every rule and return the report."""
        for job in sorted(self._accepted):
            self._check_not_lost(job)
        for job in sorted(self._runs.keys() | self._ends.keys()):
            self._check_known(job)
            self._check_overlap(job)
            self._check_single_run(job)
            self._check_nothing_after_end(job)
            self._check_fences(job)
        self._check_effects()
        self._check_unknown()
        self._check_schedules()
        self._check_drained()
        self._check_gauges()
        self.report.accepted = len(self._accepted) + len(self._due)
        self.report.runs = sum(map(len, self._runs.values()))
        self.report.violations.sort(key=lambda violation: (int(violation.rule[1:]), violation.subject))
        return self.report

    def _collect_runs(self) -> dict[str, list[Run]]:
        runs: dict[str, list[Run]] = defaultdict(list)
        for event in self._by_kind["start"]:
            f = event.fields
            runs[event.job].append(Run(event.job, event.at, f["attempt"], f["fence"], f["worker"]))
        for event in self._by_kind["end"]:
            f = event.fields
            for run in runs[event.job]:
                same = (run.fence, run.worker) == (f["fence"], f["worker"])
                if same and run.ended_at == inf and run.started_at <= event.at:
                    run.ended_at, run.outcome = event.at, f["outcome"]
                    break
        return runs

    def _break(self, rule: str, subject: str, reason: str) -> None:
        self.report.violations.append(Violation(rule, subject, reason))

    def _touched(self, run: Run, until: float) -> bool:
        slack = self.limits.lease
        return any(fault.touches(run.started_at, until, run.worker, slack) for fault in self._faults)

    def _check_not_lost(self, job: str) -> None:
        ends = self._ends.get(job, [])
        states = [event.fields["state"] for event in ends]
        if len(ends) != 1:
            self._break("C1", job, f"{len(ends)} end records {states}, expected one")
        if not self._runs.get(job) and not WITHOUT_A_RUN.intersection(states):
            self._break("C1", job, "accepted and never started")
            self.report.lost.append(job)
        elif not ends:
            self.report.lost.append(job)

    def _check_known(self, job: str) -> None:
        if job not in self._invoked:
            self._break("C2", job, "ran or ended, and nobody enqueued it")

    def _check_overlap(self, job: str) -> None:
        runs = self._runs.get(job, [])
        for index, first in enumerate(runs):
            for second in runs[index + 1 :]:
                overlaps = second.started_at < first.ended_at
                if overlaps and not self._touched(first, second.started_at):
                    later = second.started_at - first.started_at
                    self._break("C3", job, f"second run {later:.3f}s into the first, no fault")

    def _check_single_run(self, job: str) -> None:
        runs = self._runs.get(job, [])
        asked_for = 1 + sum(run.outcome == "error" for run in runs[:-1])
        extra = len(runs) - asked_for
        if extra <= 0:
            return
        self.report.extra_runs += extra
        gaps = [second.started_at - first.started_at for first, second in pairwise(runs)]
        self.report.recovery.append(max(gaps))
        touched = sum(self._touched(run, run.ended_at + self.limits.settle) for run in runs)
        if not touched:
            self._break("C4", job, f"{len(runs)} runs, and no fault touched any of them")

    def _check_nothing_after_end(self, job: str) -> None:
        for end in self._ends.get(job, []):
            ended_at = end.fields.get("ended_at", end.at)
            for run in self._runs.get(job, []):
                late = run.started_at - ended_at
                if late > self.limits.after_end:
                    self._break("C5", job, f"started {late:.3f}s after its end")

    def _check_fences(self, job: str) -> None:
        runs = self._runs.get(job, [])
        fences = [run.fence for run in sorted(runs, key=lambda run: (run.attempt, run.fence))]
        if len(set(fences)) != len(fences):
            self._break("C6", job, f"a fence was used twice: {fences}")
        elif fences != sorted(fences):
            self._break("C6", job, f"fences do not grow with the attempts: {fences}")

    def _check_effects(self) -> None:
        applied: dict[str, list[int]] = defaultdict(list)
        for event in self._by_kind["effect"]:
            applied[event.job] += [event.fields["fence"]] if event.fields["applied"] else []
        for job, fences in applied.items():
            if len(fences) > 1:
                self._break("C6", job, f"the effect was applied {len(fences)} times: {fences}")

    def _check_unknown(self) -> None:
        for job in sorted(self._unknown - self._accepted):
            ends = len(self._ends.get(job, []))
            if ends > 1:
                self._break("C7", job, f"an enqueue with unknown outcome made {ends} jobs")
            if self._runs.get(job) and not ends:
                self._break("C7", job, "it ran and has no end record")

    def _check_schedules(self) -> None:
        for job in sorted(self._due):
            # A run after a fault is another attempt of the same job; a job made twice begins twice.
            begun = sum(run.attempt == 1 for run in self._runs.get(job, []))
            if begun == 0:
                self._break("C8", job, "this time of the schedule was missed")
                self.report.lost.append(job)
            elif begun > 1:
                self._break("C8", job, f"this time of the schedule made {begun} jobs")

    def _check_drained(self) -> None:
        healed = [fault.until for fault in self._faults]
        healed += [event.at for event in self._by_kind["enq_ok"]]
        if not healed:
            return
        if not self._by_kind["drained"]:
            self._break("C9", "queue", "never seen empty")
            return
        took = self._by_kind["drained"][-1].at - max(healed)
        if took > PATIENCE * self.limits.drain:
            self._break("C9", "queue", f"drained {took:.1f}s after the last fault or enqueue")

    def _check_gauges(self) -> None:
        first: dict[str, float] = {}
        last: dict[str, float] = {}
        for event in self._by_kind["gauge"]:
            for name, value in event.fields["values"].items():
                first.setdefault(name, value)
                last[name] = value
        for name, value in last.items():
            if value > first[name]:
                self._break("C10", name, f"{first[name]} before and {value} after")


def check(events: Iterable[Event], limits: Limits | None = None) -> Report:
    """Judge a history by every rule."""
    return Checker(events, limits).check()


def verify(events: Iterable[Event], limits: Limits | None = None) -> Report:
    """Judge a history, show the figures (`pytest -rP`), and fail if a rule is broken."""
    report = check(events, limits)
    print(report)
    assert not report.violations, report
    return report
