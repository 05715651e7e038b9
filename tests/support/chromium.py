"""Pytest plugin: finds a browser for `tests/browser`, installs one where there is none, and says so where it cannot.

Looked for in this order: `$NAQ_TEST_CHROMIUM`, the PATH, the one that Playwright installs for itself, and the system's
package, which only root may install. Without any the tests are skipped, and the last lines of the run say so. With
`NAQ_TEST_BROWSER=required` they fail instead: a dashboard that nobody has looked at is not tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SYSTEM_FOLDERS = os.pathsep.join(["/usr/bin", "/usr/local/bin", "/snap/bin"])
"""Where a package puts it, even when the PATH does not name the folder."""
INSTALL_SECONDS = 300.0
"""How long a download may take before the next way is tried."""
MISSING = "no browser"
FOUND = pytest.StashKey[str]()


class NoBrowserError(Exception):
    """There is none, and none can be installed; the message says what was tried."""


def _first(path: str | None) -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name, path=path)) is not None), None)


def _launches(path: str | None = None) -> str | None:
    """Return the path of a browser if it starts: Playwright's own may lack libraries of the system."""
    with sync_playwright() as playwright:
        try:
            with playwright.chromium.launch(executable_path=path, args=list(FLAGS)):
                return path or playwright.chromium.executable_path
        except Error:
            return None


def _run(*command: str, **variables: str) -> str:
    """Run a command that installs something. Return "" when it succeeded, else its first error."""
    try:
        done = subprocess.run(
            command,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = [line for line in done.stdout.splitlines() if line.startswith(("Error:", "E:"))]
    return "" if done.returncode == 0 else (said or [f"exit code {done.returncode}"])[0]


def _install_package() -> str:
    apt = shutil.which("apt-get")
    if apt is None:
        return "no apt-get here"
    if os.geteuid() != 0:
        return "needs root"
    options = ("-qq", "-o", "DPkg::Lock::Timeout=120")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    _run(apt, *options, "update", **quiet)  # where it fails, the lists may still be good enough
    return _run(apt, *options, "install", "-y", "--no-install-recommends", "chromium", **quiet)


def provide() -> str:
    """Return the path of a Chromium that starts, installed if need be.

    Raises:
        NoBrowserError: There is none.
    """
    if named := os.environ.get("NAQ_TEST_CHROMIUM"):
        if found := shutil.which(named):
            return found
        raise NoBrowserError(f"NAQ_TEST_CHROMIUM is not an executable file: {named}")
    if found := _first(None):
        return found
    if found := _launches():
        return found
    problem = _run(sys.executable, "-m", "playwright", "install", "--only-shell", "chromium")
    if not problem and (found := _launches()):
        return found
    tried = f"`playwright install`: {problem or 'what it installs does not start'}"
    package = _install_package()
    if not package and (found := _first(SYSTEM_FOLDERS)):
        return found
    raise NoBrowserError(f"none on the PATH; {tried}; `apt-get install chromium`: {package or 'installed none'}")


def _provide_once(folder: Path) -> str:
    """As `provide`, but once for all processes of a run: the first one looks, the others read what it found."""
    import fcntl  # noqa: PLC0415 - Windows has none, and every test run imports this module

    answer = folder / "chromium"
    with (folder / "chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answer.exists():
            try:
                text = provide()
            except NoBrowserError as error:
                text = f"{MISSING}: {error}"
            answer.write_text(text, encoding="utf-8")
        return answer.read_text(encoding="utf-8")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Look for a browser if any test needs one. Not in a fixture: its time would count as that of the first test."""
    config = session.config
    if not config.option.collectonly and any("browser" in getattr(item, "fixturenames", ()) for item in session.items):
        folder: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
        config.stash[FOUND] = _provide_once(folder.parent if hasattr(config, "workerinput") else folder)


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """Start Chromium.

    Once a module, not once a session: Playwright's loop runs in this thread until it is stopped, and no asynchronous test
    could run meanwhile.
    """
    found = request.config.stash[FOUND]
    if found.startswith(MISSING):
        (pytest.fail if os.environ.get("NAQ_TEST_BROWSER") == "required" else pytest.skip)(found)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """Say last, after everything else, that nobody has looked at the dashboard."""
    yield
    reasons = [each.longrepr[2] for each in terminalreporter.stats.get("skipped", ()) if isinstance(each.longrepr, tuple)]
    missing = [reason for reason in reasons if MISSING in reason]
    if missing:
        terminalreporter.section(f"tests in a browser that were skipped: {len(missing)}", yellow=True)
        terminalreporter.write_line(missing[0].removeprefix("Skipped: "))
        terminalreporter.write_line(
            "Install Chromium, or give its path in NAQ_TEST_CHROMIUM. With NAQ_TEST_BROWSER=required these tests fail instead."
        )
