"""Where the values of settings come from: argument, environment, or a secret's file.

For NAQ's own packages; may change in any release.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from naq_core._suggest import meant
from naq_core.errors import ConfigurationError, InvalidOptionError
from naq_core.secret_files import read_secret
from naq_core.values import from_system

__all__ = ["Found", "Variables", "is_service_link", "resolve"]

Found: TypeAlias = dict[str, tuple[Any, str]]
"""By setting: its value, and where that comes from (`argument`, the variable's name, a path)."""

_LINK_NAME = re.compile(r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, kw_only=True)
class Variables:
    """The environment variables of one kind of settings."""

    prefix: str
    """Before the setting's name in capitals."""
    fallbacks: Mapping[str, str] = field(default_factory=dict)
    """By setting: the variable that counts if its own is not set."""
    texts: Collection[str] = ()
    """Settings that are UTF-8 whatever the locale."""
    secrets: Collection[str] = ()
    """Settings that can also be read from a file, named by the variable with `_FILE` at its end."""

    def read(self, name: str) -> tuple[str, str] | None:
        """Return a setting's value and the variable that it comes from; an empty variable counts as unset.

        Raises:
            ConfigurationError: It is not UTF-8, or its file cannot be read or is blank.
        """
        for variable in (f"{self.prefix}{name.upper()}", self.fallbacks.get(name)):
            if variable is None:
                continue
            if (value := os.environ.get(variable)) and not is_service_link(variable, value):
                return self._text(name, value, variable), variable
            if name in self.secrets and (path := os.environ.get(f"{variable}_FILE")):
                return read_secret(name, path, f"{variable}_FILE"), f"{variable}_FILE"
        return None

    def known(self, names: Iterable[str]) -> set[str]:
        """Return every variable that these settings can come from."""
        own = {f"{self.prefix}{name.upper()}" for name in names} | set(self.fallbacks.values())
        return own | {f"{self.prefix}{name.upper()}_FILE" for name in self.secrets}

    def _text(self, name: str, value: str, variable: str) -> str:
        try:
            return from_system(value) if name in self.texts else value
        except ValueError as error:
            raise ConfigurationError(name, str(error), variable) from None


def resolve(names: Collection[str], variables: Variables, overrides: Mapping[str, object], what: str = "a setting") -> Found:
    """Return what is set, each setting on its own: by argument, else in the environment.

    Args:
        names: The settings that there are.
        overrides: Arguments; None means unset.
        what: What an error calls a setting.

    Raises:
        InvalidOptionError: There is no such setting.
        ConfigurationError: A variable cannot be read.
    """
    for name in sorted(overrides.keys() - set(names)):
        raise InvalidOptionError(name, f"is not {what}{meant(name, names)}", "argument")
    given: Found = {name: (value, "argument") for name, value in overrides.items() if value is not None}
    return {name: value for name in names if (value := given.get(name) or variables.read(name)) is not None}


def is_service_link(variable: str, value: str) -> bool:
    """Whether Kubernetes has set a variable: it does so for each Service, and one called `naq-dashboard` gets NAQ_DASHBOARD_PORT.

    Args:
        variable: Its name.
        value: Its value, such as `tcp://10.0.0.1:8080`.
    """
    return bool(_LINK_NAME.fullmatch(variable)) or (variable.endswith("_PORT") and bool(_LINK_VALUE.match(value)))
