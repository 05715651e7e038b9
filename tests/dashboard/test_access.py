"""Who comes in, and what they may do there."""

import asyncio
from ipaddress import ip_network
from typing import Any

import httpx
import pytest

from naq_core.errors import ConfigurationError
from naq_core.settings import Settings
from naq_dashboard import ADMIN, VIEWER, DashboardSettings, User, create_app
from naq_dashboard.access.passwords import SessionSigner, hash_password, password_matches
from naq_dashboard.access.roles import OPERATOR, Action, parse_access
from naq_dashboard.access.sessions import BrowserSession, new_session
from naq_dashboard.settings import PREFIX
from tests.dashboard.conftest import Client, OpenDashboard

PAGE = {"Accept": "text/html"}
SAME = {"Sec-Fetch-Site": "same-origin"}


class TestListening:
    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
    def test_on_loopback_nobody_has_to_log_in(self, host: str) -> None:
        DashboardSettings(host=host).check_exposure()

    @pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "::", "box.example.org"])
    def test_elsewhere_it_refuses_without_a_login(self, host: str) -> None:
        with pytest.raises(ConfigurationError, match=f"{PREFIX}PASSWORD"):
            DashboardSettings(host=host).check_exposure()
        DashboardSettings(host=host, password="x").check_exposure()
        DashboardSettings(host=host, insecure_no_auth=True).check_exposure()


class TestSettings:
    def test_they_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(f"{PREFIX}USERS", "alice:operator:pw1 bob:retry-job+cancel-job:pw2")
        monkeypatch.setenv(f"{PREFIX}PORT", "9001")
        monkeypatch.setenv(f"{PREFIX}READ_ONLY", "yes")
        loaded = DashboardSettings.load(host="::1")
        assert [(each.name, each.access) for each in loaded.accounts] == [
            ("alice", OPERATOR),
            ("bob", frozenset({Action.RETRY_JOB, Action.CANCEL_JOB})),
        ]
        assert (loaded.port, loaded.read_only, loaded.host) == (9001, True, "::1")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PORT", "http"),
            ("USERS", "alice"),
            ("USERS", "alice:king:pw"),
            ("READ_ONLY", "maybe"),
            ("TRUSTED_PROXIES", "here"),
            ("SESSION_HOURS", "nan"),
            ("SESSION_HOURS", "0"),
            ("USERS", "a:viewer:x a:admin:y"),
        ],
    )
    def test_a_wrong_one_is_named(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv(f"{PREFIX}{name}", value)
        with pytest.raises(ConfigurationError, match=f"{PREFIX}{name}"):
            DashboardSettings.load()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("host", 1),
            ("host", ""),
            ("port", "8080"),
            ("port", True),
            ("port", 65_536),
            ("root_path", None),
            ("title", b"NAQ"),
            ("read_only", "false"),
            ("insecure_no_auth", 1),
            ("password", ""),
            ("token", ""),
            ("read_token", 7),
            ("users", "alice:admin:pw"),
            ("users", [("alice", ADMIN, "pw")]),
            ("trusted_proxies", "10.0.0.0/8"),
            ("trusted_proxies", ["here"]),
            ("proxy_roles", {"alice": "admin"}),
            ("allowed_hosts", "naq.example.org"),
            ("allowed_hosts", ("",)),
            ("secret", 16 * [0]),
            ("session_hours", float("nan")),
            ("session_hours", "12"),
            ("masked_keys", "salary"),
            ("masked_keys", ("ключ",)),
            ("masked_keys", ("_",)),
        ],
    )
    def test_a_wrong_argument_is_named(self, name: str, value: Any) -> None:
        with pytest.raises(ConfigurationError) as raised:
            DashboardSettings(**{name: value})
        assert raised.value.setting == name

    def test_an_unknown_one_is_named(self) -> None:
        with pytest.raises(ConfigurationError, match="did you mean masked_keys"):
            DashboardSettings.load(masked_key=("salary",))

    def test_arguments_are_brought_to_their_form(self) -> None:
        own = DashboardSettings(users=[], trusted_proxies=["10.0.0.0/8"], allowed_hosts=["a"], session_hours=1)  # type: ignore[arg-type]
        assert (own.users, own.trusted_proxies, own.allowed_hosts) == ((), (ip_network("10.0.0.0/8"),), ("a",))

    @pytest.mark.parametrize("fields", [{"name": ""}, {"password": ""}, {"access": "admin"}, {"access": {"cancel-job"}}])
    def test_a_user_is_checked_too(self, fields: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(fields))):
            User(**({"name": "alice", "access": VIEWER, "password": "pw"} | fields))

    def test_a_header_for_users_needs_trusted_proxies(self) -> None:
        with pytest.raises(ConfigurationError, match="trusted"):
            DashboardSettings(user_header="X-Forwarded-User")


class TestPasswords:
    def test_a_hash_matches_its_password_only(self) -> None:
        stored = hash_password("s3cret: with spaces")
        assert stored.startswith("scrypt$")
        assert password_matches("s3cret: with spaces", stored)
        assert not password_matches("s3cret", stored)

    def test_a_broken_hash_is_refused_at_once(self) -> None:
        with pytest.raises(ConfigurationError, match="alice"):
            DashboardSettings(users=(User(name="alice", access=VIEWER, password="scrypt$nonsense"),))

    def test_signed_words_cannot_be_changed_or_used_for_another(self) -> None:
        signer = SessionSigner("a secret that is long enough")
        alice, bob = new_session("alice", 60), new_session("bob", 60)
        session, other = signer.session(alice, "pw"), signer.session(bob, "pw")
        assert signer.session_of(session, pw) == alice
        assert signer.session_of(session[:-1] + ("A" if session[-1] != "A" else "B"), pw) is None
        assert signer.session_of(other.partition(".")[0] + "." + session.partition(".")[2], pw) is None
        assert signer.session_of(signer.session(new_session("alice", -1), "pw"), pw) is None
        assert SessionSigner("another secret, as long").session_of(session, pw) is None
        assert signer.unseal("one purpose", signer.seal("one purpose", b"x")) == b"x"
        assert signer.unseal("another", signer.seal("one purpose", b"x")) is None
        assert signer.is_form_token("alice", signer.form_token("alice"))
        assert not signer.is_form_token("bob", signer.form_token("alice"))
        assert not signer.is_form_token("alice", session)

    def test_a_changed_password_ends_the_sessions_of_its_user(self) -> None:
        signer = SessionSigner("a secret that is long enough")
        session = signer.session(new_session("alice", 60), "old")
        assert signer.session_of(session, lambda _: "new") is None
        assert signer.session_of(session, lambda _: None) is None

    @pytest.mark.parametrize("word", ["", ".", "..", "a.b.c", "é.é.é", "9999999999.!.x", f"{'9' * 5000}.YQ.x"])
    def test_nonsense_is_no_session(self, word: str) -> None:
        assert SessionSigner("a secret that is long enough").session_of(word, pw) is None

    def test_roles_are_names_or_actions(self) -> None:
        assert parse_access("admin") == ADMIN
        assert parse_access("retry-job") == frozenset({Action.RETRY_JOB})
        with pytest.raises(ValueError, match="not a role"):
            parse_access("emperor")


def pw(_: BrowserSession) -> str:
    return "pw"


class TestLogin:
    async def log_in(self, client: Client, name: str, password: str, target: str = "") -> int:
        answer = await client.post("/login", data={"name": name, "password": password, "next": target}, headers=SAME)
        return answer.status_code

    async def test_pages_send_to_the_login_and_back(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(password="pw") as client:
            sent = await client.get("/workers?x=1", headers=PAGE, follow_redirects=False)
            assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=/workers%3Fx%3D1")
            assert (await client.get("/api/workers")).status_code == 401
            assert (await client.get("/api/health/live")).status_code == 200
            answer = await client.post(
                "/login",
                data={"name": "admin", "password": "pw", "next": "/workers?x=1"},
                headers=SAME,
                follow_redirects=False,
            )
            assert (answer.status_code, answer.headers["location"]) == (303, "/workers?x=1")
            assert "httponly" in answer.headers["set-cookie"].lower()
            assert (await client.get("/api/workers")).status_code == 200
            await client.post("/logout", headers=SAME)
            assert (await client.get("/api/workers")).status_code == 401

    @pytest.mark.parametrize(
        "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/漢"]
    )
    async def test_it_never_leads_elsewhere(self, open_dashboard: OpenDashboard, target: str) -> None:
        async with open_dashboard(password="pw") as client:
            answer = await client.post(
                "/login", data={"name": "admin", "password": "pw", "next": target}, headers=SAME, follow_redirects=False
            )
            assert answer.headers["location"] == "/"

    async def test_guessing_is_slowed_down(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(password="pw") as client:
            assert {await self.log_in(client, "admin", f"guess{n}") for n in range(10)} == {403}
            assert await self.log_in(client, "admin", "pw") == 429

    async def test_guesses_sent_at_once_are_counted_too(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(password=hash_password("pw")) as client:
            statuses = await asyncio.gather(*(self.log_in(client, "admin", f"guess{n}") for n in range(30)))
            assert sorted(statuses) == [403] * 10 + [429] * 20

    async def test_programs_that_begin_at_once_all_come_in(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(password=hash_password("pw")) as client:
            asked = (client.get("/api/health/live", auth=("admin", "pw")) for _ in range(15))
            assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}

    async def test_programs_send_a_token_or_basic(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(token="full-token", read_token="read-token", password=hash_password("pw")) as client:
            for word, status in (("full-token", 200), ("read-token", 200), ("guess", 401)):
                answer = await client.get("/api/workers", headers={"Authorization": f"Bearer {word}"})
                assert answer.status_code == status, word
            assert (await client.get("/api/workers", auth=("admin", "pw"))).status_code == 200
            assert (await client.get("/api/workers", auth=("admin", "no"))).status_code == 401

    async def test_a_proxy_is_believed_from_its_network_only(self, open_dashboard: OpenDashboard) -> None:
        headers = {"X-Forwarded-User": "alice"}
        far = (ip_network("10.0.0.0/8"),)
        async with open_dashboard(user_header="X-Forwarded-User", trusted_proxies=far) as client:
            assert (await client.get("/api/workers", headers=headers)).status_code == 401

    async def test_of_two_names_from_a_proxy_none_is_believed(self, open_dashboard: OpenDashboard) -> None:
        name = ("X-Forwarded-User", "alice")
        here = (ip_network("127.0.0.0/8"),)
        async with open_dashboard(user_header="X-Forwarded-User", trusted_proxies=here) as client:
            assert (await client.get("/api/workers", headers=[name])).status_code == 200
            assert (await client.get("/api/workers", headers=[name, ("X-Forwarded-User", "admin")])).status_code == 401

    async def test_a_forged_session_is_nobody(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(password="pw") as client:
            client.cookies.set(
                "naq_dashboard_session", SessionSigner("a wrong secret, long enough").session(new_session("admin", 60), "pw")
            )
            assert (await client.get("/api/workers")).status_code == 401


class TestHost:
    @pytest.mark.parametrize(
        ("peer", "own", "status"),
        [
            ("127.0.0.1", {}, 200),
            ("::ffff:127.0.0.1", {}, 200),
            ("", {}, 200),
            ("192.0.2.7", {}, 403),
            ("::ffff:192.0.2.7", {}, 403),
            ("unknown", {}, 403),
            ("192.0.2.7", {"insecure_no_auth": True}, 200),
            ("192.0.2.7", {"allowed_hosts": ("localhost",)}, 200),
            ("192.0.2.7", {"password": "pw"}, 200),
        ],
    )
    async def test_other_machines_are_not_answered_while_nobody_logs_in_whatever_they_call_us(
        self, settings: Settings, peer: str, own: dict[str, Any], status: int
    ) -> None:
        transport = httpx.ASGITransport(create_app(settings, DashboardSettings(**own)), client=(peer, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/api/health/live")).status_code == status

    @pytest.mark.parametrize(("host", "status"), [("localhost:8080", 200), ("127.0.0.1", 200), ("evil.example", 403), ("", 403)])
    async def test_other_names_are_not_answered_while_nobody_logs_in(self, dashboard: Client, host: str, status: int) -> None:
        assert (await dashboard.get("/api/health/live", headers={"Host": host})).status_code == status

    async def test_a_list_of_names_can_be_given(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(allowed_hosts=("NAQ.example.org", "*.internal")) as client:
            for host, status in (("naq.example.org", 200), ("a.internal:80", 200), ("internal.evil", 403), ("localhost", 403)):
                assert (await client.get("/api/health/live", headers={"Host": host})).status_code == status, host
