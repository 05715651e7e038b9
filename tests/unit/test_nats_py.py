"""What transport/ uses of nats-py beyond its public interface: nats-py may rename it in any release.

`packages/naq-core/pyproject.toml` bounds `nats-py`. Before the bound is raised, `hatch run newest:test` must pass: it runs this
file and the tests of the transport on the newest release.
"""

import ast
import asyncio
import inspect
import tomllib
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser

CORE = Path(__file__).parents[2] / "packages" / "naq-core"
MODULES = ("client", "lasting", "parser", "secure")

ATTRIBUTES = {
    "_current_server",
    "_error_cb",
    "_flush_queue",
    "_max_payload",
    "_max_pending_size",
    "_nkeys_seed",
    "_nuid",
    "_pending",
    "_pending_data_size",
    "_pongs",
    "_ps",
    "_reading_task",
    "_server_info",
    "_sid",
    "_status",
    "_subs",
    "_transport",
    "_user_credentials",
}
METHODS = {
    "_attempt_reconnect": "(self)",
    "_build_message": "(self, sid, subject, reply, data, headers)",
    "_close": "(self, status, do_cbs=True)",
    "_connect_to_server": "(self, s)",
    "_flush_pending": "(self, force_flush=False)",
    "_flusher": "(self)",
    "_parse_server_uri": "(connect_url)",
    "_ping_interval": "(self)",
    "_process_connect_init": "(self)",
    "_process_err": "(self, err_msg)",
    "_process_headers": "(self, headers)",
    "_process_info": "(self, info, initial_connection=False)",
    "_process_msg": "(self, sid, subject, reply, data, headers)",
    "_process_op_err": "(self, e)",
    "_process_pong": "(self)",
    "_read_loop": "(self)",
    "_remove_sub": "(self, sid, max_msgs=0)",
    "_send_ping": "(self, future=None)",
    "_setup_nkeys_connect": "(self)",
}


def private_names(module: str) -> set[str]:
    """The private names that a module of transport/ reads, sets or overrides."""
    tree = ast.parse((CORE / "src" / "naq_core" / "transport" / f"{module}.py").read_text())
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {name for name in read | defined if name.startswith("_") and not name.startswith("__")}


def signature(method: Any) -> str:
    """The parameters with their defaults, without annotations."""
    parameters = inspect.signature(method).parameters.values()
    return str(inspect.Signature([each.replace(annotation=each.empty) for each in parameters]))


def test_each_private_name_of_the_client_is_listed_and_there() -> None:
    client = Client()
    used = set().union(*map(private_names, MODULES)).intersection(dir(client))
    assert used == ATTRIBUTES | METHODS.keys()


def test_methods_that_are_called_or_overridden_take_the_same_parameters() -> None:
    assert {name: signature(inspect.getattr_static(Client, name)) for name in METHODS if name != "_parse_server_uri"} == {
        name: expected for name, expected in METHODS.items() if name != "_parse_server_uri"
    }
    assert signature(Client._parse_server_uri) == METHODS["_parse_server_uri"]


async def test_parser_subscription_and_transport_are_as_they_were() -> None:
    assert signature(Parser.parse) == "(self, data=b'')"
    parser = Parser(Client())
    assert isinstance(parser.buf, bytearray)
    assert signature(Subscription).startswith("(conn, id=0, subject=")
    assert Subscription(Client(), 7, "subject")._id == 7
    assert {"_io_reader", "_io_writer"} <= vars(TcpTransport()).keys()  # type: ignore[no-untyped-call]  # nats-py's
    assert isinstance(asyncio.StreamReader()._buffer, bytearray)  # type: ignore[attr-defined]


def test_no_other_release_of_nats_py_can_be_installed_than_one_that_was_looked_at() -> None:
    project = tomllib.loads((CORE / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["nkeys"]]
    assert [each.partition(">=")[2] for each in wanted if each.startswith("nats-py")] == ["2.16,<2.17"] * 2
