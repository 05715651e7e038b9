"""What is wrong is said at once and by name: no lifespan, a name that is taken, a setting that does not exist, no worker."""

import os
from typing import Any

import click
import flask
import litestar
import pytest
from litestar.di import Provide
from starlette.requests import HTTPConnection

from naq_client import Queue
from naq_client.contrib import _workers
from naq_client.contrib.flask import Naq
from naq_client.contrib.litestar import NaqPlugin
from naq_client.contrib.starlette import get_queue
from naq_core import InvalidOptionError, NaqError


class Replaced(Exception):  # noqa: N818 - what a process that is replaced does
    """The process would be another one now."""


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keep the program that this process would become."""
    found: dict[str, Any] = {}

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        found.update(command=command[1:], environment=environment)
        raise Replaced

    monkeypatch.setattr(os, "execve", execve)
    return found


def flask_app(**config: Any) -> flask.Flask:
    app = flask.Flask("shop")
    app.config.update(config)
    Naq(app)
    return app


def test_a_lifespan_that_has_not_run() -> None:
    with pytest.raises(NaqError, match=r"lifespan=naq_client\.contrib\.starlette\.lifespan\(\)"):
        get_queue(HTTPConnection({"type": "http", "headers": []}))


def test_a_dependency_of_the_same_name() -> None:
    def other() -> int:
        return 1

    dependencies = {"queue": Provide(other, sync_to_thread=False)}
    with pytest.raises(InvalidOptionError, match="a dependency 'queue'"):
        litestar.Litestar([], dependencies=dependencies, plugins=[NaqPlugin(dashboard=False)])
    litestar.Litestar([], dependencies=dependencies, plugins=[NaqPlugin(name="jobs", dashboard=False)])


def test_a_setting_that_does_not_exist() -> None:
    with pytest.raises(InvalidOptionError, match="did you mean nats_url"):
        flask_app(NAQ_NATS_ULR="nats://localhost")


def test_an_application_without_the_extension() -> None:
    with flask.Flask("bare").app_context(), pytest.raises(NaqError, match=r"call Naq\(\)\.init_app\(app\)"):
        _ = Naq().queue


def test_a_request_waits_two_seconds_unless_a_setting_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    def budget(**config: Any) -> float:
        seconds: float = flask_app(**config).extensions["naq"].settings.publish_budget.total_seconds()
        return seconds

    assert (budget(), budget(NAQ_PUBLISH_BUDGET=7)) == (2, 7)
    monkeypatch.setenv("NAQ_PUBLISH_BUDGET", "9s")
    assert budget() == 9


def test_workers_get_the_settings_of_the_application_but_not_its_patience(replaced: dict[str, Any]) -> None:
    app = flask_app(NAQ_NAMESPACE="shop", NAQ_MIDDLEWARE="shop:first")
    with pytest.raises(Replaced):
        app.test_cli_runner().invoke(args=["workers", "mail", "--concurrency", "3"], catch_exceptions=False)
    assert replaced["command"] == ["-m", "naq_worker", "mail", "--concurrency", "3"]
    assert replaced["environment"]["NAQ_NAMESPACE"] == "shop"
    assert replaced["environment"]["NAQ_MIDDLEWARE"] == "shop:first,naq_client.contrib.flask:in_app"
    assert "NAQ_PUBLISH_BUDGET" not in replaced["environment"]


def test_no_worker_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workers, "entry_points", lambda **_: ())
    done = flask_app().test_cli_runner().invoke(args=["workers"])
    assert (done.exit_code, done.output) == (1, "Error: naq-worker is not installed: pip install naq-worker\n")
    cli = click.Group("cli")
    NaqPlugin(Queue(), dashboard=False).on_cli_init(cli)
    assert "workers" in cli.commands
