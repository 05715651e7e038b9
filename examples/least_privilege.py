"""One user per role, each permitted what its work needs: the server refuses the rest."""

import asyncio
import secrets

from naq_client import Queue
from naq_core import Connection, PermissionDeniedError, Settings, manage
from naq_core.permissions import Role, inbox_of, server_config
from naq_core.server import EmbeddedServer
from naq_worker import Worker

PASSWORDS = {role.value: secrets.token_urlsafe() for role in Role}


def settings(server: EmbeddedServer, role: Role) -> Settings:
    """Return what would be in the environment of a process of that role."""
    return Settings(
        nats_url=server.url,
        nats_user=role.value,
        nats_password=PASSWORDS[role.value],
        nats_inbox_prefix=inbox_of(role, user=role.value),
    )


async def main(server: EmbeddedServer) -> None:
    """Set the server up, run a job, and try what is not permitted."""
    async with Connection(settings(server, Role.ADMIN)) as admin:  # naq setup mail
        await manage.apply_topology(admin, ["mail"])
    async with Queue("mail", settings=settings(server, Role.PRODUCER)) as queue:
        job = await queue.enqueue("math:factorial", 20)
        await Worker("mail", settings=settings(server, Role.WORKER), burst=True).run()
        print("20! =", await job.result(timeout=10))
    for role, action in {Role.PRODUCER: "purge a queue", Role.VIEWER: "enqueue"}.items():
        async with Queue("mail", settings=settings(server, role)) as queue:
            try:
                await (queue.purge() if role is Role.PRODUCER else queue.enqueue("math:factorial", 20))
            except PermissionDeniedError as error:
                print(f"a {role} cannot {action}: it may not {error.verb} {error.subject}")


if __name__ == "__main__":
    configuration = server_config(PASSWORDS, {role.value: role for role in Role}, queues=["mail"])
    with EmbeddedServer(config=configuration) as running:
        asyncio.run(main(running))
