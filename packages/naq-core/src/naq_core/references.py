"""What a setting names as `module:name`."""

import importlib
from typing import Any

from naq_core.errors import ConfigurationError


def import_reference(name: str, setting: str, source: str) -> Any:
    """Return what a name means.

    Args:
        name: `module:name`, where the second part may have dots.
        setting: Which one holds it, for errors.
        source: Where the setting was given, for errors.

    Raises:
        ConfigurationError: It cannot be imported.
    """
    module, _, rest = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in rest.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(setting, f"{name} cannot be imported: {type(error).__name__}: {error}", source) from error
    return found
