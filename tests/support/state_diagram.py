"""The diagram in `docs/state_machine.md`, made from the table of moves: `python -m tests.support.state_diagram` renews it."""

from __future__ import annotations

from pathlib import Path

from naq_core.record import FINAL
from naq_core.transitions import MOVES

PAGE = Path(__file__).parents[2] / "docs" / "state_machine.md"
BEGIN = "```mermaid\n"
END = "```\n"


def diagram() -> str:
    """Return the moves as Mermaid draws them."""
    begins = ("[*] --> queued: enqueue", "[*] --> held: enqueue for later, or after other jobs")
    moves = (f"{before} --> {after}: {cause}" for (before, after), cause in MOVES.items())
    ends = (f"{state} --> [*]" for state in sorted(FINAL))
    return "stateDiagram-v2\n" + "".join(f"    {line}\n" for line in (*begins, *moves, *ends))


def renewed(page: str) -> str:
    """Return the page with the diagram of the table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + diagram() + END + after


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
