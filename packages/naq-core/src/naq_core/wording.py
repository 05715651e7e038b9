"""Numbers, durations and sizes as people read them, in the command line, the dashboard and messages."""

__all__ = ["counted", "exact_span", "size", "span", "were"]

_SPANS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: 0 jobs, 1 job, 1,204 jobs. The plural of the noun must be formed with an s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def were(count: int) -> str:
    """Return the verb of a sentence that begins with that number."""
    return "was" if count == 1 else "were"


def span(seconds: float) -> str:
    """Return a duration in at most two units: `340ms`, `12s`, `5m`, `2h 5m`, `3d 4h`; a negative one is `0s`."""
    if seconds <= 0:
        return "0s"
    if seconds < 0.001:
        return "<1ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    rest = round(seconds)
    parts = []
    for length, unit in _SPANS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    # Seconds beside minutes say little of something that is minutes old.
    return parts[0] if len(parts) > 1 and parts[1].endswith("s") else " ".join(parts[:2])


def exact_span(seconds: float) -> str:
    """Return a duration exactly, as settings and forms read it: `7d`, `90s`, `0.5s`."""
    for length, unit in _SPANS[:-1]:
        if seconds and seconds % length == 0:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds) if float(seconds).is_integer() else seconds}s"


def size(count: float) -> str:
    """Return a number of bytes in binary units, as NATS and the settings have them: `512 B`, `1.5 KiB`, `20 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
