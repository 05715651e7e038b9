"""The server and what NAQ keeps on it."""

from typing import Any

from naq_core.storage.connection import Connection
from naq_core.storage.server_info import list_streams, round_trip, server_facts
from naq_core.views import BrokerView


async def broker_info(connection: Connection) -> BrokerView:
    """Return the connected server, the length of a round trip to it, and the namespace's streams and buckets."""
    facts = server_facts(connection)
    return BrokerView(
        url=connection.url,
        server=facts.get("server_name", ""),
        version=facts.get("version", ""),
        cluster=facts.get("cluster", ""),
        rtt=await round_trip(connection),
        namespace=connection.settings.namespace,
        streams=[_stream(info) for info in await list_streams(connection)],
    )


def _stream(info: dict[str, Any]) -> dict[str, Any]:
    state = info["state"]
    return {
        "name": info["config"]["name"],
        "messages": state["messages"],
        "bytes": state["bytes"],
        "replicas": info["config"]["num_replicas"],
        "leader": (info.get("cluster") or {}).get("leader", ""),
        "first_sequence": state["first_seq"],
        "last_sequence": state["last_seq"],
    }
