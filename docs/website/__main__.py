"""`python -m website build`, `serve` and `external`: the documentation site in `.hatch/site`."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TypeAlias

from website import reference
from website.external import check
from website.links import broken_links
from website.navigation import ROOT, Section, pages_left_out, read_sections
from website.staging import OWN_PLACES, BrokenSourceError, Staging, clear

WORK = ROOT / ".hatch" / "site"
PAGES, SITE = WORK / "pages", WORK / "html"
"""The sources that the generator reads, and what it makes of them; `zensical.toml` names both."""
HERE = Path(__file__).parent
_Entry: TypeAlias = "tuple[str, str | list[_Entry]]"
"""A page of the navigation or a section of it, with its title."""
WATCHED = ("docs", "examples", "packages", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")


def main() -> int:
    """Run the command that was asked for, and return its exit code."""
    parser = argparse.ArgumentParser(prog="website", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build the site")
    build.add_argument("--strict", action="store_true", help="fail at warnings, broken links and pages outside the navigation")
    serve = commands.add_parser("serve", help="show the site at http://127.0.0.1:8000, and renew it when a file changes")
    serve.add_argument("--dev-addr", default="127.0.0.1:8000", help="where to listen")
    commands.add_parser("external", help="ask the other sites that pages link to whether the pages are there")
    arguments = parser.parse_args()
    try:
        if arguments.command == "external":
            return check()
        if arguments.command == "serve":
            return _serve(arguments.dev_addr)
        return _build(strict=arguments.strict)
    except BrokenSourceError as error:
        sys.stderr.write(f"website: {error}\n")
        return 1


def _build(*, strict: bool) -> int:
    began = time.perf_counter()
    clear(WORK)
    _stage()
    done = subprocess.run([*_zensical("build"), *(["--strict"] if strict else [])], cwd=WORK, check=False)
    problems = [f"{page} is not in the table Documentation of README.md, which is the navigation" for page in pages_left_out()]
    problems += broken_links(SITE)
    for problem in problems:
        sys.stderr.write(f"website: {problem}\n")
    count = sum(1 for _ in SITE.rglob("*.html"))
    print(f"{count:,} pages in {SITE} after {time.perf_counter() - began:.1f} s")
    return done.returncode or int(strict and bool(problems))


def _serve(address: str) -> int:
    from watchfiles import PythonFilter, watch

    _stage()
    with subprocess.Popen([*_zensical("serve"), "--dev-addr", address], cwd=WORK) as server:
        try:
            kinds = PythonFilter(extra_extensions=(".md", ".toml", ".css", ".json", ".svg", ".png"))
            for _ in watch(*(ROOT / name for name in WATCHED), watch_filter=kinds, yield_on_timeout=True):
                if server.poll() is not None:
                    return server.returncode
                try:
                    _stage()
                except BrokenSourceError as error:
                    sys.stderr.write(f"website: {error}\n")
        except KeyboardInterrupt:
            pass
        finally:
            server.terminate()
    return 0


def _zensical(command: str) -> list[str]:
    return [sys.executable, "-m", "zensical", command, "--config-file", str(WORK / "zensical.toml")]


def _stage() -> None:
    """Write the sources and the configuration."""
    staging = Staging(PAGES)
    staging.stage_repository()
    made = []
    for place, title, text in reference.pages():
        staging.write(place, text)
        made.append((title, place))
    staging.write("style.css", (HERE / "style.css").read_text(encoding="utf-8"))
    staging.remove_the_rest()
    text = (HERE / "zensical.toml").read_text(encoding="utf-8")
    sections = read_sections((ROOT / "README.md").read_text(encoding="utf-8"))
    (WORK / "zensical.toml").write_text(
        text.replace("[project]\n", f"[project]\nnav = {_navigation(sections, made)}\n", 1), encoding="utf-8"
    )


def _navigation(sections: list[Section], made: list[tuple[str, str]]) -> str:
    """Return the navigation as TOML: the home page, the sections of the README, and the reference before the last two of them."""
    modules: list[_Entry] = [each for each in made if each[0] in reference.MODULES]
    tables: list[_Entry] = [each for each in made if each not in modules]
    tops: list[_Entry] = [
        (section.title, [(entry.title, _place(entry.source)) for entry in section.entries]) for section in sections
    ]
    tops.insert(len(tops) - 2, ("Reference", [*tables, ("Python modules", modules)]))
    return _as_toml([("Home", "index.md"), *tops])


def _as_toml(entries: list[_Entry]) -> str:
    parts = (f"{{ {_quoted(title)} = {_quoted(at) if isinstance(at, str) else _as_toml(at)} }}" for title, at in entries)
    return f"[{', '.join(parts)}]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _place(source: str) -> str:
    return OWN_PLACES.get(source, source.removeprefix("docs/"))


if __name__ == "__main__":
    sys.exit(main())
