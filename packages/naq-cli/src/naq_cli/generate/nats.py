"""`naq generate nats-config` and `naq generate permissions`: the server, its users, and what these may do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from naq_cli._errors import CommandError
from naq_cli.exit_codes import ExitCode
from naq_cli.generate.deployment import quoted
from naq_cli.generate.files import GeneratedFile, fill
from naq_core.permissions import Role, inbox_of, server_config

CLIENT_PORT, CLUSTER_PORT = 4222, 6222


@dataclass(frozen=True)
class NatsServer:
    """One server.

    Args:
        name: Of the server; in a cluster its address for the others too.
        store: Where JetStream keeps its files.
        monitor: Address and port of its monitoring.
        tls: The folder of its certificate and key; empty: without TLS.
    """

    name: str
    store: str
    monitor: str = "127.0.0.1:8222"
    tls: str = ""


def server_files(servers: Sequence[NatsServer], accounts: str = "") -> list[GeneratedFile]:
    """Return a configuration for each server; several make a cluster.

    Args:
        servers: Their names differ.
        accounts: The block of users and their permissions; empty: the files have a note about it.
    """
    cluster = _cluster([each.name for each in servers] if len(servers) > 1 else [])
    users = (accounts or fill("no_accounts.conf")).rstrip()
    return [
        GeneratedFile(
            f"{each.name}.conf",
            fill(
                "nats.conf",
                name=quoted(each.name),
                port=CLIENT_PORT,
                monitor=quoted(each.monitor),
                store=quoted(each.store),
                blocks="\n\n".join(filter(None, (cluster, _tls(each.tls), users))),
            ),
        )
        for each in servers
    ]


def _cluster(names: Sequence[str]) -> str:
    if not names:
        return ""
    routes = "\n".join(f"    {quoted(f'nats-route://{name}:{CLUSTER_PORT}')}" for name in names)
    return fill("cluster.conf", port=CLUSTER_PORT, routes=routes).rstrip()


def _tls(folder: str) -> str:
    return fill("tls.conf", cert=quoted(f"{folder}/cert.pem"), key=quoted(f"{folder}/key.pem")).rstrip() if folder else ""


def parse_users(words: Sequence[str]) -> dict[str, Role]:
    """Return the role of each user of `NAME=ROLE`.

    Raises:
        CommandError: A word has another form, an unknown role, or a name twice.
    """
    users: dict[str, Role] = {}
    for word in words:
        name, _, role = word.partition("=")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or role not in set(Role):
            raise CommandError(f"--user {word!r}: write NAME=ROLE, with one of the roles {', '.join(Role)}", ExitCode.USAGE)
        if name in users:
            raise CommandError(f"--user {word!r}: there is a user {name!r} already", ExitCode.USAGE)
        users[name] = Role(role)
    return users


def accounts_block(users: dict[str, Role], namespace: str, queues: Sequence[str]) -> str:
    """Return the block of accounts for the server's configuration, with what each user has to be told."""
    passwords = {name: f"${_variable(name)}" for name in users}
    told = [
        f"#   {name}: NAQ_NATS_USER={name} NAQ_NATS_INBOX_PREFIX={inbox_of(role, namespace, name)}"
        for name, role in users.items()
    ]
    head = [
        "# Users and what they may do (docs/security.md). The passwords come from the environment of nats-server:",
        f"# {', '.join(password[1:] for password in passwords.values())}; a bcrypt hash of `nats server passwd` may stand there.",
        "# The processes of each user need:",
        *told,
    ]
    return "\n".join(head) + "\n" + server_config(passwords, users, namespace, queues)


def _variable(name: str) -> str:
    return f"{name.upper().replace('-', '_')}_PASSWORD"
