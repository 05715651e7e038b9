"""What is stored for jobs with a key: where they wait, and which of them have a place.

Why: `docs/adr/0054-keys.md`. `bells` says when to start the next ones, `releasing` starts them.
"""

import hashlib
import re

import msgspec

from naq_core.decoding import Decoder
from naq_core.names import check_job_id
from naq_core.storage.connection import Connection
from naq_core.storage.messages import schedule_headers
from naq_core.storage.presence import is_worker_id
from naq_core.storage.subjects import ALL, ENTRY, FOR_KEY
from naq_core.transport.headers import FIRST, SCHEDULE_TARGET
from naq_core.transport.repeat import BrokerMessage

SMALL = 1024
"""Bytes up to which a job lies in its entry, too."""
_READABLE = re.compile(r"[A-Za-z0-9_-]{1,80}")


class KeyPlaces(msgspec.Struct, frozen=True, array_like=True):
    """The jobs of a key that have a place: they are ready, run, or wait for a retry; and the tokens of its rate."""

    taken: dict[str, str]
    """Their ids and run tokens."""
    written_by: str = ""
    """The worker, a dot, and what differs from version to version: so a writer whose answer was lost recognises its own."""
    limit: int = 0
    """How many could have a place when it was written; 0: any number."""
    has_levels: bool = False
    """Jobs of other priorities than the normal one may wait. A bell of such a priority has it noted."""
    full_at: float = 0.0
    """When all tokens are there again, by the server's clock."""
    promised: tuple[str, ...] = ()
    """Ids of those that were made ready and have not started: each takes a token then."""
    bell_at: float = 0.0
    """No job more could start: a bell is stored for this time. Infinite: one that starts or goes lets the next one follow."""

    @property
    def writer(self) -> str:
        """The worker that wrote it; empty where it was one of an earlier version."""
        worker_id = self.written_by.rpartition(".")[0]
        return worker_id if is_worker_id(worker_id) else ""

    @property
    def is_full(self) -> bool:
        """Whether no job had room, by the limit and the rate of that time. A change of them is followed by a bell."""
        return len(self.taken) >= self.limit > 0 or self.bell_at > 0


def _check(places: KeyPlaces) -> None:
    for job_id in places.taken:
        check_job_id(job_id)


_encoder = msgspec.msgpack.Encoder()
_decoder = Decoder("the places of a key", KeyPlaces, "msgpack", _check)


def token_of_key(key: str) -> str:
    """Return a key as a token of subjects: readable where its characters allow, else a digest."""
    if _READABLE.fullmatch(key):
        return key
    return f"={hashlib.blake2b(key.encode('utf-8', 'surrogatepass'), digest_size=20).hexdigest()}"


def encode_places(connection: Connection, places: KeyPlaces, worker_id: str) -> bytes:
    """Return a list of places as stored by a worker."""
    return _encoder.encode(msgspec.structs.replace(places, written_by=f"{worker_id}.{connection.client.new_token()}"))


def decode_places(data: bytes) -> KeyPlaces:
    """Read a list of places.

    Raises:
        UnreadableError: It is something else.
    """
    return _decoder.decode(data)


def waiting_pair(connection: Connection, message: BrokerMessage, key: tuple[str, str], token: str) -> list[BrokerMessage]:
    """Return the messages of a job that waits for its key: the job, held, and its entry in the key's order.

    They are stored side by side, so an entry with a whole job says all that is needed to start it.

    Args:
        message: What would make it ready, with its precondition.
        key: Its queue and id.
        token: Of its key.
    """
    ready, body, headers = message
    level = ready.rsplit(".", 3)[1]
    kept = {name: value for name, value in headers.items() if name != FIRST}
    held = {**kept, **schedule_headers(headers.get(SCHEDULE_TARGET, ready), None), FOR_KEY: token}
    names = connection.names
    entry = names.waits_for_key(key[0], token, level)
    if len(body) <= SMALL and token != ALL:  # where a job waits for its queue's rate depends on more
        return [(names.held(*key), body, held), (entry, body, {ENTRY: key[1]})]
    return [(names.held(*key), body, held), (entry, key[1].encode(), {})]
