"""The API described in OpenAPI 3.1: our operations only, whatever application they are part of."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from http import HTTPStatus
from itertools import pairwise
from types import ModuleType
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig

from naq_core import __version__, metrics, record, views
from naq_dashboard.actions import schedules
from naq_dashboard.actions.enqueue import Order
from naq_dashboard.api import API_HANDLERS, actions, errors, queues, results
from naq_dashboard.guard.login import COOKIE

__all__ = ["METHODS", "describe", "field_texts"]

METHODS = ("get", "post", "put", "patch", "delete")
SAFE = "get"
PROBLEM = "application/problem+json"
_MODULES: tuple[ModuleType, ...] = (views, record, metrics, schedules, actions, errors, queues, results)
"""Where the structs of answers and bodies are, whose fields are documented in the source."""

TAGS = {
    "overview": "The overview's statistics.",
    "jobs": "List, show, enqueue and change jobs, one by one or by filter.",
    "errors": "Dead jobs, grouped by error.",
    "queues": "Depth, pause and limit of queues.",
    "workers": "The worker processes.",
    "schedules": "Recurring jobs.",
    "workflows": "Jobs that depend on each other.",
    "events": "Job events as they happen.",
    "audit": "Who did what, including refused actions.",
    "metrics": "Metrics over time.",
    "health": "For load balancers and orchestrators.",
}
_ANSWERS = {"200": "Success.", "201": "Created; `Location` is its address.", "202": "Begun."}
_REFUSALS = {
    "400": "A parameter or the body is invalid; see `detail` and `errors`.",
    "401": "Log in, or send a token.",
    "403": "The user is not allowed to do this, or the request comes from another site.",
    "404": "Not found.",
    "409": "The state does not allow this action.",
    "503": "NATS does not answer.",
}


def describe(base: str, *, needs_login: bool) -> dict[str, Any]:
    """Return the document for one place.

    Args:
        base: What goes before every path there; empty at the root.
        needs_login: Whether nobody comes in without credentials.
    """
    security: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}, {"session": []}]
    return {
        **_described(),
        "servers": [{"url": base or "/"}],
        "security": security if needs_login else [{}, *security],
    }


@cache
def _described() -> dict[str, Any]:
    """Return the document without what depends on where it is asked for."""
    config = OpenAPIConfig(
        title="NAQ",
        version=__version__,
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, *_: handler.handler_name,
    )
    app = Litestar(API_HANDLERS, openapi_config=config, logging_config=None)
    document = deepcopy(app.openapi_schema.to_schema())
    options = {
        (method.lower(), route.path_format): handler.opt
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            _refine(operation, method, path, options[method, path])
    schemas = document["components"]["schemas"]
    _add_fields(schemas)
    schemas["Problem"] = _PROBLEM_SCHEMA
    document["components"] |= {"responses": _responses(), "securitySchemes": _SECURITY}
    document["info"]["description"] = (
        "The dashboard's operations. Documents are those that `naq … --json` prints. Errors are problem documents (RFC 9457)."
    )
    used = {tag: "" for item in document["paths"].values() for operation in item.values() for tag in operation["tags"]}
    texts = {name: text for name, text in TAGS.items() if name in used}
    document["tags"] = [{"name": name, "description": text} for name, text in (texts | {**used, **texts}).items()]
    return document


def _refine(operation: dict[str, Any], method: str, path: str, opt: Mapping[str, Any]) -> None:
    """Say in an operation what Litestar cannot know."""
    text = " ".join(operation.get("description", "").partition("Raises:")[0].split())
    summary, _, operation["description"] = text.partition(". ")
    operation["summary"] = summary.removesuffix(".")
    action = opt.get("action")
    if action is not None:
        operation["x-naq-action"] = str(action)
    operation.pop("deprecated", None)
    for parameter in operation.get("parameters", ()):
        for name in ("deprecated", "allowEmptyValue", "allowReserved"):
            parameter.pop(name, None)
        schema = parameter["schema"]
        schema.pop("description", None)
        kept, _ = _without_null({"oneOf": schema.pop("oneOf", ())})
        schema |= kept if "oneOf" not in kept or kept["oneOf"] else {}
    body = operation.get("requestBody")
    if body is not None:
        for content in body["content"].values():
            schema, is_optional = _without_null(content["schema"])
            content["schema"] = schema
            body["required"] = not is_optional
            example = _EXAMPLES.get(operation["operationId"])
            if example is not None:
                content["example"] = example
    operation["responses"] = {code: each for code, each in operation["responses"].items() if code[0] in "123"}
    for code, response in operation["responses"].items():
        response.pop("headers", None)
        if response["description"] == HTTPStatus(int(code)).description:  # Litestar's, as the handler does not say
            response["description"] = _ANSWERS.get(code, response["description"])
    operation["responses"] |= {
        code: {"$ref": f"#/components/responses/{code}"}
        for code in _refusals(operation, method, path, public=bool(opt.get("public")))
    }
    if opt.get("public"):
        operation["security"] = []


def _refusals(operation: Mapping[str, Any], method: str, path: str, *, public: bool) -> Iterator[str]:
    if public:
        return
    yield "400"
    yield "401"
    if method != SAFE:
        yield "403"
    if "{" in path:
        yield "404"
    if method != SAFE and "{" in path:
        yield "409"
    if operation.get("tags") != ["workers"] or "{" in path:
        yield "503"


def _without_null(schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return a schema without the alternative of null, and whether it had it."""
    options = schema.get("oneOf", ())
    kept = [each for each in options if each.get("type") != "null"]
    return (kept[0], True) if len(kept) == 1 and len(options) == 2 else (schema, False)


def _responses() -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {code: {"description": text, "content": content} for code, text in _REFUSALS.items()}


def _add_fields(schemas: dict[str, Any]) -> None:
    """Add what the source says of structs and their fields."""
    for name, kind in _structs().items():
        schema = schemas.get(name)
        if schema is None:
            continue
        schema["description"] = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        for base in reversed(kind.__mro__):
            for field, text in field_texts(base).items():
                found = schema.get("properties", {}).get(field)
                if found is not None:
                    found["description"] = text
        if issubclass(kind, Order):
            for each in kind.__struct_fields__:
                if option := kind.TABLE.get(each):
                    schema["properties"][each] = {**option.kind.schema, "description": option.described}


def _structs() -> dict[str, type[msgspec.Struct]]:
    return {
        name: value
        for module in _MODULES
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, msgspec.Struct)
    }


def field_texts(kind: type) -> dict[str, str]:
    """Return the string that follows each field of a class in the source; none where there is no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, text in pairwise(body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as words)):
                found[name] = re.sub(r"\bNone\b", "null", " ".join(words.split()))
            case _:
                pass
    return found


_EXAMPLES: dict[str, dict[str, Any]] = {
    "enqueue_job": {"function": "shop.mail:send", "args": ["ada@example.org"], "queue": "mail", "delay": "5m"},
    "cancel_job": {"reason": "no longer needed"},
    "reschedule_job": {"duration": "2h"},
    "begin_bulk": {"action": "retry", "filter": "state:dead queue:mail since:2h", "expect_count": 100},
    "pause_queue": {"duration": "1h"},
    "limit_queue": {"limit": 3},
    "policy_queue": {"key_limit": 3, "rate": "10/s", "weights": {"vip": 3}},
    "resize_worker": {"concurrency": 20},
    "purge_queue": {"confirm": "QUEUE"},
    "create_schedule": {
        "function": "shop.mail:digest",
        "schedule_id": "digest",
        "cron": "30 9 * * mon-fri",
        "timezone": "Europe/Berlin",
    },
    "edit_schedule": {"cron": "0 10 * * mon-fri"},
    "send_signal": {"data": {"approved": True}},
    "cancel_workflow": {"reason": "wrong month"},
}
"""What stands in the `curl` lines: a body that means something."""
_PROBLEM_SCHEMA = {
    "title": "Problem",
    "description": "A problem document (RFC 9457).",
    "type": "object",
    "required": ["type", "status", "title", "detail"],
    "properties": {
        "type": {"type": "string", "description": "Always `about:blank`; `title` and `detail` describe the problem."},
        "status": {"type": "integer"},
        "title": {"type": "string"},
        "detail": {"type": "string", "description": "What is wrong, and how to fix it."},
        "errors": {
            "type": "array",
            "description": "The invalid parameters or fields, one entry each.",
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "in": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`NAQ_DASHBOARD_TOKEN`, or `_READ_TOKEN` for reading."},
    "basic": {"type": "http", "scheme": "basic", "description": "Name and password of a user."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "The cookie that a browser gets at login."},
}
