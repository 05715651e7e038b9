"""Settings: precedence, conversion, checks, and messages that name the source."""

import copy
import dataclasses
import json
import logging
import os
import pickle
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naq_core.errors import ConfigurationError
from naq_core.settings import Settings, parse_duration, redact_url


@pytest.fixture(autouse=True)
def clean_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("NAQ_", "NATS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


class TestPrecedence:
    def test_an_argument_wins_over_everything(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_CONCURRENCY", "7")
        settings = Settings.load(concurrency=3)
        assert settings.concurrency == 3
        assert settings.source("concurrency") == "argument"

    def test_an_argument_equal_to_the_default_still_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_CONCURRENCY", "7")
        assert Settings.load(concurrency=10).concurrency == 10

    def test_none_leaves_the_choice_to_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_CONCURRENCY", "7")
        settings = Settings.load(concurrency=None)
        assert settings.concurrency == 7
        assert settings.source("concurrency") == "NAQ_CONCURRENCY"

    def test_naq_variables_win_over_nats_variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NATS_URL", "nats://general:4222")
        assert Settings.load().nats_url == "nats://general:4222"
        assert Settings.load().source("nats_url") == "NATS_URL"
        monkeypatch.setenv("NAQ_NATS_URL", "nats://own:4222")
        assert Settings.load().nats_url == "nats://own:4222"

    def test_the_environment_wins_over_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("naq.toml").write_text('nats_url = "nats://file:4222"\nconcurrency = 4\n')
        monkeypatch.setenv("NATS_URL", "nats://general:4222")
        settings = Settings.load()
        assert settings.nats_url == "nats://general:4222"
        assert settings.concurrency == 4
        assert settings.source("concurrency") == str(Path.cwd() / "naq.toml")

    def test_the_nearest_file_upwards_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("naq.toml").write_text('namespace = "outer"\n')
        folder = Path("project/inner")
        folder.mkdir(parents=True)
        Path("project/pyproject.toml").write_text('[tool.naq]\nnamespace = "inner"\nack-wait = "20s"\n')
        monkeypatch.chdir(folder)
        settings = Settings.load()
        assert settings.namespace == "inner"
        assert settings.ack_wait == timedelta(seconds=20)

    def test_a_project_without_a_naq_table_is_passed_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("naq.toml").write_text('namespace = "outer"\n')
        Path("project").mkdir()
        Path("project/pyproject.toml").write_text("[tool.ruff]\n")
        monkeypatch.chdir("project")
        assert Settings.load().namespace == "outer"

    def test_without_anything_there_are_defaults(self) -> None:
        settings = Settings.load()
        assert settings == Settings()
        names = {field.name for field in dataclasses.fields(Settings)} - {"sources"}
        assert {settings.source(name) for name in names} == {"default"}

    def test_an_empty_variable_counts_as_unset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_NATS_URL", "")
        assert Settings.load().nats_url == "nats://localhost:4222"

    def test_the_old_name_of_the_result_ttl_is_a_fall_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_DEFAULT_RESULT_TTL", "3600")
        assert Settings.load().result_ttl == timedelta(hours=1)
        monkeypatch.setenv("NAQ_RESULT_TTL", "2h")
        assert Settings.load().result_ttl == timedelta(hours=2)

    def test_settings_made_directly_read_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_CONCURRENCY", "7")
        assert Settings(namespace="own").concurrency == 10


class TestSecrets:
    def test_a_password_can_come_from_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("opensesame\n")
        monkeypatch.setenv("NAQ_NATS_PASSWORD_FILE", str(tmp_path / "secret"))
        settings = Settings.load()
        assert settings.nats_password == "opensesame"
        assert settings.source("nats_password") == "NAQ_NATS_PASSWORD_FILE"

    def test_a_missing_secret_file_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NATS_TOKEN_FILE", "/no/such/file")
        with pytest.raises(ConfigurationError, match=r"nats_token.*NATS_TOKEN_FILE.*/no/such/file"):
            Settings.load()

    @pytest.mark.parametrize("variable", ["NAQ_NATS_PASSWORD_FILE", "NATS_TOKEN_FILE", "NAQ_SIGNING_KEY_FILE"])
    @pytest.mark.parametrize("content", [b"", b" \r\n\n", b"\xef\xbb\xbf\n"], ids=repr)
    def test_a_blank_secret_file_is_refused(
        self, variable: str, content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "secret").write_bytes(content)
        monkeypatch.setenv(variable, str(tmp_path / "secret"))
        with pytest.raises(ConfigurationError, match=rf"{variable}.*secret is empty; unset {variable}"):
            Settings.load()

    def test_a_secret_file_that_is_not_text_shows_none_of_it(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"xyzzy\xffsesame")
        monkeypatch.setenv("NAQ_NATS_PASSWORD_FILE", str(tmp_path / "secret"))
        with pytest.raises(ConfigurationError, match="is not UTF-8 text") as caught:
            Settings.load()
        assert "xyzzy" not in str(caught.value)
        assert "sesame" not in str(caught.value)

    def test_a_byte_order_mark_is_no_part_of_a_secret_or_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"\xef\xbb\xbfopensesame\r\n")
        monkeypatch.setenv("NAQ_NATS_TOKEN_FILE", str(tmp_path / "secret"))
        Path("naq.toml").write_bytes(b'\xef\xbb\xbfnamespace = "shop"\n')
        settings = Settings.load()
        assert (settings.nats_token, settings.namespace) == ("opensesame", "shop")

    @pytest.mark.parametrize("given", ["", " ", ",", "\n,", ["", " "]], ids=repr)
    def test_a_signing_key_that_holds_no_key_does_not_switch_signatures_off(self, given: object) -> None:
        with pytest.raises(ConfigurationError, match=r"signing_key.*is empty"):
            Settings.load(signing_key=given)

    def test_the_representation_shows_no_secret(self) -> None:
        settings = Settings(nats_url="nats://me:pw1@host:4222", nats_password="pw2", nats_token="pw3")
        assert "pw" not in repr(settings)
        assert settings.redacted_url() == "nats://***@host:4222"

    def test_signing_keys_come_from_a_list_or_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("NAQ_SIGNING_KEY", "a" * 16 + "," + "b" * 16)
        assert Settings.load().signing_key == ("a" * 16, "b" * 16)
        monkeypatch.delenv("NAQ_SIGNING_KEY")
        (tmp_path / "keys").write_text("c" * 32 + "\n" + "d" * 32 + "\n", encoding="utf-8")
        monkeypatch.setenv("NAQ_SIGNING_KEY_FILE", str(tmp_path / "keys"))
        settings = Settings.load()
        assert (settings.signing_key, settings.source("signing_key")) == (("c" * 32, "d" * 32), "NAQ_SIGNING_KEY_FILE")

    @pytest.mark.parametrize("name", ["signing_key", "nats_password", "nats_token"])
    @pytest.mark.parametrize("value", [b"secret", 5_318_008, ("secret",), "secret"], ids=repr)
    def test_no_message_shows_a_secret(self, name: str, value: object) -> None:
        try:
            shown = repr(Settings(**{name: value}))  # type: ignore[arg-type]
        except ConfigurationError as error:
            shown = str(error)
        assert "secret" not in shown
        assert "5318008" not in shown

    def test_the_environment_of_a_child_process_gives_the_same_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = Settings(
            namespace="n", ack_wait=timedelta(seconds=2.5), allowed_functions=("a:*", "b:c"), signing_key=("k" * 16,), replicas=3
        )
        for name, value in settings.as_environment().items():
            monkeypatch.setenv(name, value)
        assert Settings.load() == settings

    def test_each_address_of_a_list_is_redacted(self) -> None:
        assert redact_url("nats://a:b@one:1,two:2,c:d@three:3") == "nats://***@one:1,two:2,***@three:3"

    def test_a_wrong_address_does_not_reach_the_message_with_its_password(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            Settings(nats_url="http://me:pw@host")
        assert "pw" not in str(caught.value)


class TestChecks:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("nats_url", "http://host"),
            ("nats_url", "nats://host:99999"),
            ("nats_url", "nats://"),
            ("nats_url", 5),
            ("namespace", "two words"),
            ("namespace", "a.b"),
            ("namespace", ""),
            ("default_queue", "a/b"),
            ("job_serializer", "yaml"),
            ("concurrency", 0),
            ("concurrency", "ten"),
            ("concurrency", True),
            ("concurrency", 1.5),
            ("replicas", 6),
            ("ack_wait", "900ms"),
            ("ack_wait", "soon"),
            ("ack_wait", -1),
            ("result_ttl", float("inf")),
            ("result_ttl", float("nan")),
            ("worker_ttl", "5s"),
            ("allowed_functions", "os.system"),
            ("allowed_functions", ["*"]),
            ("allowed_functions", 5),
            ("log_level", "loud"),
        ],
    )
    def test_a_wrong_value_names_the_setting(self, name: str, value: object) -> None:
        with pytest.raises(ConfigurationError, match=name) as caught:
            Settings.load(**{name: value})
        assert caught.value.setting == name
        assert caught.value.source == "argument"

    def test_a_wrong_variable_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_ACK_WAIT", "soon")
        with pytest.raises(ConfigurationError, match=r"NAQ_ACK_WAIT.*'30s'"):
            Settings.load()

    def test_a_wrong_value_in_a_file_names_the_file(self) -> None:
        Path("naq.toml").write_text("concurrency = 0\n")
        with pytest.raises(ConfigurationError, match=r"naq\.toml.*at least 1"):
            Settings.load()

    def test_a_broken_file_is_named(self) -> None:
        Path("naq.toml").write_text("concurrency = \n")
        with pytest.raises(ConfigurationError, match=r"naq\.toml"):
            Settings.load()

    def test_an_unknown_argument_is_refused_with_a_hint(self) -> None:
        with pytest.raises(ConfigurationError, match="did you mean concurrency"):
            Settings.load(concurency=3)

    def test_an_unknown_variable_is_warned_about(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setenv("NAQ_CONCURENCY", "3")
        monkeypatch.setenv("NAQ_TEST_ANYTHING", "1")
        with caplog.at_level(logging.WARNING):
            Settings.load()
        assert caplog.messages == ["NAQ_CONCURENCY is not a NAQ setting; did you mean NAQ_CONCURRENCY?"]

    def test_allowed_functions_are_a_comma_list(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_ALLOWED_FUNCTIONS", "shop.tasks:*, shop.mail:Mail.send,lib.*,")
        assert Settings.load().allowed_functions == ("shop.tasks:*", "shop.mail:Mail.send", "lib.*")

    def test_the_log_level_is_written_in_capitals(self) -> None:
        assert Settings(log_level="debug").log_level == "DEBUG"


class TestDurations:
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [(30, 30), (1.5, 1.5), ("40", 40), ("30s", 30), ("5m", 300), ("1H", 3600), ("7d", 604800), (" 250 ms ", 0.25)],
    )
    def test_each_form_is_understood(self, value: object, seconds: float) -> None:
        assert parse_duration(value) == timedelta(seconds=seconds)

    @given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(seconds=1e9)))
    def test_a_timedelta_stays_what_it_is(self, value: timedelta) -> None:
        assert parse_duration(value) == value

    @given(st.text(max_size=12) | st.floats() | st.integers() | st.none() | st.booleans())
    def test_anything_else_is_a_value_error_or_a_duration(self, value: object) -> None:
        try:
            duration = parse_duration(value)
        except ValueError:
            return
        assert duration >= timedelta(0)


def test_settings_survive_pickling_and_copying() -> None:
    settings = Settings.load(namespace="elsewhere", concurrency=3)
    for twin in (pickle.loads(pickle.dumps(settings)), copy.deepcopy(settings), dataclasses.replace(settings)):
        assert twin == settings
        assert twin.source("concurrency") == "argument"
    assert hash(settings) == hash(copy.deepcopy(settings))


class TestContexts:
    """Contexts of the `nats` command."""

    @pytest.fixture(autouse=True)
    def context(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        monkeypatch.setenv("HOME", "/home/ada")
        path = tmp_path / "nats" / "context" / "prod.json"
        path.parent.mkdir(parents=True)
        self.write(
            path,
            url="nats://a:1,nats://b:2",
            creds="~/a.creds",
            ca="file:///etc/ca.pem",
            user="",
            description="ours",
            jetstream_domain="hub",
        )
        return path

    @staticmethod
    def write(path: Path, **fields: object) -> None:
        path.write_text(json.dumps(fields), encoding="utf-8")

    def test_a_context_gives_address_and_credentials(self, context: Path) -> None:
        settings = Settings.load(nats_context="prod")
        assert settings.nats_url == "nats://a:1,nats://b:2"
        assert (settings.nats_creds, settings.nats_tls_ca, settings.nats_user) == ("/home/ada/a.creds", "/etc/ca.pem", None)
        assert settings.jetstream_domain == "hub"
        assert settings.source("nats_url") == f"context prod ({context})"

    def test_what_is_set_otherwise_wins_but_for_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("naq.toml").write_text('nats_url = "nats://file:1"\n', encoding="utf-8")
        monkeypatch.setenv("NATS_CONTEXT", "prod")
        assert Settings.load().nats_url == "nats://a:1,nats://b:2"
        monkeypatch.setenv("NATS_URL", "nats://variable:1")
        assert Settings.load().nats_url == "nats://variable:1"

    def test_the_file_that_names_the_context_wins_over_it(self) -> None:
        Path("naq.toml").write_text('nats_context = "prod"\nnats_url = "nats://file:1"\n', encoding="utf-8")
        assert Settings.load().nats_url == "nats://file:1"
        assert Settings.load().nats_creds == "/home/ada/a.creds"

    @pytest.mark.parametrize(
        ("fields", "problem"),
        [
            ({"nsc": "nsc://op/acc/user"}, "sets nsc"),
            ({"password": "op://vault/secret"}, "password in .* is a op:// reference"),
            ({"creds": 5}, "creds in .* is not text"),
        ],
    )
    def test_what_it_cannot_do_is_said_without_the_value(self, fields: dict[str, object], problem: str, context: Path) -> None:
        self.write(context, **fields)
        with pytest.raises(ConfigurationError, match=problem) as caught:
            Settings.load(nats_context="prod")
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("name", ["missing", "../prod", "a/b", ".."])
    def test_a_context_that_is_not_there_is_named(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_NATS_CONTEXT", name)
        with pytest.raises(ConfigurationError, match=r"nats_context \(from NAQ_NATS_CONTEXT\): ") as caught:
            Settings.load()
        assert name in str(caught.value)

    def test_a_user_without_a_home_is_told_what_to_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("HOME", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr("os.getuid", lambda: 54321)  # one that has no line in /etc/passwd
        with pytest.raises(ConfigurationError, match="no home directory"):
            Settings.load(nats_context="prod")

    def test_a_broken_context_is_named(self, context: Path) -> None:
        context.write_text("{", encoding="utf-8")
        with pytest.raises(ConfigurationError, match=r"prod\.json cannot be read"):
            Settings.load(nats_context="prod")
