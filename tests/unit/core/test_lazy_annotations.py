"""Annotations whose names only type checkers know.

From Python 3.14 on they are evaluated when they are read, and nobody needs `from __future__ import annotations` any more.
"""

import sys
import types
from typing import Any, get_args

import pytest

from naq_client._options import _read_parameters
from naq_client._schedule import _check_not_the_functions_own
from naq_core.decorated import annotations_of, shown_signature
from naq_core.errors import InvalidCallError, InvalidScheduleError
from naq_core.resources import Resource
from naq_core.signatures import check_call, signature_of
from naq_core.typed_json import hints_of

SOURCE = """
from typing import TYPE_CHECKING, Annotated
from naq_core.resources import resource

if TYPE_CHECKING:
    from somewhere import Order

@resource
def connection(): return "connection"

def ship(order: Order, count: int, *, all_orders: list[Order], database: Annotated[str, connection]) -> Order: ...

class Ship:
    def __init__(self, order: Order, count: int) -> None: ...
    def __call__(self, order: Order, count: int) -> Order: ...
"""


@pytest.fixture
def module() -> Any:
    """Run the source as a module that needs nothing else on the newest Python."""
    made: Any = types.ModuleType("lazy_orders")
    future = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
    exec(compile(future + SOURCE, "lazy_orders.py", "exec", dont_inherit=True), made.__dict__)
    return made


def test_an_unknown_name_hides_no_other_annotation(module: Any) -> None:
    found = annotations_of(module.ship)
    database = found.pop("database")
    assert found == {"count": int}
    assert get_args(database)[0] is str
    assert isinstance(get_args(database)[1], Resource)
    assert annotations_of(module.Ship)["count"] is int
    assert annotations_of(module.Ship("order", 1)) == {"count": int}


def test_a_call_is_checked_and_its_resource_is_known(module: Any) -> None:
    signature = signature_of(module.ship)
    assert signature is not None
    assert list(signature.parameters) == ["order", "count", "all_orders"]
    with pytest.raises(InvalidCallError, match="missing a required argument: 'count'"):
        check_call(module.ship, ["order"], {"all_orders": []})
    assert _read_parameters(module.ship) == {"order", "count", "all_orders"}
    assert list(shown_signature(module.ship).parameters) == ["order", "count", "all_orders", "database"]


def test_options_of_a_schedule_are_told_from_arguments(module: Any) -> None:
    with pytest.raises(InvalidScheduleError, match="may be an option or an argument"):
        _check_not_the_functions_own(module.ship, {"count": 1})


def test_arguments_are_converted_to_the_types_that_are_known(module: Any) -> None:
    hints = hints_of(module.ship)
    assert hints.of_argument("count") == ("count", int)
    assert hints.of_argument("order") == ("order", Any)
    assert hints.of_result is Any
