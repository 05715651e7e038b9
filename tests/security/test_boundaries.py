"""What a user of the queue `mail` can do to the queue `reports` beside it, to another namespace, and to another account.

Queues of a namespace share a stream. There some attacks succeed, as the server cannot look into headers when it decides about
permissions; `docs/security.md` says so, and these tests tell when that changes. None may pass a namespace or an account.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import nats
import pytest
import pytest_asyncio

from naq_client import Queue
from naq_core import NaqError, PermissionDeniedError, Settings, manage
from naq_core.connection import Connection
from naq_core.inspect import read_trust
from naq_core.permissions import Role, _user, account_config, inbox_of, role_permissions, server_config
from naq_core.server import EmbeddedServer
from naq_core.storage.records import find_job
from naq_core.storage.subjects import LEVELS, Names
from naq_core.transport.headers import SCHEDULE, SCHEDULE_TARGET
from naq_core.transport.streams import read_last
from tests.integration import work
from tests.support.eventually import eventually

ROLLUP = {"Nats-Rollup": "all"}
PAST = "@at 2020-01-01T00:00:00Z"


class Place(NamedTuple):
    """Where an account has a namespace."""

    account: str
    namespace: str

    def user(self, role: Role) -> str:
        return f"{self.account}-{self.namespace}-{role}"

    def rights(self, role: Role) -> str:
        name = self.user(role)
        return _user(name, "pw", role_permissions(role, self.namespace, ["mail"], user=name))


HOME = Place("one", "shop")
NAMESPACE, ACCOUNT = Place("one", "bank"), Place("two", "shop")
QUEUE = HOME  # another queue of the same namespace
ELSEWHERE = [pytest.param(NAMESPACE, id="namespace"), pytest.param(ACCOUNT, id="account")]
INSIDE = pytest.param(QUEUE, id="queue")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    users = [place.rights(role) for place in (HOME, NAMESPACE) for role in Role]
    shared = f'"one": {{ jetstream: enabled, users: [\n{chr(10).join(users)}\n] }}'
    names = {ACCOUNT.user(role): role for role in Role}
    own = account_config(dict.fromkeys(names, "pw"), names, "shop", ["mail"], account="two")
    with EmbeddedServer(config=f"accounts {{ {shared}\n{own} }}") as running:
        yield running


def settings_of(server: EmbeddedServer, place: Place, role: Role) -> Settings:
    user = place.user(role)
    return Settings(
        nats_url=server.url,
        namespace=place.namespace,
        nats_user=user,
        nats_password="pw",
        nats_inbox_prefix=inbox_of(role, place.namespace, user),
    )


class Users:
    """Opens connections, and makes jobs that others attack."""

    def __init__(self, server: EmbeddedServer, stack: AsyncExitStack) -> None:
        self._server = server
        self._stack = stack

    async def open(self, place: Place, role: Role) -> Connection:
        return await self._stack.enter_async_context(Connection(settings_of(self._server, place, role)))

    async def victim(self, place: Place) -> tuple[Connection, str]:
        """Return somebody who sees everything there, and the id of a job that waits in `reports`."""
        admin = await self.open(place, Role.ADMIN)
        await manage.apply_topology(admin, ["reports"])
        job = await Queue("reports", connection=admin).enqueue(work.add, 1)
        return admin, job.job_id


@pytest_asyncio.fixture
async def users(server: EmbeddedServer) -> AsyncIterator[Users]:
    async with AsyncExitStack() as stack:
        found = Users(server, stack)
        for place in (HOME, NAMESPACE, ACCOUNT):
            await manage.apply_topology(await found.open(place, Role.ADMIN), ["mail"])
        yield found


senders = pytest.mark.parametrize("role", [Role.PRODUCER, Role.WORKER])


async def attack(connection: Connection, subject: str, headers: dict[str, str]) -> str:
    """Publish, and return why it was refused, or nothing."""
    try:
        await connection.publish(subject, b"evil", headers)
    except NaqError as error:
        return str(error)
    return ""


@senders
@pytest.mark.parametrize(
    ("place", "survives"),
    [pytest.param(QUEUE, False, id="queue"), *(pytest.param(*each.values, True, id=each.id) for each in ELSEWHERE)],
)
async def test_rolling_up_the_stream_removes_the_jobs_of_the_own_namespace_only(
    users: Users, role: Role, place: Place, survives: bool
) -> None:
    victim, job_id = await users.victim(place)
    evil = await users.open(HOME, role)
    assert not await attack(evil, evil.names.ready("mail", f"roll-{role}-{job_id}"), ROLLUP)
    assert (await find_job(victim, job_id, "reports") is not None) is survives


@senders
async def test_a_stream_that_holds_no_schedules_cannot_be_rolled_up(users: Users, role: Role) -> None:
    evil = await users.open(HOME, role)
    subjects = {
        Role.PRODUCER: [evil.names.workflow("w", "p"), evil.names.object_info("x")],
        Role.WORKER: [
            evil.names.result("mail", "x"),
            evil.names.worker("w"),
            evil.names.slot("mail", 1),
            f"{evil.names.metrics}.x",
        ],
    }
    for subject in subjects[role]:
        assert "rollup not permitted" in await attack(evil, subject, ROLLUP), subject


async def test_a_bucket_made_by_hand_with_rollup_is_found_and_changed(users: Users) -> None:
    admin = await users.open(HOME, Role.ADMIN)
    stream = admin.names.workers_stream
    config = (await admin.api(f"STREAM.INFO.{stream}"))["config"]
    await admin.api(f"STREAM.UPDATE.{stream}", {**config, "allow_rollup_hdrs": True})
    differing = [item for item in await manage.apply_topology(admin, ["mail"]) if item.state == "differs"]
    assert [(item.name, *item.differences) for item in differing] == [(stream, "allow_rollup_hdrs")]
    await manage.apply_topology(admin, ["mail"], update=True)
    assert not (await admin.api(f"STREAM.INFO.{stream}"))["config"]["allow_rollup_hdrs"]


@senders
@pytest.mark.parametrize("place", [INSIDE, *ELSEWHERE])
async def test_a_schedule_plants_a_job_in_the_own_namespace_only(users: Users, role: Role, place: Place) -> None:
    victim, job_id = await users.victim(place)
    evil = await users.open(HOME, role)
    planted = victim.names.ready("reports", f"evil-{job_id}")
    refused = await attack(evil, evil.names.held("mail", f"e-{job_id}"), {SCHEDULE: PAST, SCHEDULE_TARGET: planted})
    if place is NAMESPACE:
        assert "target is invalid" in refused
        return
    assert not refused

    async def fired() -> None:
        stored = await users.open(HOME, Role.ADMIN)
        assert await read_last(stored, stored.names.jobs_stream, planted) is not None

    await eventually(fired, 20)  # in the namespace of the sender
    assert (await read_last(victim, victim.names.jobs_stream, planted) is not None) is (place is QUEUE)


@senders
@pytest.mark.parametrize("place", [INSIDE, *ELSEWHERE])
async def test_a_schedule_copies_a_job_of_the_own_namespace_only(users: Users, role: Role, place: Place) -> None:
    victim, job_id = await users.victim(place)
    evil = await users.open(HOME, role)
    copy = evil.names.ready("mail", f"copy-{job_id}")
    headers = {
        SCHEDULE: PAST,
        SCHEDULE_TARGET: copy,
        "Nats-Schedule-Source": victim.names.ready("reports", job_id),
    }
    refused = await attack(evil, evil.names.held("mail", f"copy-{job_id}"), headers)
    if place is NAMESPACE:
        assert "source is invalid" in refused
        return
    assert not refused
    admin = await users.open(HOME, Role.ADMIN)
    found = await find_job(victim, job_id, "reports")
    assert found is not None

    async def fired() -> bytes:
        assert await read_last(admin, admin.names.jobs_stream, evil.names.held("mail", f"copy-{job_id}")) is None
        copied = await read_last(admin, admin.names.jobs_stream, copy)
        return b"" if copied is None else copied.data

    assert (await eventually(fired, 20) == found.data) is (place is QUEUE)


@pytest.mark.parametrize("role", [Role.PRODUCER, Role.WORKER, Role.VIEWER])
@pytest.mark.parametrize("place", [INSIDE, *ELSEWHERE])
async def test_reading_ends_at_the_namespace(users: Users, role: Role, place: Place) -> None:
    victim, job_id = await users.victim(place)
    evil = await users.open(HOME, role)
    request = f"STREAM.MSG.GET.{victim.names.jobs_stream}", {"last_by_subj": victim.names.ready("reports", job_id)}
    if place is QUEUE:
        assert (await evil.api(*request))["message"]["subject"].endswith(job_id)
        return
    with pytest.raises(NaqError, match="may not" if place is NAMESPACE else "no message found"):
        await evil.api(*request)


@pytest.mark.parametrize("role", list(Role))
async def test_no_role_may_publish_into_another_namespace(users: Users, role: Role) -> None:
    foreign = Names("bank")
    evil = await users.open(HOME, role)
    for subject in (foreign.ready("mail", "1"), foreign.result("mail", "1"), foreign.control("w"), foreign.schedule("s")):
        if role is Role.ADMIN and subject.startswith("$KV"):
            continue
        with pytest.raises(PermissionDeniedError):
            await evil.publish(subject, b"")


@pytest.mark.parametrize("place", ELSEWHERE)
async def test_who_makes_consumers_is_confined_by_the_account_only(users: Users, place: Place) -> None:
    """The server itself delivers to whatever subject a consumer names: the operator's rights reach as far as the account."""
    victim = await users.open(place, Role.WORKER)
    evil, admin = await users.open(HOME, Role.OPERATOR), await users.open(HOME, Role.ADMIN)
    names, heard = evil.names, asyncio.Event()

    async def hear(_: object) -> None:
        heard.set()

    await victim.client.subscribe(victim.names.control("w"), cb=hear)
    await victim.client.flush()
    await Queue("mail", connection=admin).options(priority="low").enqueue(work.add, 1)
    consumer, subject = dict(zip(LEVELS, names.consumers("mail"), strict=True))["low"]
    await admin.api(f"CONSUMER.DELETE.{names.jobs_stream}.{consumer}")
    config = {"name": consumer, "durable_name": consumer, "filter_subject": subject, "ack_policy": "explicit"}
    config["deliver_subject"] = victim.names.control("w")
    wanted = {"stream_name": names.jobs_stream, "config": config, "action": "create"}
    await evil.api(f"CONSUMER.CREATE.{names.jobs_stream}.{consumer}.{subject}", wanted)
    try:
        if place is NAMESPACE:
            await asyncio.wait_for(heard.wait(), 20)
        else:
            info = await admin.api(f"CONSUMER.INFO.{names.jobs_stream}.{consumer}")
            assert (info["num_pending"], heard.is_set()) == (1, False), "nobody has subscribed to that subject in this account"
    finally:
        await admin.api(f"CONSUMER.DELETE.{names.jobs_stream}.{consumer}")
        await manage.purge_queue(evil, "mail")


async def test_two_users_of_a_role_do_not_read_each_others_answers() -> None:
    users = dict.fromkeys(("shop", "shop_2", "shop.2", "boss"), "pw")
    roles = dict.fromkeys(users, Role.PRODUCER) | {"boss": Role.ADMIN}
    with EmbeddedServer(config=server_config(users, roles, "n", ["mail"])) as server:
        refused: list[str] = []

        async def note(error: Exception) -> None:
            refused.append(str(error))

        for name in users:
            own = inbox_of(roles[name], "n", name)
            client = await nats.connect(server.url, user=name, password="pw", inbox_prefix=own.encode(), error_cb=note)
            try:
                foreign = [f"{inbox_of(roles[other], 'n', other)}.>" for other in users if other != name]
                wide = ["_INBOX.>", "_INBOX_n_producer.>", "_NAQ_INBOX.n.producer.*.>", "_NAQ_INBOX.>", ">"]
                refused.clear()
                for subject in (f"{own}.>", *foreign, *wide):
                    await client.subscribe(subject)
                await client.flush()

                def told(subjects: tuple[str, ...] = (*foreign, *wide)) -> None:
                    assert len(refused) == len(subjects), refused
                    assert all(any(f'"{each}"'.lower() in error.lower() for error in refused) for each in subjects), refused

                await eventually(told)
            finally:
                await client.close()


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a b", "ü", "a.*.>", "_", "a{b}"])
async def test_any_name_and_password_is_written_as_it_is(name: str) -> None:
    with EmbeddedServer(config=server_config({name: name}, {name: Role.ADMIN}, "n", ["mail"])) as server:
        prefix = inbox_of(Role.ADMIN, "n", name)
        settings = Settings.load(nats_url=server.url, namespace="n", nats_user=name, nats_password=name, nats_inbox_prefix=prefix)
        async with Connection(settings) as connection:
            await manage.apply_topology(connection, ["mail"])


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
async def test_the_server_tells_whom_it_confines_and_to_what(users: Users, role: Role) -> None:
    for place in (HOME, NAMESPACE, ACCOUNT):
        await users.victim(place)
    shared, alone = [await read_trust(await users.open(place, role)) for place in (HOME, ACCOUNT)]
    assert (shared.account, shared.confined, shared.other_namespaces) == ("one", True, ["bank"])
    assert (alone.account, alone.confined, alone.other_namespaces) == ("two", True, [])


async def test_a_user_without_permissions_is_not_confined(settings: Settings) -> None:
    async with Connection(settings) as connection:
        assert not (await read_trust(connection)).confined
