"""Telling another program by HTTP how a job has ended: a callback that is signed as Standard Webhooks describes.

`on_success=webhook("https://example.org/hooks")`; `docs/callbacks.md` says what is sent and how it is verified. The standard
library is enough: one POST needs no pool of connections, and its proxies (`HTTPS_PROXY`) and certificates are the system's. It
blocks, so it is a plain function, which runs in a thread.
"""

import base64
import hmac
import http.client
import ssl
import time
from email.utils import parsedate_to_datetime
from typing import Any, Unpack
from urllib.parse import SplitResult, urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

import msgspec

from naq_core._settings_values import webhook_key
from naq_core._version import __version__
from naq_core.callback_option import EVENTS
from naq_core.context import current_job
from naq_core.control import Retry
from naq_core.envelope import Callback
from naq_core.errors import ConfigurationError, InvalidOptionError, WebhookError, WebhookRefusedError
from naq_core.names import check_queue
from naq_core.option_set import OptionSet
from naq_core.options import RUN_OPTIONS, RunOptions, check_names
from naq_core.outcome import JobOutcome
from naq_core.settings import Settings
from naq_core.values import exact_text

__all__ = ["send", "signature", "webhook"]

NAME = "naq_core.webhook:send"
TIMEOUT = 15.0
"""Seconds that each step of a request may take: connecting, sending, waiting for the answer."""
LONGEST_BODY = 256 * 1024
"""Bytes; a longer one is sent without the result."""
LONGEST_URL = 2048
SHORTEST_WAIT = 1.0
LONGEST_WAIT = 24 * 3600.0
"""Seconds between which a `Retry-After` is followed."""
BUSY = frozenset({408, 425, 429})
"""Statuses below 500 after which another try may succeed."""


def webhook(url: str, *, queue: str | None = None, **options: Unpack[RunOptions]) -> Callback:
    """Return a callback that posts the outcome of a job to a URL.

    Args:
        url: With `https://` or `http://`. Those who may see the job see it, so it must not contain a secret.
        queue: Where it is enqueued; by default the queue of the job.
        options: How it is run, such as `max_retries`; by default 7 retries within a day and a half.

    Raises:
        InvalidOptionError: The URL cannot be posted to, or an option is wrong.
    """
    _checked(url)
    check_names(options, RUN_OPTIONS.difference(EVENTS), "a webhook")
    given = OptionSet(options)
    return Callback(
        NAME,
        "json",
        msgspec.json.encode([[None, url], {}]),
        queue="" if queue is None else check_queue(queue),
        args=repr(url),
        opt=given.job,
        given=given.worker_options,
    )


def send(outcome: JobOutcome, url: str) -> int:
    """Post an outcome, and return the status of the answer, which is from 200 to 299. The task behind `webhook`.

    Raises:
        Retry: The receiver has said when to try again (`Retry-After`).
        WebhookError: It cannot be reached, or has failed; to be tried again.
        WebhookRefusedError: It does not want the request: a status of 300 or more that another try would not change.
        ConfigurationError: This process has no `NAQ_WEBHOOK_SECRET`. InvalidOptionError: The URL cannot be posted to.
    """
    secrets = Settings.load().webhook_secret
    if not secrets:
        raise ConfigurationError("webhook_secret", "is needed to sign webhooks: set NAQ_WEBHOOK_SECRET where the workers run")
    where = _checked(url).netloc
    body = _body(outcome)
    at, job_id = int(time.time()), current_job().job_id
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"NAQ/{__version__}",
        "webhook-id": job_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signature(secret, job_id, at, body) for secret in secrets),
    }
    try:
        with _opener().open(Request(url, body, headers, method="POST"), timeout=TIMEOUT) as answer:  # noqa: S310 - http or https
            status, wait = int(answer.status), _retry_after(answer.headers.get("Retry-After"))
    except (OSError, http.client.HTTPException) as error:  # what the receiver says is not told: it may be an internal service
        raise WebhookError(f"{where} cannot be reached: {getattr(error, 'reason', None) or error!r}") from None
    if 200 <= status < 300:
        return status
    problem = f"{where} answered {status} {http.client.responses.get(status, '')}".rstrip()
    if status < 500 and status not in BUSY:
        raise WebhookRefusedError(problem + ("; redirects are not followed: use the new address" if status < 400 else ""))
    if wait is not None:
        raise Retry(wait, f"{problem}, and to try again after {wait:g} s")
    raise WebhookError(problem)


def signature(secret: str, message_id: str, at: int, body: bytes) -> str:
    """Return a signature of Standard Webhooks: HMAC-SHA256 over id, time and body, of a secret `whsec_…`."""
    digest = hmac.digest(webhook_key(secret), f"{message_id}.{at}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def _body(outcome: JobOutcome) -> bytes:
    data = outcome.as_dict()
    message = {"type": f"job.{outcome.state}", "timestamp": data["ended_at"], "data": data}
    body = msgspec.json.encode(message)
    if len(body) > LONGEST_BODY:
        data["result"] = None
        body = msgspec.json.encode(message)
    if len(body) <= LONGEST_BODY:
        return body
    raise WebhookRefusedError(f"the outcome takes {len(body):,} bytes without its result: at most {LONGEST_BODY:,} are sent")


def _checked(url: Any) -> SplitResult:
    text = exact_text(url)
    problem = "is not an address"
    if text is not None and len(text) <= LONGEST_URL and text.isascii() and text.isprintable() and " " not in text:
        try:
            parts = urlsplit(text)
            if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
                if "@" not in parts.netloc:
                    return parts
                problem = "must not hold a user or a password, which everybody who sees the job would see"
        except ValueError:
            pass
    shown = "the URL" if "@" in str(url) else repr(url)[:200]
    raise InvalidOptionError("url", f"{shown} {problem}: use https://host/path")


def _opener() -> OpenerDirector:
    """Return what posts: over HTTP and HTTPS only, through the proxies of the environment, and without following redirects."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler(context=ssl.create_default_context())):
        opener.add_handler(handler)
    return opener


def _retry_after(value: str | None) -> float | None:
    """Return the seconds that a `Retry-After` asks for (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        wait = float(int(value)) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(wait, SHORTEST_WAIT), LONGEST_WAIT)


# What `@task` of naq-client does: a worker gives these options to jobs that name the function.
send.__naq_function__ = send  # type: ignore[attr-defined]
send.__naq_options__ = OptionSet(  # type: ignore[attr-defined]
    {
        "max_retries": 7,
        "retry_delay": [5, 300, 1800, 7200, 18_000, 36_000, 50_400],
        "max_delay": LONGEST_WAIT,
        "jitter": True,
        "timeout": 120,
        "ignore_on": [WebhookRefusedError, ConfigurationError],
    }
)
