"""Signatures: who has no key can neither make a job that workers decode nor a result that clients decode.

HMAC-SHA256 with a shared key. A signature binds the bytes to what they are (a job, a result) and to the names under which
they lie (namespace, queue, job id), so that nothing valid can be moved elsewhere. It is part of the body, not a header:
the signature travels with the job, even through the server's own schedules.
"""

import hmac
from collections.abc import Iterable, Sequence

from naq_core.errors import SignatureError
from naq_core.wording import counted

MAGIC = b"NAQ\x01"
"""First bytes of a signed body; no msgpack map begins with them."""
MAC_SIZE = 32
BODY_AT = len(MAGIC) + MAC_SIZE
JOB = "job"
RESULT = "result"
CONTROL = "request to worker"
REPLY = "answer of worker"


def unsealed(data: bytes) -> bytes:
    """Return the body without its signature, unverified: for showing, and for processes that have no key."""
    return data[BODY_AT:] if data.startswith(MAGIC) else data


class Signer:
    """Signs and verifies within one namespace.

    Args:
        keys: The first signs, all verify; without any, nothing is signed and everything is accepted.
    """

    __slots__ = ("_first", "_keys", "_namespace")

    def __init__(self, keys: Iterable[str], namespace: str) -> None:
        self._keys = tuple(key.encode() for key in keys)
        self._namespace = namespace
        self._first = self._keys[0] if self._keys else b""

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __repr__(self) -> str:
        return f"<Signer of {self._namespace!r} with {counted(len(self._keys), 'key')}>"

    def sign(self, kind: str, names: Sequence[str], body: bytes) -> bytes:
        """Return the signature, or nothing where there is no key.

        Args:
            kind: What is signed, such as `job`; a signature of one kind is not valid for another.
            names: What it belongs to; none may hold a NUL character.
            body: The bytes.
        """
        return hmac.digest(self._first, self._head(kind, names) + body, "sha256") if self._first else b""

    def verify(self, kind: str, names: Sequence[str], body: bytes, signature: bytes) -> None:
        """Check a signature; without keys everything passes.

        Raises:
            SignatureError: It is missing, or by none of the keys.
        """
        if not self._keys:
            return
        what = f"the {kind} {names[-1]}"
        if not signature:
            raise SignatureError(f"{what} is not signed, but NAQ_SIGNING_KEY is set")
        data = self._head(kind, names) + body
        # No early end: how long it takes must not tell which key fits.
        matches = [hmac.compare_digest(hmac.digest(key, data, "sha256"), signature) for key in self._keys]
        if not any(matches):
            raise SignatureError(f"{what} is signed with another key or for another purpose, or was changed")

    def seal(self, body: bytes, queue: str, job_id: str) -> bytes:
        """Return a job's body with its signature, or as it is where there is no key."""
        return MAGIC + self.sign(JOB, (queue, job_id), body) + body if self._first else body

    def open(self, data: bytes, queue: str, job_id: str) -> bytes:
        """Return the body of a job, its signature verified before anything of it is decoded.

        Raises:
            SignatureError: This process has keys, and the job is not signed with one of them.
        """
        if not self._keys:
            return unsealed(data)
        body = unsealed(data)
        signature = data[len(MAGIC) : BODY_AT] if len(body) != len(data) else b""
        self.verify(JOB, (queue, job_id), body, signature)
        return body

    def _head(self, kind: str, names: Sequence[str]) -> bytes:
        where = "\0".join(names)
        return f"naq\0{kind}\0{self._namespace}\0{where}\0".encode()
