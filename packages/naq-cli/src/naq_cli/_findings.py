"""What the checks of `naq doctor` find."""

import msgspec


class Finding(msgspec.Struct, kw_only=True):
    """What one check found."""

    check: str
    status: str
    """ok, warning, problem or unknown."""
    found: str
    advice: str = ""
