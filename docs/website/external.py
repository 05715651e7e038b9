"""`python -m website external`: asks every page of another site that the documentation links to whether it is there."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from website.navigation import ROOT
from website.staging import outside_of_code

TIMEOUT = 20
"""Seconds for one answer."""
AT_ONCE = 8
REFUSES_PROGRAMS = {401, 403, 405, 429, 999}
"""Answers of sites that are there, but not for programs."""
_LINK = re.compile(r"(?:\]\(|<)(https?://[^)\s>#]+)")
_OWN = re.compile(r"https?://(?:[\w.-]*\.)?(?:example\.(?:org|com|net)|localhost|127\.0\.0\.1)(?=[:/]|$)")


def external_links(root: Path = ROOT) -> dict[str, list[str]]:
    """Return the addresses of other sites, and the pages that link to each."""
    found: dict[str, list[str]] = {}
    pages = [*root.glob("*.md"), *(path for folder in ("docs", "examples", "packages") for path in (root / folder).rglob("*.md"))]
    for page in sorted(page for page in pages if "node_modules" not in page.parts):
        lines: list[str] = []

        def keep(line: str, lines: list[str] = lines) -> str:
            lines.append(line)
            return line

        outside_of_code(page.read_text(encoding="utf-8"), keep)
        for address in _LINK.findall("\n".join(lines)):
            names = found.setdefault(address, [])
            name = page.relative_to(root).as_posix()
            if not _OWN.match(address) and name not in names:
                names.append(name)
    return {address: names for address, names in found.items() if names}


def problem(address: str) -> str:
    """Ask for a page; return what is wrong with the answer, or nothing."""
    request = Request(address, headers={"User-Agent": "Mozilla/5.0 (link check)"})  # noqa: S310 - only http and https are found
    try:
        with urlopen(request, timeout=TIMEOUT):  # noqa: S310
            return ""
    except HTTPError as error:
        return "" if error.code in REFUSES_PROGRAMS else f"answers {error.code}"
    except (URLError, HTTPException, OSError) as error:
        return f"cannot be reached: {getattr(error, 'reason', error)}"


def check() -> int:
    """Ask for all pages; print those that are not there, and return 1 if there are any."""
    links = external_links()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = {address: said for address, said in zip(links, pool.map(problem, links), strict=True) if said}
    for address, said in sorted(problems.items()):
        sys.stderr.write(f"website: {address} {said} ({', '.join(links[address])})\n")
    if links and all(said.startswith("cannot be reached") for said in problems.values()) and len(problems) == len(links):
        sys.stderr.write("website: no site can be reached: is there a way to the internet?\n")
    print(f"{len(links)} addresses, {len(problems)} with a problem")
    return int(bool(problems))
