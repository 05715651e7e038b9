"""Jobs of a workflow as the nodes of its drawing: what is alike and beside each other is one node."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from naq_core.record import JobState
from naq_core.views import JobView

__all__ = ["GraphNode", "folded"]

MOST_ALIKE = 6
"""So many jobs with the same function, parents and children are drawn one by one; more are one node."""
WORST = (JobState.DEAD, JobState.RETRYING, JobState.RUNNING, JobState.CANCELLED, JobState.EXPIRED, JobState.QUEUED, JobState.HELD)


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node: a job, or many that are alike."""

    key: str
    """The id of the job, or of the first of them."""
    jobs: list[JobView]
    name: str
    """The function without its module, with what tells the job from others of that function."""
    parents: list[str]
    """The keys of other nodes."""

    @property
    def state(self) -> JobState:
        """The state that matters most."""
        states = {each.state for each in self.jobs}
        return next((each for each in WORST if each in states), JobState.SUCCEEDED)

    @property
    def counts(self) -> dict[str, int]:
        """How many of its jobs are in each state."""
        return dict(Counter(each.state.value for each in self.jobs))


def folded(jobs: Sequence[JobView]) -> list[GraphNode]:
    """Return the nodes to draw."""
    children: defaultdict[str, list[str]] = defaultdict(list)
    for job in jobs:
        for parent in job.parents:
            children[parent].append(job.job_id)
    alike: defaultdict[tuple[str, ...], list[JobView]] = defaultdict(list)
    for job in jobs:
        near = (job.function, *sorted(job.parents), "|", *sorted(children[job.job_id]))
        alike[near].append(job)
    groups = [part for group in alike.values() for part in ([group] if len(group) > MOST_ALIKE else [[job] for job in group])]
    node = {job.job_id: group[0].job_id for group in groups for job in group}
    often = Counter(_short(group[0]) for group in groups)
    return [
        GraphNode(
            key=group[0].job_id,
            jobs=group,
            name=_name(group, often),
            parents=list(dict.fromkeys(node[parent] for parent in group[0].parents if parent in node)),
        )
        for group in groups
    ]


def _short(job: JobView) -> str:
    return job.function.rpartition(":")[2] or job.job_id


def _name(group: Sequence[JobView], often: Counter[str]) -> str:
    name = _short(group[0])
    if len(group) > 1:
        return f"{name} \N{MULTIPLICATION SIGN} {len(group)}"
    first = group[0].arguments.partition(",")[0].strip().strip("'\"")
    return f"{name} {first}" if often[name] > 1 and first else name
