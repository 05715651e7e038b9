"""Credentials: checked before nats-py reads them, named in errors without ever being shown."""

import importlib
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from naq_core.errors import AuthenticationError, BrokerUnavailableError, ConfigurationError, TlsNotOfferedError
from naq_core.settings import Settings, redact_url
from naq_core.transport.secure import PlainTextServerError
from naq_core.values import utf8

_REFUSALS = ("authorization violation", "authentication timeout", "authentication expired", "authentication revoked")
_TLS_FILES = ("nats_tls_ca", "nats_tls_cert", "nats_tls_key")
SHORTEST_SECRET = 3
"""Characters from which on a secret is looked for in foreign texts: a shorter one is a part of every other word."""
_GIVEN = ("nats_user", "nats_password", "nats_token", "nats_creds", "nats_nkey", "nats_tls_cert")


def check_credentials(settings: Settings) -> None:
    """Check the files of credentials and seeds; nats-py would fail on them in odd ways, or never stop reading.

    Raises:
        ConfigurationError: A file cannot be read or is not what it should be, or the package `nkeys` is missing.
    """
    for name in ("nats_creds", "nats_nkey"):
        path = getattr(settings, name)
        if path is None:
            continue
        source = settings.source(name)
        try:
            nkeys: Any = importlib.import_module("nkeys")
        except ImportError as error:
            raise ConfigurationError(name, 'needs the package nkeys: pip install "naq-core[nkeys]"', source) from error
        try:
            text = utf8(Path(path).read_bytes())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(name, f"{path} cannot be read: {reason}", source) from None
        if name == "nats_creds":
            if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
                raise ConfigurationError(name, f"{path} is not a credentials file: it has no user JWT and seed", source)
            continue
        is_seed = True
        try:
            nkeys.from_seed(bytearray(text.strip().encode())).wipe()
        except Exception:  # noqa: BLE001 - whatever is wrong with it
            is_seed = False
        if not is_seed:  # raised here, for the error before might show the seed
            raise ConfigurationError(name, f"{path} does not contain an NKey seed", source)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context of the settings; None leaves TLS to the address (`tls://`) and the server.

    Raises:
        ConfigurationError: A file cannot be loaded.
    """
    if not settings.nats_tls_ca and not settings.nats_tls_cert:
        if settings.nats_tls_key:
            raise ConfigurationError("nats_tls_key", "requires nats_tls_cert", settings.source("nats_tls_key"))
        return None
    try:
        context = ssl.create_default_context(cafile=settings.nats_tls_ca)
        if settings.nats_tls_cert:
            context.load_cert_chain(settings.nats_tls_cert, settings.nats_tls_key)
    except (OSError, ValueError) as error:
        raise ConfigurationError("nats_tls_ca, nats_tls_cert, nats_tls_key", f"cannot load the TLS files: {error}") from error
    return context


def server_addresses(settings: Settings) -> list[str]:
    """Return the addresses, with their schemes in lower case: nats-py does not know others."""
    addresses = []
    for each in settings.nats_url.split(","):
        scheme, mark, rest = each.strip().rpartition("://")
        addresses.append(f"{scheme.lower()}{mark}{rest}")
    return addresses


def wants_tls(settings: Settings) -> bool:
    """Whether the settings ask for TLS: any address of `tls://` or `wss://`, or any file for TLS.

    Raises:
        ConfigurationError: An address of `ws://` is among them, which has no TLS.
    """
    schemes = {each.partition("://")[0] for each in server_addresses(settings) if "://" in each}
    wanted = bool(schemes & {"tls", "wss"}) or any(getattr(settings, name) for name in _TLS_FILES)
    if wanted and "ws" in schemes:
        raise ConfigurationError("nats_url", "ws:// has no TLS, but TLS was requested: use wss://", settings.source("nats_url"))
    return wanted


def _asks_for_tls(settings: Settings) -> str:
    """Name the settings that ask for TLS, and where they come from."""
    asking = ["nats_url", *(name for name in _TLS_FILES if getattr(settings, name))]
    if not any(each.startswith(("tls://", "wss://")) for each in server_addresses(settings)):
        asking.remove("nats_url")
    return ", ".join(f"{name} from {settings.source(name)}" for name in asking)


def is_refusal(error: BaseException | None) -> bool:
    """Whether the server refused the credentials: trying again will not help."""
    return error is not None and any(each in str(error).lower() for each in _REFUSALS)


def cannot_connect(settings: Settings, error: BaseException) -> BrokerUnavailableError:
    """Return the exception for a connection that could not be made."""
    url = redact_url(settings.nats_url)
    if isinstance(error, PlainTextServerError):
        return TlsNotOfferedError(url, _asks_for_tls(settings))
    if is_refusal(error):
        return AuthenticationError(url, _given(settings))
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        return BrokerUnavailableError(url, f"TLS failed: {reason} (NAQ_NATS_TLS_CA, NAQ_NATS_TLS_CERT and NAQ_NATS_TLS_KEY)")
    return BrokerUnavailableError(url, without_secrets(settings, reason_of(error)))


def reason_of(error: BaseException | None) -> str:
    """Return an error in words."""
    if error is None:
        return "no reason given"
    if isinstance(error, TimeoutError):
        return str(error) or "no answer in time"
    return str(error) or type(error).__name__


def without_secrets(settings: Settings, text: str) -> str:
    """Return a text of somebody else's, such as a library's message, without the secrets of the settings."""
    secrets = [settings.nats_password, settings.nats_token, *settings.signing_key]
    for address in settings.nats_url.split(","):
        authority, _, query = address.partition("://")[2].partition("?")
        user = authority.rpartition("@")[0]
        secrets += [query, user, user.partition(":")[2], *(value.partition("=")[2] for value in query.split("&"))]
    for secret in sorted({each for each in secrets if each and len(each) >= SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(secret, "***").replace(unquote(secret), "***")
    return text


def _given(settings: Settings) -> str:
    """Name the credentials that were used, and where they came from."""
    given = [f"{name} from {settings.source(name)}" for name in _GIVEN if getattr(settings, name)]
    if any("@" in part for part in settings.nats_url.split(",")):
        given.append(f"those in nats_url from {settings.source('nats_url')}")
    return ", ".join(given)
