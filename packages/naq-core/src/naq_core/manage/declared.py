"""Policies of queues that a settings file declares, under `[queues.NAME]`."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from naq_core._settings_file import read_settings_file
from naq_core.errors import BrokerError, ConfigurationError
from naq_core.manage.queues import get_queue_policy, set_queue_policy
from naq_core.names import check_queue
from naq_core.queue_policy import check_policy
from naq_core.storage.connection import Connection

log = logging.getLogger(__name__)


def file_policies(start: Path | None = None) -> Mapping[str, Mapping[str, Any]]:
    """Return the parts of queues' policies that the settings file in a folder, or above it, declares, by queue.

    Raises:
        ConfigurationError: The file cannot be read, or an entry is wrong; names it.
    """
    path, values = read_settings_file(start or Path.cwd())
    tables = values.get("queues", {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise ConfigurationError("queues", "must be tables: [queues.NAME]", str(path))
    try:
        return {check_queue(queue): check_policy(table) for queue, table in tables.items()}
    except ConfigurationError as error:
        raise ConfigurationError(f"queues: {error.setting}", error.problem, str(path)) from None
    except ValueError as error:
        raise ConfigurationError("queues", str(error), str(path)) from None


async def apply_policies(connection: Connection, queues: Iterable[str], declared: Mapping[str, Mapping[str, Any]]) -> None:
    """Give queues what is declared for them; what is not, such as a limit that was set by hand, stays.

    Where it cannot be stored, as by a worker that may not, the policy stays as it is, which is logged.
    """
    for queue in set(queues).intersection(declared):
        try:
            known = await get_queue_policy(connection, queue)
            wanted = msgspec.structs.replace(known, **declared[queue])
            if wanted != known:
                await set_queue_policy(connection, queue, wanted)
        except BrokerError as error:
            log.warning("the policy of queue %s is not set as the settings file says: %s", queue, error)
