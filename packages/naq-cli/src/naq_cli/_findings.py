"""What the checks of `naq doctor` find."""

import msgspec

from naq_core.views import Problem


class Finding(msgspec.Struct, kw_only=True):
    """What one check found."""

    check: str
    status: str
    """ok, warning, problem or unknown."""
    found: str
    advice: str = ""


def finding_of(problem: Problem) -> Finding:
    """Return what the doctor says of something that needs attention."""
    check = f"{problem.subject} {problem.name}" if problem.name else problem.subject
    return Finding(check=check, status=problem.severity, found=problem.found, advice=problem.advice)
