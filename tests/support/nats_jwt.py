"""A NATS operator, account and user of our own, as `nsc` makes them: tokens signed with Ed25519."""

import json
import os
import time
from base64 import b32encode, urlsafe_b64encode
from hashlib import sha256
from typing import Any, NamedTuple

import nkeys

OPERATOR, ACCOUNT, USER = nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER


class Key(NamedTuple):
    """A key pair of some kind."""

    seed: str
    pair: Any

    @property
    def public(self) -> str:
        return str(self.pair.public_key.decode())


def new_key(kind: int) -> Key:
    seed = bytes(nkeys.encode_seed(os.urandom(32), kind)).decode()
    return Key(seed, nkeys.from_seed(bytearray(seed.encode())))


def _part(value: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token(issuer: Key, subject: Key, name: str, **about: Any) -> str:
    """Return a signed token that says what the subject is and may do."""
    claims = {"iat": int(time.time()), "iss": issuer.public, "name": name, "sub": subject.public, "nats": about | {"version": 2}}
    claims["jti"] = b32encode(sha256(json.dumps(claims).encode()).digest()).rstrip(b"=").decode()
    signed = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(claims)}"
    return f"{signed}.{urlsafe_b64encode(issuer.pair.sign(signed.encode())).rstrip(b'=').decode()}"


class Operator:
    """An operator with one account that may use JetStream."""

    def __init__(self) -> None:
        self.operator, self.account, self.system = new_key(OPERATOR), new_key(ACCOUNT), new_key(ACCOUNT)
        limits = {"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1}
        storage = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
        self._account = token(self.operator, self.account, "naq", type="account", limits=limits | storage)
        self._system = token(self.operator, self.system, "SYS", type="account", limits=limits)

    def config(self) -> str:
        """Return what the server has to know."""
        return "\n".join(
            [
                f"operator: {token(self.operator, self.operator, 'naq', type='operator')}",
                "resolver: MEMORY",
                f"system_account: {self.system.public}",
                f"resolver_preload: {{ {self.account.public}: {self._account}, {self.system.public}: {self._system} }}",
            ]
        )

    def credentials(self) -> str:
        """Return the credentials file of a new user."""
        user = new_key(USER)
        limits = {"subs": -1, "data": -1, "payload": -1}
        return (
            f"-----BEGIN NATS USER JWT-----\n{token(self.account, user, 'ada', type='user', pub={}, sub={}, **limits)}\n"
            f"------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )
