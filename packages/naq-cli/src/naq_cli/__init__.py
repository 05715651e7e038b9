"""The `naq` command; what it can do depends on the NAQ packages installed beside it."""

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Find the version when it is asked for: `naq --help` imports nothing of naq-core."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from naq_core._version import __version__ as version  # noqa: PLC0415 - as said; all distributions share it

    return version
