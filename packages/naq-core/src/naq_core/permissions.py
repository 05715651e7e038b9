"""The permissions that each role needs on the server, and no more, in the form of the server's configuration."""

import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from naq_core.names import check_queue
from naq_core.storage.subjects import LEVELS, Names
from naq_core.transport.domain import in_domain

USER_INFO = "$SYS.REQ.USER.INFO"
"""Answered by the server with the asker's own user, account and permissions."""


class Role(StrEnum):
    """Who connects."""

    PRODUCER = "producer"
    """Enqueues jobs and reads their results."""
    WORKER = "worker"
    """Runs jobs."""
    SCHEDULER = "scheduler"
    """Fires schedules, and releases what waits in vain."""
    VIEWER = "viewer"
    """Looks: the dashboard without actions, `naq` commands that list and show."""
    OPERATOR = "operator"
    """Looks and acts: cancel, retry, delete, pause, purge, schedules, stopping workers."""
    ADMIN = "admin"
    """Creates streams and consumers: `naq setup`."""


class Permissions(NamedTuple):
    """Subjects that a role may use."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    responses: bool = False
    """May answer requests, wherever their answers go (`allow_responses`)."""


def role_permissions(
    role: Role,
    namespace: str = "naq",
    queues: Sequence[str] = ("default",),
    *,
    user: str = "",
    jetstream_domain: str | None = None,
) -> Permissions:
    """Return what a role needs in a namespace.

    Queues of one namespace share a stream, and a namespace shares its account: what these rules do and do not confine is in
    `docs/security.md`.

    Args:
        queues: The queues that producers and workers are confined to; `*` for all. A job that waits on others is released by
            their worker, so a worker needs the queues of such jobs too.
        user: The user who gets these permissions, and an inbox for itself (`inbox_of`). Empty: the inbox is that of the role, and
            users of the same role can read what the others are answered.
        jetstream_domain: The setting of these users: the permissions are for the server through which they reach that domain.

    Raises:
        InvalidNameError: A queue has a name that no queue can have.
    """
    names = Names(namespace)
    allowed = ["*"] if "*" in queues else [check_queue(queue) for queue in queues]
    publish, subscribe = _RULES[role](names, allowed)
    inbox = f"{inbox_of(role, namespace, user)}.>"
    return Permissions(
        tuple(dict.fromkeys(in_domain(subject, jetstream_domain) for subject in ("$JS.API.INFO", USER_INFO, *publish))),
        tuple(dict.fromkeys([inbox, *subscribe])),
        role is Role.WORKER,
    )


def inbox_of(role: Role, namespace: str = "naq", user: str = "") -> str:
    """Return the inbox prefix of a user of a role, for `NAQ_NATS_INBOX_PREFIX`; without a user, that of the role.

    No two users, roles or namespaces have a prefix in common. In a user's name `_` is doubled, and what is neither letter, digit
    nor `-` becomes `_` and its bytes as hexadecimal digits.
    """
    return f"_INBOX_{namespace}_{role}" if not user else f"_NAQ_INBOX.{namespace}.{role}.{_token(user)}"


def _token(user: str) -> str:
    plain = user.replace("_", "__")
    return re.sub(r"[^A-Za-z0-9_-]", lambda odd: "".join(f"_{byte:02x}" for byte in odd[0].encode()), plain)


def server_config(
    users: dict[str, str],
    roles: dict[str, Role],
    namespace: str = "naq",
    queues: Sequence[str] = ("default",),
    *,
    account: str | None = "",
    jetstream_domain: str | None = None,
) -> str:
    """Return a block for nats-server's configuration: one account, its users, and what they may do.

    Args:
        users: Name and password (a bcrypt hash, or `$VARIABLE`) of each user.
        roles: The role of each user.
        account: The account's name; empty: that of the namespace. None: no account of its own but the global one, as an
            `authorization` block. Streams belong to an account: existing ones stay where they are.
        jetstream_domain: As of `role_permissions`.

    Raises:
        InvalidNameError: A queue has a name that no queue can have.
    """
    if account is None:
        return "authorization {\n" + _users(users, roles, namespace, queues, jetstream_domain) + "}\n"
    return (
        "accounts { "
        + account_config(users, roles, namespace, queues, account=account, jetstream_domain=jetstream_domain)
        + " }\n"
    )


def account_config(
    users: dict[str, str],
    roles: dict[str, Role],
    namespace: str = "naq",
    queues: Sequence[str] = ("default",),
    *,
    account: str = "",
    jetstream_domain: str | None = None,
) -> str:
    """Return one entry of the server's `accounts` block: join several for several accounts. Arguments as for `server_config`."""
    name = _quoted(account or namespace)
    return f"{name}: {{\n  jetstream: enabled\n{_users(users, roles, namespace, queues, jetstream_domain)}}}"


def _users(users: dict[str, str], roles: dict[str, Role], namespace: str, queues: Sequence[str], domain: str | None) -> str:
    blocks = [
        _user(name, password, role_permissions(roles[name], namespace, queues, user=name, jetstream_domain=domain))
        for name, password in users.items()
    ]
    return "  users = [\n" + "\n".join(blocks) + "\n  ]\n"


def _quoted(text: str) -> str:
    """A string of the server's configuration; in the form of JSON, which it understands."""
    return json.dumps(text, ensure_ascii=False)


def _user(name: str, password: str, rights: Permissions) -> str:
    password = password if password.startswith("$") and not password.startswith("$2") else _quoted(password)
    lines = [f"    {{ user: {_quoted(name)}, password: {password}, permissions: {{", "        publish: ["]
    lines += [f'          "{subject}"' for subject in rights.publish]
    lines += ["        ]", "        subscribe: ["]
    lines += [f'          "{subject}"' for subject in rights.subscribe]
    lines += ["        ]"]
    if rights.responses:
        lines += ["        allow_responses: true"]
    return "\n".join([*lines, "    } }"])


_Rules = tuple[list[str], list[str]]


def _streams(names: Names) -> list[str]:
    """All but the audit trail, which only some may read."""
    return [stream for stream in names.streams() if stream != names.audit_stream]


def _reading(*streams: str) -> list[str]:
    """Reading a stream as a whole: most reads name their subjects in the payload, out of reach of rights."""
    verbs = [
        verb for stream in streams for verb in (f"STREAM.MSG.GET.{stream}", f"DIRECT.GET.{stream}", f"DIRECT.GET.{stream}.>")
    ]
    return [f"$JS.API.{verb}" for verb in verbs]


def _info(names: Names) -> list[str]:
    return [f"$JS.API.STREAM.INFO.{stream}" for stream in names.streams()]


def _consumers(names: Names, queues: Sequence[str], verb: str) -> list[str]:
    if "*" in queues:
        return [f"{verb}.{names.jobs_stream}.*"]  # a wildcard stands for a whole token
    return [f"{verb}.{names.jobs_stream}.{names.consumer(queue, level)}" for queue in queues for level in LEVELS]


def _objects(names: Names, queues: Sequence[str], kind: str) -> list[str]:
    chunks = [names.object_chunks(f"{queue}.*.{kind}.*") for queue in queues]
    return [*chunks, f"$O.{names.objects}.M.*"]


def _ends(names: Names, queues: Sequence[str]) -> list[str]:
    """What tells of the ends of jobs: the events, and the records as they are written, which spares reading them."""
    return [subject for queue in queues for subject in (names.result_event(queue, "*"), names.result(queue, "*"))]


def _producer(names: Names, queues: Sequence[str]) -> _Rules:
    ready = [f"{names.jobs}.{state}.{queue}.*" for queue in queues for state in (*LEVELS, "held")]
    publish = [
        *ready,
        *(names.window(queue, "*") for queue in queues),
        *(names.waits_for_key(queue, "*") for queue in queues),
        *(names.edge("*", queue, "*") for queue in queues),
        *(f"{names.edges}.*.{queue}.*.signal" for queue in queues),
        f"{names.edges}.*",  # signals
        f"{names.workflows}.>",
        *(names.tally(queue, "*", "enqueued") for queue in queues),
        *_objects(names, queues, "args"),
        *_info(names),
        *_consumers(names, queues, "$JS.API.CONSUMER.INFO"),
        *_reading(names.jobs_stream, names.results_stream, names.queues_stream, names.workflows_stream, names.objects_stream),
    ]
    return publish, _ends(names, queues)


def _worker(names: Names, queues: Sequence[str]) -> _Rules:
    acks = [
        f"{subject}.>"
        for prefix in ("", "*.*.")  # with a domain and the account's hash (ADR-15)
        for subject in _consumers(names, queues, f"$JS.ACK{prefix and '.' + prefix[:-1]}")
    ]
    publish = [
        *(names.any_state(queue, "*") for queue in queues),
        *(names.window(queue, "*") for queue in queues),
        *(subject for queue in queues for subject in (names.waits_for_key(queue, "*"), names.places(queue, "*"))),
        *(subject for queue in queues for subject in (names.timed_bell(queue, "*"), names.asks(queue, "*"))),
        *(f"{names.edges}.*.{queue}.*.signal" for queue in queues),  # of jobs that were enqueued by name
        *(names.result(queue, "*") for queue in queues),
        *(names.slot(queue, "*") for queue in queues),
        names.worker("*"),
        names.past_worker("*"),
        f"{names.metrics}.>",
        *(names.tally(queue, "*", "*") for queue in queues),
        *_objects(names, queues, "result"),
        *acks,
        *_info(names),
        *_consumers(names, queues, "$JS.API.CONSUMER.INFO"),
        *_consumers(names, queues, "$JS.API.CONSUMER.MSG.NEXT"),
        f"$JS.API.CONSUMER.NAMES.{names.jobs_stream}",  # of workers with patterns
        *_reading(*_streams(names)),
        f"$JS.API.STREAM.MSG.DELETE.{names.jobs_stream}",
        f"$JS.API.STREAM.PURGE.{names.workers_stream}",
        f"$JS.API.STREAM.PURGE.{names.objects_stream}",
    ]
    subscribe = [
        names.control("*"),
        names.consumer_advisory("*"),
        *(subject for queue in queues for subject in (names.queue_event(queue), names.asks(queue, "*"))),
        *_ends(names, queues),
    ]
    return publish, subscribe


def _scheduler(names: Names, _: Sequence[str]) -> _Rules:
    publish = [
        f"{names.jobs}.>",
        f"{names.results}.>",
        names.schedule("*"),
        names.lease("*"),
        f"{names.tallies}.>",
        *_info(names),
        *_reading(*_streams(names)),
        f"$JS.API.CONSUMER.INFO.{names.jobs_stream}.*",
        f"$JS.API.CONSUMER.LIST.{names.jobs_stream}",
        *(f"$JS.API.CONSUMER.CREATE.{stream}.>" for stream in (names.schedules_stream, names.leases_stream)),
        *(f"$JS.API.CONSUMER.DELETE.{stream}.*" for stream in (names.schedules_stream, names.leases_stream)),
        *(f"$JS.FC.{stream}.>" for stream in (names.schedules_stream, names.leases_stream)),
        names.control("*"),  # a firing may cancel the run before it
        f"$JS.API.STREAM.MSG.DELETE.{names.jobs_stream}",
        f"$JS.API.STREAM.PURGE.{names.workers_stream}",
        f"$JS.API.STREAM.PURGE.{names.objects_stream}",
    ]
    return publish, [f"{names.namespace}.event.>"]


def _viewer(names: Names, _: Sequence[str]) -> _Rules:
    publish = [
        "$JS.API.STREAM.NAMES",
        "$JS.API.STREAM.LIST",
        *_info(names),
        *_reading(*names.streams()),
        f"$JS.API.CONSUMER.INFO.{names.jobs_stream}.*",
        f"$JS.API.CONSUMER.LIST.{names.jobs_stream}",
    ]
    return publish, [f"{names.namespace}.event.>", f"{names.results}.>"]


def _operator(names: Names, queues: Sequence[str]) -> _Rules:
    publish, subscribe = _viewer(names, queues)
    publish += [
        f"{names.jobs}.>",
        f"{names.edges}.>",
        f"{names.results}.>",
        f"{names.queues}.>",
        f"{names.workflows}.>",
        names.schedule("*"),
        names.control("*"),
        f"{names.audit}.>",
        f"{names.tallies}.>",
        *(
            f"$JS.API.STREAM.PURGE.{stream}"
            for stream in (
                names.jobs_stream,
                names.results_stream,
                names.workers_stream,
                names.objects_stream,
                names.schedules_stream,
                names.queues_stream,
            )
        ),
        f"$JS.API.STREAM.MSG.DELETE.{names.jobs_stream}",
        f"$JS.API.CONSUMER.PAUSE.{names.jobs_stream}.*",
        f"$JS.API.CONSUMER.DELETE.{names.jobs_stream}.*",  # of a queue that was made by a typing error
        *(  # a queue's limit is a property of its consumers
            f"$JS.API.CONSUMER.CREATE.{names.jobs_stream}.{consumer}.{subject}"
            for queue in queues
            for consumer, subject in ([("*", ">")] if queue == "*" else names.consumers(queue))
        ),
    ]
    return publish, subscribe


def _admin(names: Names, _: Sequence[str]) -> _Rules:
    return ["$JS.API.>", f"{names.namespace}.>"], [f"{names.namespace}.event.>"]


_RULES = {
    Role.PRODUCER: _producer,
    Role.WORKER: _worker,
    Role.SCHEDULER: _scheduler,
    Role.VIEWER: _viewer,
    Role.OPERATOR: _operator,
    Role.ADMIN: _admin,
}
