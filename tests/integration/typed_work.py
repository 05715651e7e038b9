"""Functions with annotations, for jobs whose arguments and results travel as JSON."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

import msgspec
import pydantic

from naq_core import register_json_type


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Point(msgspec.Struct):
    x: int
    y: int = 0


class Money:
    """A class that msgspec does not know."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(round(100 * float(text)))


register_json_type(Money, encode=lambda money: f"{money.cents / 100:.2f}", decode=Money.parse)


class Customer(pydantic.BaseModel):
    name: str
    since: datetime


class Holder(pydantic.BaseModel):
    """Its JSON has other names than its fields, a field that is not read, and fields that are not written as they are."""

    model_config = pydantic.ConfigDict(extra="forbid")

    owner: str = pydantic.Field(alias="ownerName")
    iban: str = pydantic.Field(default="", validation_alias="IBAN", serialization_alias="Iban")
    pin: pydantic.SecretStr | None = None
    limit: int = pydantic.Field(default=100, exclude=True)

    @pydantic.computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def label(self) -> str:
        return f"{self.owner}: {self.iban}"


@dataclass
class Order:
    number: UUID
    at: datetime
    customer: Customer
    lines: dict[int, Decimal]
    price: Money
    size: Size = Size.SMALL
    tags: frozenset[str] = frozenset()
    seal: bytes = b""
    place: Point | None = None


def types_of(order: Order, *others: Order, note: str | None = None, **more: Money) -> list[str]:
    """Return the types that the arguments have when the function is called."""
    values = [order, *others, order.number, order.at, order.customer, order.lines, *order.lines, order.price, order.size]
    return [type(value).__name__ for value in (*values, order.tags, order.seal, order.place, note, *more.values())]


async def same(order: Order) -> Order:
    """Return what was given."""
    return order


def total(orders: list[Order]) -> Money:
    """Add up what other jobs return."""
    return Money(sum(order.price.cents for order in orders))


def with_account(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an argument, as decorators do that open a connection."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(Account("test"), *args, **kwargs)

    return wrapper


@dataclass
class Account:
    """Where the money comes from."""

    name: str


@with_account
def charged(account: Account, order: Order) -> list[str]:
    """Return what it was called with."""
    return [account.name, type(order).__name__]


def anything(value: Any) -> Any:
    """Return what was given, whatever it is."""
    return value


def example() -> Order:
    """Return an order with a value of each kind."""
    return Order(
        number=UUID(int=7),
        at=datetime(2026, 1, 2, 3, tzinfo=UTC),
        customer=Customer(name="Ada", since=datetime(1843, 1, 1, tzinfo=UTC)),
        lines={1: Decimal("0.1"), 2: Decimal("19.99")},
        price=Money(2009),
        size=Size.LARGE,
        tags=frozenset({"new"}),
        seal=b"\xff\x00",
        place=Point(3),
    )


def same_holder(holder: Holder) -> Holder:
    return holder
