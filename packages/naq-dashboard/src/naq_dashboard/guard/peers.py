"""Where a request comes from, and under which path it came."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from urllib.parse import quote

from litestar.connection import ASGIConnection, Request
from litestar.types import Scope

from naq_dashboard.settings import DashboardSettings

__all__ = ["address_of", "base_of", "home_of", "is_from_proxy", "is_here", "parse_address"]


def address_of(request: Request[Any, Any, Any]) -> str:
    """Return where a request comes from: behind a proxy, the proxy's address."""
    return request.client.host if request.client is not None else ""


def base_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return what goes before every path of the dashboard in a link."""
    return quote(connection.scope.get("root_path", ""))


def home_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return what goes before the paths of the dashboard's own server, at which people log in for all of its servers."""
    mount: str = connection.app.state.naq_dashboard.mount
    return base_of(connection).removesuffix(mount)


def is_from_proxy(scope: Scope, settings: DashboardSettings) -> bool:
    """Whether the request comes from one of the proxies that may say who asks, and under which path."""
    client = scope.get("client")
    address = parse_address(client[0]) if client else None
    return address is not None and any(address in network for network in settings.trusted_proxies)


def is_here(scope: Scope) -> bool:
    """Whether a request comes from this machine: over loopback or a Unix socket."""
    client = scope.get("client")
    if not client or not client[0]:
        return True
    address = parse_address(client[0])
    return address is not None and address.is_loopback


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address; one of IPv4 as a server that listens on both writes it is one of IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
