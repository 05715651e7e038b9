"""The text format of Prometheus, version 0.0.4, for processes that answer with their own counters."""

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence

from naq_core._version import __version__

Labels = Mapping[str, str]


def family(name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    """Yield the lines of one metric.

    Args:
        name: With `_total` if it is a counter.
        kind: counter or gauge.
        about: A sentence.
        samples: Labels and values.
    """
    yield from _head(name, kind, about)
    for labels, value in samples:
        yield _line(name, labels, value)


def histogram(
    name: str, about: str, bounds: Sequence[float], samples: Iterable[tuple[Labels, Sequence[int], float]]
) -> Iterator[str]:
    """Yield the lines of a histogram.

    Args:
        name: Of the metric.
        about: A sentence.
        bounds: The upper bounds, in ascending order.
        samples: Labels, how many values there are in each class (one more than bounds), and the sum of the values.
    """
    yield from _head(name, "histogram", about)
    for labels, counts, total in samples:
        seen = 0
        for bound, count in zip((*bounds, "+Inf"), counts, strict=True):
            seen += count
            yield _line(f"{name}_bucket", {**labels, "le": str(bound)}, seen)
        yield _line(f"{name}_sum", labels, total)
        yield _line(f"{name}_count", labels, seen)


def build_info() -> Iterator[str]:
    """Yield the lines of `naq_build_info`."""
    labels = {"version": __version__, "python": platform.python_version()}
    yield from family("naq_build_info", "gauge", "The versions of NAQ and Python.", [(labels, 1)])


def _head(name: str, kind: str, about: str) -> Iterator[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"


def _line(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
    number = str(value) if isinstance(value, int) else f"{value:.10g}"
    return f"{name}{{{shown}}} {number}" if shown else f"{name} {number}"


def escaped(text: str) -> str:
    """Return the value of a label as it is written between quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
