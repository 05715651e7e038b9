"""The dashboard as people see it: served over HTTP, with a real server, real workers, and Chromium."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Route, ViewportSize, expect

from naq_client import Queue, Workflow
from naq_core.settings import Settings
from naq_dashboard import DashboardSettings, create_app
from naq_dashboard.command import GRACE, Server
from naq_dashboard.queries import search

LATE = 0.4
"""Seconds by which a file comes later over a slow line."""
DESK: ViewportSize = {"width": 1280, "height": 900}
ROOT = Path(__file__).parents[2]
LONG = 10.0
"""Seconds for a list or a count, which without other work take some milliseconds."""
expect.set_options(timeout=20_000)  # milliseconds: on a busy machine a browser takes its time

Serve: TypeAlias = Callable[..., AbstractContextManager[str]]


@pytest.fixture(autouse=True)
def _time_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a dashboard look longer for rows than usual: the browser keeps the machine busy."""
    monkeypatch.setattr(search, "LIST_SECONDS", LONG)
    monkeypatch.setattr(search, "COUNT_SECONDS", LONG)


@contextmanager
def program(*words: str, settings: Settings, ready: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program of ours until the block ends; wait for the line that says it is ready, and give it too."""
    environment = os.environ | {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace} | variables
    process = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment, bufsize=1)
    try:
        assert process.stderr is not None
        line = next((line for line in process.stderr if ready in line), None)
        assert line is not None, f"{' '.join(words)} ended"
        yield process, line
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def enqueue_workflow(settings: Settings, name: str, *arguments: str) -> str:
    """Enqueue a workflow of two jobs, one after the other, and return its id.

    In a thread of its own: Playwright has a running loop in ours.
    """

    async def enqueue() -> str:
        async with Queue("mail", settings=settings) as queue:
            workflow = Workflow(name)
            first = workflow.add(queue.call(print, *arguments))
            workflow.add(queue.options(depends_on=[first]).call(print, *arguments))
            return (await workflow.enqueue(queue)).workflow_id

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, enqueue()).result(timeout=20)


@contextmanager
def dashboard(settings: Settings, **own: str) -> Iterator[str]:
    """Run a dashboard in a thread and give its address; keywords are `NAQ_DASHBOARD_*` variables.

    A process of its own would import for longer than most tests take; `tests/cli` starts those.
    """
    variables = {f"NAQ_DASHBOARD_{name.upper()}": value for name, value in {"port": "0", **own}.items()}
    with mock.patch.dict(os.environ, variables):
        chosen = DashboardSettings.load()
    app = create_app(settings, chosen)
    config = uvicorn.Config(app, lifespan="on", log_config=None, access_log=False, timeout_graceful_shutdown=GRACE)
    server, loop = Server(config, app.state.naq_dashboard), asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", chosen.port)) as listener, closing(loop):
        thread = threading.Thread(target=loop.run_until_complete, args=(server.serve([listener]),), name="dashboard")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            loop.call_soon_threadsafe(server.handle_exit, signal.SIGTERM, None)
            thread.join()


@pytest.fixture
def serve(settings: Settings) -> Serve:
    """Give a context manager that runs the dashboard in the test's namespace and yields its address."""
    return partial(dashboard, settings)


@pytest.fixture
def address(serve: Serve) -> Iterator[str]:
    """Run the dashboard with its default settings, and give its address."""
    with serve() as found:
        yield found


def _deliver_late(route: Route) -> None:
    time.sleep(LATE)
    route.continue_()


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[BrowserContext]:
    """Open the context in which each test opens its first page.

    A context of its own means a process of its own for the test's pages, which costs more than the pages do. The process of
    this one is kept by a page of the same host that stays open.
    """
    context = browser.new_context(viewport=DESK)
    kept = context.new_page()
    kept.route("**/*", lambda route: route.fulfill(body="stays open"))
    kept.goto("http://127.0.0.1/")
    yield context
    context.close()


class Watched:
    """Pages whose console, errors and requests are kept: a clean run has none that it should not have.

    Args:
        browser: For further contexts: each is like another browser, which shares nothing with the first one.
        window: For the first page, and for others beside it; it is left as it was.
    """

    def __init__(self, browser: Browser, window: BrowserContext) -> None:
        self._browser = browser
        self._window = window
        self._before = window.pages
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def open(
        self, address: str, *, late: str = "", beside: Page | None = None, viewport: ViewportSize = DESK, **options: Any
    ) -> Page:
        """Open an address like another browser, or `beside` another page; a script named `late` comes later than the others."""
        context = self._context(**options) if beside is None else beside.context
        page = context.new_page()
        if viewport != DESK:
            page.set_viewport_size(viewport)
        page.set_default_timeout(15_000)
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", self._refuse)
        if late:
            page.route(f"**/{late}*", _deliver_late)
        page.goto(address)
        return page

    def _context(self, **options: Any) -> BrowserContext:
        if not options and self._window.pages == self._before:
            return self._window
        context = self._browser.new_context(viewport=DESK, **options)
        self._contexts.append(context)
        return context

    def _refuse(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def close(self) -> None:
        """Close everything that was opened."""
        for context in self._contexts:
            context.close()
        for page in self._window.pages:
            if page not in self._before:
                page.close()
        self._window.clear_cookies()


def arrive(page: Page, address: str | re.Pattern[str]) -> None:
    """Expect that a click or a key has led to an address, and wait for the scripts of its page: keys typed before are lost."""
    expect(page).to_have_url(address)
    page.wait_for_load_state("domcontentloaded")


@pytest.fixture
def watched(browser: Browser, window: BrowserContext) -> Iterator[Watched]:
    """Open pages and watch them."""
    opened = Watched(browser, window)
    yield opened
    opened.close()
