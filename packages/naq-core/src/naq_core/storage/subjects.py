"""The names of NAQ's streams, buckets, consumers, subjects and headers."""

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, unquote

from naq_core.names import SIGNAL, is_job_id, is_queue, is_signal

STATE = "Naq-State"
"""Our own header on a record: its state. Events are headers only, so waiters learn the end without a read."""
WAITS = "Naq-Waits"
"""Our own header on a job that waits for others, with the number of looks at them so far. The server keeps it when the job's
schedule fires, so that a worker can tell a job whose parents are still to be looked at from one that was released."""
FOR_KEY = "Naq-Key-Waits"
"""Our own header on a held job that waits until its key has room, with the key's token (`docs/adr/0054-keys.md`)."""
ENTRY = "Naq-Key-Entry"
"""Our own header on an entry in the order of a key that holds its whole job, with the job's id: the held job was stored right
before it."""
PLACE = "Naq-Key-Place"
"""Our own header on a job that was started for its key, with the key's token: it is in the list of those that have a place."""
TURN = "Naq-Key-Turn"
"""Our own header on a job that was promised a token of its queue's rate (`docs/adr/0057-rates.md`)."""
ALL = "=all"
"""The token under which the jobs of a whole queue wait for its rate; no key has it."""
LIST = "Naq-Key-List"
"""Our own header on the same job: how many messages before it the list with it was stored."""
BELL = "Naq-Key-Bell"
"""Our own header on a message that is no job: it asks a worker to start the next jobs of a key, whose token it has."""
BELL_ID = "key:"
"""What stands in place of a job's id on the subject of such a message, before the token of its key. No id can begin so."""
ABOUT = "Naq-About"
"""Attempt, worker and function of a record, for events."""
PROGRESS = "Naq-Progress"
"""Done, total and note, on a record that was written for its progress or log lines alone."""

LEVELS = ("high", "normal", "low")
"""Priorities of ready jobs, first to last: a subject token each, with a consumer each."""
NORMAL = "normal"
ASIDE = frozenset({"dead", "kept"})
"""Places of whole jobs that have ended without success: the dead, and those that were cancelled."""
PLACES = frozenset({*LEVELS, "held", "dead", "kept"})
"""First tokens of the subjects of jobs."""
SCHEDULED = ASIDE | {"held"}
"""Places of messages that are schedules of the server's, and can be moved in one step."""
FAR_FUTURE = "2200-01-01T00:00:00Z"
LONGEST_TOKEN = 200
"""Characters of a text that become a token."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names within one namespace (`NAQ_NAMESPACE`), the prefix of everything."""

    namespace: str
    jobs: str = field(init=False)
    results: str = field(init=False)
    workers: str = field(init=False)
    queues: str = field(init=False)
    edges: str = field(init=False)
    workflows: str = field(init=False)
    jobs_stream: str = field(init=False)
    results_stream: str = field(init=False)
    workers_stream: str = field(init=False)
    workflows_stream: str = field(init=False)
    queues_stream: str = field(init=False)
    schedules: str = field(init=False)
    schedules_stream: str = field(init=False)
    leases: str = field(init=False)
    leases_stream: str = field(init=False)
    objects: str = field(init=False)
    objects_stream: str = field(init=False)
    metrics: str = field(init=False)
    metrics_stream: str = field(init=False)
    audit: str = field(init=False)
    audit_stream: str = field(init=False)
    tallies: str = field(init=False)
    tally_stream: str = field(init=False)

    def __post_init__(self) -> None:
        ns = self.namespace
        for name, value in {
            "jobs": f"{ns}.jobs",
            "results": f"$KV.{ns}_results",
            "workers": f"$KV.{ns}_workers",
            "queues": f"$KV.{ns}_queues",
            "edges": f"{ns}.edges",
            "workflows": f"$KV.{ns}_workflows",
            "jobs_stream": f"{ns}_jobs",
            "results_stream": f"KV_{ns}_results",
            "workers_stream": f"KV_{ns}_workers",
            "workflows_stream": f"KV_{ns}_workflows",
            "queues_stream": f"KV_{ns}_queues",
            "schedules": f"$KV.{ns}_schedules",
            "schedules_stream": f"KV_{ns}_schedules",
            "leases": f"$KV.{ns}_leases",
            "leases_stream": f"KV_{ns}_leases",
            "metrics": f"{ns}.metrics",
            "metrics_stream": f"{ns}_metrics",
            "audit": f"{ns}.audit",
            "audit_stream": f"{ns}_audit",
            "tallies": f"{ns}.tally",
            "tally_stream": f"{ns}_tally",
            "objects": f"{ns}_objects",
            "objects_stream": f"OBJ_{ns}_objects",
        }.items():
            object.__setattr__(self, name, value)

    def streams(self) -> tuple[str, ...]:
        """The names of all streams of the namespace."""
        return (
            self.jobs_stream,
            self.results_stream,
            self.workers_stream,
            self.queues_stream,
            self.workflows_stream,
            self.schedules_stream,
            self.leases_stream,
            self.objects_stream,
            self.metrics_stream,
            self.tally_stream,
            self.audit_stream,
        )

    def ready(self, queue: str, job_id: str, level: str = NORMAL) -> str:
        """Where a job waits for a worker."""
        return f"{self.jobs}.{level}.{queue}.{job_id}"

    def held(self, queue: str, job_id: str) -> str:
        """Where a job waits for its time."""
        return f"{self.jobs}.held.{queue}.{job_id}"

    def dead(self, queue: str, job_id: str) -> str:
        """Where a job that failed for good is kept."""
        return f"{self.jobs}.dead.{queue}.{job_id}"

    def waits_for_key(self, queue: str, token: str, level: str = "*") -> str:
        """Entries for the jobs that wait for a key, all on one subject: their order is that of the stream."""
        return f"{self.jobs}.key.{queue}.{token}.{level}"

    def places(self, queue: str, token: str) -> str:
        """The jobs of a key that have a place; one token longer than the subjects of jobs, which it must not match."""
        return f"{self.jobs}.places.{queue}.{token}.now"

    def timed_bell(self, queue: str, token: str) -> str:
        """A schedule that makes a worker start the next jobs of a key when its rate allows it."""
        return f"{self.jobs}.places.{queue}.{token}.due"

    def asks(self, queue: str, worker_id: str) -> str:
        """Where a worker takes what others want to have in the lists of places that it writes."""
        return f"{self.namespace}.asks.{queue}.{worker_id}"

    def archive(self, queue: str, job_id: str, state: str) -> str:
        """Where a job that ended in this state is kept whole, to be put back to work."""
        return self.dead(queue, job_id) if state == "dead" else f"{self.jobs}.kept.{queue}.{job_id}"

    def any_state(self, queue: str, job_id: str) -> str:
        """Wherever a live job of that id is."""
        return f"{self.jobs}.*.{queue}.{job_id}"

    def window(self, queue: str, job_id: str) -> str:
        """The time in which a unique key takes no second job; not of the form of a job's subject."""
        return f"{self.jobs}.window.{queue}.{job_id}.run"

    def consumer(self, queue: str, level: str = NORMAL) -> str:
        """The durable consumer of a queue's level; KEDA's scaler is pointed at it."""
        return f"naq-worker-{queue}" if level == NORMAL else f"naq-{level}-{queue}"

    def ready_filter(self, queue: str, level: str = NORMAL) -> str:
        """What that consumer delivers."""
        return f"{self.jobs}.{level}.{queue}.*"

    def place_of(self, consumer: str) -> tuple[str, str] | None:
        """Return queue and priority of a consumer's name; None if it is not a consumer of NAQ."""
        for level in LEVELS:
            if consumer.startswith(prefix := self.consumer("", level)):
                return consumer.removeprefix(prefix), level
        return None

    def consumer_advisory(self, consumer: str) -> str:
        """What the server publishes when a consumer of the jobs stream is created; the name may be a wildcard."""
        return f"$JS.EVENT.ADVISORY.CONSUMER.CREATED.{self.jobs_stream}.{consumer}"

    def consumers(self, queue: str) -> tuple[tuple[str, str], ...]:
        """Every consumer of a queue, one for each level, with what it delivers."""
        return tuple((self.consumer(queue, level), self.ready_filter(queue, level)) for level in LEVELS)

    def result(self, queue: str, job_id: str) -> str:
        """The record of a job."""
        return f"{self.results}.{queue}.{job_id}"

    def result_event(self, queue: str, job_id: str) -> str:
        """What the server republishes when that record changes."""
        return f"{self.namespace}.event.results.{queue}.{job_id}"

    def edge(self, parent_id: str, queue: str, child_id: str) -> str:
        """A dependency: the end of the parent concerns the child, a job of that queue."""
        if is_signal(parent_id):
            return self.signal_edge(parent_id.removeprefix(SIGNAL), queue, child_id)
        return f"{self.edges}.{parent_id}.{queue}.{child_id}"

    def signal_edge(self, signal: str, queue: str, child_id: str) -> str:
        """A job waits for a signal; with a token of its own, by which those that do are listed."""
        return f"{self.edges}.{SIGNAL}{token_of(signal)}.{queue}.{child_id}.signal"

    def signal(self, signal: str) -> str:
        """A signal that was sent, for as long as it is kept."""
        return f"{self.edges}.{SIGNAL}{token_of(signal)}"

    def workflow(self, workflow_id: str, part: str) -> str:
        """A part of a workflow's list of jobs."""
        return f"{self.workflows}.{workflow_id}.{part}"

    def job_event(self, queue: str, job_id: str) -> str:
        """What the server republishes of jobs, if the setting `job_events` is on."""
        return f"{self.namespace}.event.jobs.*.{queue}.{job_id}"

    def worker(self, worker_id: str) -> str:
        """The presence of a worker."""
        return f"{self.workers}.{worker_id}"

    def past_worker(self, worker_id: str) -> str:
        """What is kept of a worker when its presence has expired."""
        return f"{self.workers}.past.{worker_id}"

    def queue_setting(self, queue: str) -> str:
        """What was set for a queue at run time: its pause and its limit."""
        return f"{self.queues}.setting.{queue}"

    def queue_event(self, queue: str) -> str:
        """What the server republishes when that changes."""
        return f"{self.namespace}.event.queues.{queue}"

    def slot(self, queue: str, number: int | str) -> str:
        """One of the places in which the jobs of a limited queue run."""
        return f"{self.queues}.slot.{queue}.{number}"

    def schedule(self, schedule_id: str) -> str:
        """A recurring schedule and how far it has come."""
        return f"{self.schedules}.{schedule_id}"

    def lease(self, name: str) -> str:
        """Who may do what only one may do."""
        return f"{self.leases}.{name}"

    def object_chunks(self, name: str) -> str:
        """The parts of a large payload; the name may hold wildcards."""
        return f"$O.{self.objects}.C.{name}"

    def object_info(self, name: str) -> str:
        """The description of a large payload."""
        return f"$O.{self.objects}.M.{urlsafe_b64encode(name.encode()).decode()}"

    def audit_note(self, kind: str, target: str, entry_id: str) -> str:
        """Where an action is noted before it is carried out; each part may be a wildcard."""
        return f"{self.audit}.{kind}.{target}.{entry_id}"

    def audit_end(self, entry_id: str) -> str:
        """The subject of an action's outcome."""
        return f"{self.audit}.end.{entry_id}"

    def audit_refused(self) -> str:
        """Where attempts are noted that were refused before anything began."""
        return f"{self.audit}.refused"

    def tally(self, queue: str, function: str, kind: str) -> str:
        """The counter of one kind of event of a queue's function; the function is given as `token_of` it, or a wildcard."""
        return f"{self.tallies}.{queue}.{function}.{kind}"

    def stream_of(self, subject: str) -> str:
        """Return the stream that holds a subject of jobs, edges, the audit trail or a bucket."""
        first, second, _ = subject.split(".", 2)
        if first == "$KV":
            return f"KV_{second}"
        return self.audit_stream if second == "audit" else self.jobs_stream

    def control(self, worker_id: str) -> str:
        """Where a worker takes requests."""
        return f"{self.namespace}.control.{worker_id}"


@lru_cache(1024)
def token_of(text: str) -> str:
    """Return any text as a token of a subject; `text_of` reverses it."""
    return quote(text[:LONGEST_TOKEN] or "?", safe=":<-_").replace(".", "%2E")


def text_of(token: str) -> str:
    """Return what `token_of` made a token of."""
    return unquote(token)


def is_place(subject: str, jobs: str) -> bool:
    """Return whether a subject of the jobs stream is one on which a job can lie; others are of other programs."""
    state, _, rest = subject.removeprefix(f"{jobs}.").partition(".")
    queue, _, job_id = rest.partition(".")
    return subject.startswith(jobs) and state in PLACES and is_queue(queue) and is_job_id(job_id)


def state_of_subject(subject: str) -> tuple[str, str, str]:
    """Return state token, queue and job id of a job's subject."""
    state, queue, job_id = subject.split(".")[-3:]
    return state, queue, job_id
