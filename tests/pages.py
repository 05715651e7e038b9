"""Runs the Python blocks of README and docs against a real server: `python -m tests.pages [PAGE…]` prints what was run.

A page is one program: its blocks run in their order, in one module, beside a worker for all queues. Then the block's async
functions are called that take only `queue` and `connection`, and its function `main`. HTML comments before a block, which
readers do not see, say the rest:

- `<!-- run before: CODE -->`: what the page takes for granted, such as the reader's own functions.
- `<!-- run after: CODE -->`: is run in place of these calls; names of the page and of `Tools` are known to it, and it may await.
- `<!-- not run: REASON -->`: the block is only compiled.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from naq_client import Queue, Task, disconnect, forget_settings
from naq_core import Connection, Settings
from naq_core.inspect import list_workers
from naq_core.server import EmbeddedServer
from naq_core.testing import WorkerRunner
from tests.support.eventually import eventually

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = {"coming-from": "tests/test_coming_from.py", "tutorial.md": "tests/test_tutorial.py"}
"""Folders and pages whose blocks are programs of several files, and what tests them."""
SERVER = "nats://localhost:4222"
"""The address that pages show; it is replaced by that of the test's server."""
TIME_LIMIT = 60.0
"""Seconds for one block: only what hangs takes so long."""
_PART = re.compile(r"^<!-- (run before|run after|not run):(.*?)-->$|^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of Python, with what its comments say."""

    line: int
    code: str
    before: str = ""
    after: str = ""
    reason: str = ""
    """Why it is not run."""


class Tools:
    """What comments may use besides the names of the page.

    Args:
        queue: The queue `default`.
        connection: The connection of `queue`.
    """

    def __init__(self, queue: Queue, connection: Connection) -> None:
        self.queue = queue
        self.connection = connection
        self.eventually = eventually
        self.in_thread = asyncio.to_thread
        self.running = WorkerRunner(connection.settings).running
        self._modules: list[str] = []

    def module(self, name: str, **names: Any) -> None:
        """Make a module that can be imported until the page has ended."""
        made = ModuleType(name)
        for each, value in names.items():
            if inspect.isfunction(value):
                value.__module__, value.__qualname__ = name, each
            setattr(made, each, value)
        sys.modules[name] = made
        self._modules.append(name)

    def names(self) -> dict[str, Any]:
        """Return the names by which comments know this."""
        named = ("queue", "connection", "eventually", "in_thread", "is_present", "module", "running")
        return {name: getattr(self, name) for name in named}

    async def is_present(self, queue: str) -> bool:
        """Return whether a worker serves a queue."""
        return any(queue in each.get("queues", ()) for each in await list_workers(self.connection))

    def clear(self) -> None:
        """Remove the modules."""
        for name in self._modules:
            sys.modules.pop(name, None)


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    said: dict[str, str] = {}
    for part in _PART.finditer(text):
        kind, comment, code = part.groups()
        if kind is not None:
            said[kind] = textwrap.dedent(comment).strip()
            continue
        line = text.count("\n", 0, part.start(3)) + 1
        yield Block(line, code, said.get("run before", ""), said.get("run after", ""), said.get("not run", ""))
        said = {}
    if said:
        raise ValueError(f"a comment is followed by no block: {said}")


def elsewhere(page: Path) -> str:
    """Return the test that runs the programs of a page; empty if they are to be run here."""
    return next((test for name, test in ELSEWHERE.items() if name in page.parts), "")


class Program:
    """The module of a page.

    Args:
        page: Its file; errors and tracebacks name its lines.
        tools: For its comments.
    """

    def __init__(self, page: Path, tools: Tools, server: str) -> None:
        self._page = page
        self._tools = tools
        self._server = server
        self._module = ModuleType(f"page_{re.sub(r'[^a-z]', '_', page.stem.lower())}")
        sys.modules[self._module.__name__] = self._module

    async def run(self, block: Block) -> None:
        """Run a block and what its comments ask for."""
        names = vars(self._module)
        await self._run_comment(block.before)
        code = "\n" * (block.line - 1) + block.code.replace(SERVER, self._server)
        # A program of the page that runs by itself has an event loop of its own.
        run = asyncio.to_thread if "asyncio.run(" in code else _call
        await run(exec, compile(code, str(self._page), "exec", dont_inherit=True), names)
        if block.after:
            await self._run_comment(block.after)
            return
        for name in _functions(block.code):
            await self._call(names[name])

    async def _call(self, function: Callable[..., Any]) -> None:
        if isinstance(function, Task) or not callable(function):
            return
        known = {"queue": self._tools.queue, "connection": self._tools.connection}
        required = [name for name, each in inspect.signature(function).parameters.items() if each.default is each.empty]
        is_meant = function.__name__ == "main" or (required and inspect.iscoroutinefunction(function))
        if not is_meant or not set(required) <= set(known):
            return
        arguments = [known[name] for name in required]
        if inspect.iscoroutinefunction(function):
            await function(*arguments)
        else:
            await asyncio.to_thread(function, *arguments)

    async def _run_comment(self, code: str) -> None:
        if not code:
            return
        names = vars(self._module)
        tools = self._tools.names()
        own = {name: names[name] for name in tools if name in names}
        names.update(tools)
        try:
            compiled = compile(code, f"comment in {self._page.name}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            waits = eval(compiled, names)
            if inspect.isawaitable(waits):
                await waits
        finally:  # else the page could use what its reader does not have
            for name in tools:
                del names[name]
            names.update(own)

    def clear(self) -> None:
        """Remove the module."""
        del sys.modules[self._module.__name__]


async def _call(function: Callable[..., Any], *arguments: Any) -> None:
    function(*arguments)


def _functions(code: str) -> list[str]:
    return [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


@contextmanager
def _environment(settings: Settings) -> Iterator[None]:
    """Let programs find the server by their environment, as those of a reader."""
    given = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    os.environ.update(given)
    forget_settings()
    try:
        yield
    finally:
        for name in given:
            os.environ.pop(name, None)


async def run_page(page: Path, blocks: list[Block], server: EmbeddedServer, namespace: str) -> str:
    """Run the blocks of a page; return the traceback of the first one that failed, or nothing."""
    settings = Settings.load(nats_url=server.url, namespace=namespace)
    with _environment(settings):
        async with Queue(settings=settings) as queue, WorkerRunner(settings).running("*"):
            tools = Tools(queue, await queue.connection())
            program = Program(page, tools, server.url)
            failure = ""
            for block in blocks:
                try:
                    async with asyncio.timeout(TIME_LIMIT):
                        await program.run(block)
                except Exception:
                    failure = f"{page.relative_to(ROOT)}, the block at line {block.line}:\n{traceback.format_exc()}"
                    break
            program.clear()
            tools.clear()
            await disconnect()
    return failure


def main(only: list[str]) -> int:
    """Run the pages, and print what was run; return 1 if a block failed."""
    counts = {"run": 0, "compiled": 0, "elsewhere": 0}
    failures = []
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder, chdir(folder):
        for number, page in enumerate(PAGES):
            shown = str(page.relative_to(ROOT))
            blocks = list(blocks_of(page.read_text(encoding="utf-8")))
            if not blocks or (only and not any(each in shown for each in only)):
                continue
            if elsewhere(page):
                counts["elsewhere"] += len(blocks)
                continue
            began = time.perf_counter()
            marked = [block for block in blocks if block.reason]
            runnable = [block for block in blocks if not block.reason]
            if runnable:
                with redirect_stdout(sys.stderr):
                    failure = asyncio.run(run_page(page, runnable, server, f"page{number}"))
                failures += [failure] if failure else []
            counts["compiled"] += len(marked)
            counts["run"] += len(runnable)
            print(f"{shown}: {len(runnable)} of {len(blocks)} run, {time.perf_counter() - began:.1f} s", flush=True)
            for block in marked:
                print(f"  line {block.line} is not run: {block.reason}")
    for failure in failures:
        print(failure)
    print(
        f"{counts['run']} blocks run, {counts['compiled']} only compiled, {counts['elsewhere']} on pages with tests of their own"
    )
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
