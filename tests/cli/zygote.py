"""Forks a process for each command off one that has imported everything: real processes without a second of imports each."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

PROGRAM = """
import gc, json, os, signal, sys
import cyclopts, rich.table, rich.progress, rich.live, rich.console
import naq_core.schedules, naq_core.inspect, naq_core.manage, naq_core.events, naq_core.filters
import contextlib, pkgutil, importlib, naq_cli.app
for name in ["naq_client", *(module.name for module in pkgutil.walk_packages(naq_cli.__path__, "naq_cli."))]:
    if not name.endswith("__main__"):
        with contextlib.suppress(ImportError):  # of what was hidden
            importlib.import_module(name)
for plugin in naq_cli._plugins.find_plugins().values():
    plugin.load()
gc.freeze()  # a collection in a fork would copy all that it looks at

def stream(number, target, **options):
    if target == "closed":
        os.close(number)
        return None
    if target == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(target, os.O_WRONLY)
    os.dup2(writing, number)
    return open(number, "w", closefd=False, **options)

def child(task):
    os.environ.clear()
    os.environ.update(task["env"])
    os.chdir(task["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)
    encoding = task["encoding"]
    # As at a start, both names refer to the stream: Python 3.14 complains when one with text that cannot be written is collected.
    sys.stdout = sys.__stdout__ = stream(1, task["out"], encoding=encoding, errors="surrogateescape")
    sys.stderr = sys.__stderr__ = stream(2, task["err"], encoding=encoding, errors="backslashreplace", buffering=1)
    try:
        naq_cli.app.main(task["words"])
    except SystemExit as end:
        return int(end.code or 0)

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = child(json.loads(line))
            sys.stdout.flush()  # as the interpreter does at its end
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Zygote:
    """The process that is forked from.

    Args:
        before: What it does before it imports anything.
    """

    def __init__(self, before: str = "") -> None:
        self._before = before
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def run(
        self,
        words: tuple[str, ...],
        env: dict[str, str],
        cwd: Path | None,
        to: dict[str, str] | None = None,
        encoding: str = "utf-8",
    ) -> subprocess.CompletedProcess[str]:
        """Run `naq` with these words to its end.

        Args:
            words: Its command line.
            env: Its environment.
            cwd: Its folder.
            to: Where "out" and "err" go instead of into the result: a file, "closed", or "pipe" for one that nobody reads.
            encoding: Of its terminal.
        """
        if not hasattr(os, "fork"):
            program = f"{self._before}\nimport sys\nfrom naq_cli import app\napp.main(sys.argv[1:])"
            command = [sys.executable, "-c", program, *words]
            return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=45, check=False)
        with self._lock, tempfile.TemporaryDirectory() as folder:
            process = self._started()
            out, err = Path(folder, "out"), Path(folder, "err")
            out.touch()
            err.touch()
            task = {
                "words": words,
                "env": env,
                "cwd": str(cwd or Path.cwd()),
                "out": str(out),
                "err": str(err),
                "encoding": encoding,
            }
            task |= to or {}
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            code = int(process.stdout.readline())
            texts = [path.read_text(encoding=encoding) for path in (out, err)]
        return subprocess.CompletedProcess(["naq", *words], code, *texts)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            clean = {name: value for name, value in os.environ.items() if not name.startswith(("NAQ_", "NATS_"))}
            self._process = subprocess.Popen(
                [sys.executable, "-c", self._before + PROGRAM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=clean,
            )
            atexit.register(self._end)
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


ZYGOTE = Zygote()
