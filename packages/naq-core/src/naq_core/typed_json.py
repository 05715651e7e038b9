"""Typed JSON: values are written as what they are, and read as what the function's annotations say.

msgspec knows dataclasses, its own structs, dates, UUIDs, decimals, enumerations, bytes and sets. Pydantic models are converted
where the program has imported pydantic; `register_json_type` adds other classes.
"""

import functools
import inspect
import json
import sys
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import msgspec

from naq_core.batch_form import item_face
from naq_core.decorated import VARIADIC, annotations_of, face_of
from naq_core.errors import DecodeError, EncodeError
from naq_core.resources import without_resources

T = TypeVar("T")

ANY: Any = Any
_RETURN = "return"
_PLAIN = frozenset({str, int, float, bool})

_types: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {}
_hints: "WeakKeyDictionary[Callable[..., Any], Hints]" = WeakKeyDictionary()


def register_json_type(kind: type[T], *, encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
    """Teach the JSON serializer another class; to be called where the class is defined, so that both sides know it.

    Args:
        kind: The class; its subclasses are not included.
        encode: Turns an instance into something that JSON or msgspec knows.
        decode: Turns that, as read from JSON, into an instance; a `ValueError` says why it cannot.
    """
    _types[kind] = (encode, decode)


def _pydantic_model() -> Any:
    """Return pydantic's base class, or an empty tuple where the program does not use it."""
    module = sys.modules.get("pydantic")
    return () if module is None else module.BaseModel


def _dump_model(model: Any) -> Any:
    """Return a pydantic model as JSON knows it, by the names of its fields.

    Raises:
        TypeError: It would arrive as another one: a `SecretStr` is written as asterisks, and an excluded field not at all.
        ValueError: It would be refused.
    """
    plain = model.model_dump(mode="json", by_alias=False, round_trip=True)
    again = _load_model(type(model), plain)
    fields = [*type(model).model_fields, *(model.model_extra or ())]
    if changed := [each for each in fields if getattr(again, each, None) != getattr(model, each, None)]:
        raise TypeError(
            f"{type(model).__qualname__} loses the value of {', '.join(changed)}; a field_serializer can write it, "
            "or pass a reference to it"
        )
    return plain


def _load_model(kind: Any, plain: Any) -> Any:
    return kind.model_validate_json(msgspec.json.encode(plain), **_names())


@functools.cache
def _names() -> dict[str, bool]:
    """Return what has pydantic, from 2.11 on, read fields by their names, too."""
    takes_names = "by_name" in inspect.signature(_pydantic_model().model_validate_json).parameters
    return {"by_name": True, "by_alias": True} if takes_names else {}


def _encode_hook(value: Any) -> Any:
    if (known := _types.get(type(value))) is not None:
        return known[0](value)
    if isinstance(value, _pydantic_model()):
        return _dump_model(value)
    raise TypeError(f"objects of type {type(value).__qualname__} cannot be written as JSON; see naq_core.register_json_type")


def _decode_hook(kind: type, value: Any) -> Any:
    if (known := _types.get(kind)) is not None:
        return known[1](value)
    if (model := _pydantic_model()) and issubclass(kind, model):
        return _load_model(kind, value)
    if isinstance(value, kind):
        return value
    raise ValueError(f"cannot become a {kind.__qualname__}; see naq_core.register_json_type")


def encode_json(value: Any, what: str) -> bytes:
    """Write a value as JSON.

    Raises:
        EncodeError: It has no faithful JSON form: an unknown class, NaN or infinity, an integer above 64 bits.
    """
    try:
        data = msgspec.json.encode(value, enc_hook=_encode_hook)
        if b"null" in data:  # which is also what msgspec makes of NaN and infinity
            _check_finite(value)
    except Exception as error:
        raise EncodeError(f"{what} cannot be written as JSON: {error}") from error
    return data


def _check_finite(value: Any) -> None:
    plain = msgspec.to_builtins(value, enc_hook=_encode_hook, str_keys=True)
    try:
        json.dumps(plain, allow_nan=False)
    except ValueError:
        raise ValueError("NaN and infinity are not valid JSON") from None


class Hints:
    """The annotations of a function, as far as JSON can be converted to them.

    An annotation that cannot be resolved (a name that only type checkers import) or that msgspec does not know (a protocol, a
    callable) stands for any value.
    """

    __slots__ = ("_by_name", "_keywords", "_positions", "_required", "_rest", "is_wrapped")

    def __init__(self, function: Callable[..., Any]) -> None:
        try:
            function, signature, self.is_wrapped = face_of(function)
        except Exception:  # noqa: BLE001 - a function in C; or it evaluates what users wrote
            signature, self.is_wrapped = inspect.Signature(), False
        parameters = list(without_resources(function, signature).parameters.values())
        annotations = annotations_of(function) | _said(function, signature)
        self._required = {each.name for each in parameters if each.default is each.empty and each.kind not in VARIADIC}
        returns = ANY if inspect.isclass(function) else annotations.get(_RETURN, ANY)
        self._by_name: dict[str, Any] = {_RETURN: _usable(returns)}
        self._positions: list[str] = []
        self._rest = ""
        self._keywords = ""
        for each in parameters:
            kind = _usable(annotations.get(each.name, ANY))
            if each.default is None and kind is not ANY:
                kind = typing.Optional[kind]  # noqa: UP045 - of whatever kind it is
            self._by_name[each.name] = kind
            if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}:
                self._positions.append(each.name)
            elif each.kind is each.VAR_POSITIONAL:
                self._rest = each.name
            elif each.kind is each.VAR_KEYWORD:
                self._keywords = each.name

    def of_argument(self, at: int | str) -> tuple[str, Any]:
        """Return name and type of the argument at a position or of a keyword."""
        if isinstance(at, int):
            name = self._positions[at] if at < len(self._positions) else self._rest
        else:
            name = at if at in self._by_name else self._keywords
        return name or str(at), self._by_name.get(name, ANY)

    def offsets(self, count: int, keywords: Collection[str]) -> list[int]:
        """Return how many arguments a wrapper may put before those that it is given, the likeliest number first.

        Args:
            count: How many positional arguments there are.
            keywords: Names of the others.
        """
        if not (self._keywords or self._by_name.keys() - {_RETURN} >= set(keywords)):
            return []
        room = len(self._positions) - count
        if room < 0:
            return [0] if self._rest else []

        def missing(offset: int) -> int:
            return len(self._required.difference(self._positions[: offset + count], keywords))

        free = [offset for offset in range(room + 1) if not {*self._positions[: offset + count]}.intersection(keywords)]
        return sorted(free, key=missing)

    @property
    def of_result(self) -> Any:
        """The type of the result."""
        return self._by_name[_RETURN]


def hints_of(function: Callable[..., Any]) -> Hints:
    """Return the annotations of a function, looked up once."""
    try:
        found = _hints.get(function)
    except TypeError:  # not hashable, or not to be referred to weakly
        return Hints(function)
    if found is None:
        found = _hints[function] = Hints(item_face(function))
    return found


def _said(function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """Return the annotations of a signature that was set as `__signature__`."""
    if "__signature__" not in getattr(function, "__dict__", {}):
        return {}
    found = {each.name: each.annotation for each in signature.parameters.values()} | {_RETURN: signature.return_annotation}
    return {name: each for name, each in found.items() if each is not inspect.Parameter.empty and not isinstance(each, str)}


def _usable(annotation: Any) -> Any:
    """Return the annotation where msgspec can convert to it, else `ANY`."""
    if annotation is ANY or annotation is inspect.Parameter.empty:
        return ANY
    try:
        msgspec.convert(object(), annotation, dec_hook=_decode_hook)
    except msgspec.ValidationError:
        pass  # the annotation is understood; the object does not fit
    except Exception:  # noqa: BLE001 - msgspec raises TypeError, and what foreign classes raise
        return ANY
    return ANY if getattr(annotation, "_is_protocol", False) else annotation


def convert_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], open_at: Collection[int | str] = ()
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn arguments as read from JSON into what the function's annotations say.

    Args:
        function: What will be called with them. Where it is a wrapper of `*args` and `**kwargs` (`functools.wraps`), the
            annotations are those of what it wraps, which may have more parameters in front, for arguments that the wrapper adds.
            What fits in no place is refused; what cannot be arguments of the wrapped function at all is left as it is.
        args: Positional ones.
        kwargs: Keyword ones.
        open_at: Positions and keywords that are left as they are, as their values are still to come.

    Raises:
        DecodeError: One does not fit; names it and where in it.
    """
    hints = hints_of(function)
    if not hints.is_wrapped:
        return _converted(hints, args, kwargs, open_at)
    misfit: DecodeError | None = None
    for offset in hints.offsets(len(args), kwargs):
        try:
            return _converted(hints, args, kwargs, open_at, offset)
        except DecodeError as error:
            misfit = misfit or error
    if misfit is not None:
        raise DecodeError(f"{misfit}. If its decorator takes other arguments, set __signature__ on what it returns") from misfit
    return tuple(args), dict(kwargs)


def _converted(
    hints: Hints, args: Sequence[Any], kwargs: Mapping[str, Any], open_at: Collection[int | str], offset: int = 0
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return (
        tuple(_convert(value, hints, at + offset) if at not in open_at else value for at, value in enumerate(args)),
        {name: _convert(value, hints, name) if name not in open_at else value for name, value in kwargs.items()},
    )


def _convert(value: Any, hints: Hints, at: int | str) -> Any:
    name, kind = hints.of_argument(at)
    return value if kind is ANY else _as(value, kind, f"argument {name!r}")


def convert_result(function: Callable[..., Any], value: Any) -> Any:
    """Turn a result as read from JSON into what the function's annotation says.

    Raises:
        DecodeError: It does not fit; except for a wrapper of `*args` and `**kwargs`, which may return something else.
    """
    hints = hints_of(function)
    try:
        return value if hints.of_result is ANY else _as(value, hints.of_result, "the result")
    except DecodeError:
        if hints.is_wrapped:
            return value
        raise


def _as(value: Any, kind: Any, what: str) -> Any:
    if type(value) is kind and kind in _PLAIN:
        return value
    try:
        return msgspec.convert(value, kind, dec_hook=_decode_hook, str_keys=True)
    except (msgspec.ValidationError, RecursionError) as error:
        raise DecodeError(f"{what} does not fit its annotation: {error}") from error
