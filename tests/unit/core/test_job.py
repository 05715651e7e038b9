import functools
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from naq_core import DecodeError, EncodeError, InvalidNameError, Job, UnknownTaskError
from naq_core.envelope import WIRE_VERSION, decode_envelope
from naq_core.errors import ConfigurationError, UnknownWireVersionError
from naq_core.functions import allowed_function, import_function, rules_for_child
from naq_core.names import new_id
from naq_core.previews import clean_text, preview
from naq_core.serialization import Call, decode_call, encode_call, encode_result


async def test_a_job_survives_its_wire_form() -> None:
    job: Job[tuple[int, int]] = Job(
        functools.partial(divmod, 7), (2,), max_retries=3, retry_delay=[1, 5], job_id="mine", timeout=9
    )

    again = Job.deserialize(job.serialize())

    assert (
        again.job_id,
        again.args,
        again.kwargs,
        again.max_retries,
        again.retry_delay,
        again.options.timeout,
    ) == ("mine", (2,), {}, 3, (1.0, 5.0), 9.0)
    assert await again.execute() == (3, 1)


async def test_execute_awaits_async_functions_and_knows_names() -> None:
    async def double(x: int) -> int:
        return 2 * x

    assert await Job(double, (2,)).execute() == 4
    assert await Job("json:dumps", ([1],)).execute() == "[1]"


def test_an_importable_function_travels_by_name_and_a_closure_by_value() -> None:
    offset = 3

    by_name = encode_call(json.dumps, ([1],), {}, "pickle")
    by_value = encode_call(lambda x: x + offset, (4,), {}, "pickle")

    assert (by_name.function, by_name.by_value) == ("json:dumps", False)
    function, args, _ = decode_call(by_value, "pickle")
    assert function(*args) == 7


def test_json_mode_never_unpickles_and_asks_the_allow_list() -> None:
    pickled = encode_call(json.dumps, ([1],), {}, "pickle")
    plain = encode_call(json.dumps, ([1],), {}, "json")

    with pytest.raises(DecodeError, match="does not accept"):
        decode_call(pickled, "json", ("json:*",))
    with pytest.raises(UnknownTaskError, match="NAQ_ALLOWED_FUNCTIONS"):
        decode_call(plain, "json")
    assert json.dumps is decode_call(plain, "json", ("json:*",))[0]
    with pytest.raises(EncodeError, match="import path"):
        encode_call(lambda: 1, (), {}, "json")


@pytest.mark.parametrize(
    ("name", "rule", "allowed"),
    [
        ("tests.support.hostile:harmless", "tests.support.hostile:harmless", True),
        ("tests.support.hostile:harmless", "tests.support.hostile:*", True),
        ("tests.support.hostile:harmless", "tests.support.*", True),
        ("tests.support.hostile:harmless", "tests.*", True),
        ("tests.support.hostile:Mark.arguments", "tests.support.hostile:*", True),
        ("tests.support.hostile:harmless", "tests.support.hostil:*", False),
        ("tests.support.hostile:harmless", "tests.sup.*", False),
        ("tests.support.hostile:harmless", "tests.support.hostile:other", False),
        ("tests.support.hostile:os.makedirs", "tests.support.hostile:*", False),
        ("tests.support.hostile:os.makedirs", "tests.*", False),
        ("tests.support.hostile:pickle.loads", "tests.support.hostile:*", False),
        ("tests.support.hostile:harmless.__call__", "tests.support.hostile:*", False),
        ("tests.support.hostile:Mark.__subclasses__", "tests.support.hostile:*", False),
        ("tests.support.hostile:__loader__.exec_module", "tests.support.hostile:*", False),
        ("os:makedirs", "tests.support.hostile:*", False),
        ("os:makedirs", "os:makedirs", True),
    ],
)
def test_the_allow_list(name: str, rule: str, allowed: bool) -> None:
    importlib.import_module("tests.support.hostile")  # a rule for a package asks whether the module is imported
    assert allowed is (allowed_function(name, (rule,)) is not None)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package on disk, of which importing `danger` leaves a mark."""
    package, mark = tmp_path / "naqshop", tmp_path / "mark"
    package.mkdir()
    lazy = "import importlib\ndef __getattr__(name):\n    return importlib.import_module('naqshop.' + name)\n"
    (package / "__init__.py").write_text(f"import naqshop.tasks\n{lazy}", encoding="utf-8")
    (package / "tasks.py").write_text("def greet():\n    return 'hello'\n", encoding="utf-8")
    (package / "later.py").write_text("def greet():\n    return 'later'\n", encoding="utf-8")
    (package / "danger.py").write_text(f"open({str(mark)!r}, 'w').close()\ndef run():\n    pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield mark
    for name in [each for each in sys.modules if each.partition(".")[0] == "naqshop"]:
        del sys.modules[name]
    import_function.cache_clear()


@pytest.mark.parametrize("serializer", ["json", "pickle"])
@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("naqshop.danger:run", "naqshop.*"),
        ("naqshop.danger:run", "naqshop.tasks:*"),
        ("naqshop.danger:run", "naqshop:*"),
        ("naqshop:danger.run", "naqshop:*"),
        ("naqshop:danger.run", "naqshop.*"),
        ("naqshop.danger.run", "naqshop.*"),
        ("naqshop.tasks.danger:run", "naqshop.*"),
    ],
)
def test_the_sender_does_not_choose_what_is_imported(name: str, rule: str, serializer: str, shop: Path) -> None:
    call = Call(function=name, body=b"[[],{}]", content_type="json", by_value=False)
    with pytest.raises(UnknownTaskError):
        decode_call(call, serializer, (rule,))
    assert not shop.exists(), "naqshop.danger was imported"
    assert "naqshop.danger" not in sys.modules


@pytest.mark.usefixtures("shop")
def test_what_is_imported_is_in_reach_of_its_package() -> None:
    rule = ("naqshop.*",)
    found = allowed_function("naqshop.tasks:greet", rule)  # the package, which the rule names, imports it
    assert found is not None
    assert found() == "hello"
    with pytest.raises(UnknownTaskError, match=r"not imported here.*--imports"):
        allowed_function("naqshop.later:greet", rule)
    assert "naqshop.later:*" not in rules_for_child(rule)
    importlib.import_module("naqshop.later")
    assert allowed_function("naqshop.later:greet", rule) is not None
    assert "naqshop.later:*" in rules_for_child(rule), "a child process may import what its worker has imported"


@pytest.mark.usefixtures("shop")
def test_a_rule_that_names_a_module_imports_it() -> None:
    assert allowed_function("naqshop.later:greet", ("naqshop.later:*",)) is not None
    assert allowed_function("naqshop.later:greet", ("naqshop.later:greet",)) is not None


@pytest.mark.parametrize("value", [None, True, 3, -(2**63), 1.5, "text", "\udcff", 2**70, float("inf"), {"a": {1, 2}}, [1, (2,)]])
@pytest.mark.parametrize("serializer", ["pickle"])
def test_a_result_comes_back_as_it_was(value: object, serializer: str) -> None:
    from naq_core.serialization import decode_result  # noqa: PLC0415

    assert value == decode_result(*encode_result(value, serializer), serializer)


def test_unpicklable_arguments_are_refused_by_name() -> None:
    with pytest.raises(EncodeError, match="json:dumps"):
        Job(json.dumps, ((n for n in range(3)),)).serialize()


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 50, b"\x80", b"\x81\xa1v\x01", b"[" * 10_000, b"\x91" * 10_000])
def test_garbage_is_no_job(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_envelope(data)


def test_a_newer_version_is_named() -> None:
    with pytest.raises(UnknownWireVersionError, match=str(WIRE_VERSION + 1)):
        decode_envelope(b"\x81\xa1v" + bytes([WIRE_VERSION + 1]))


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", ">", "ü", "x" * 129, 7, None])
def test_names_that_would_change_the_subject_are_refused(name: object) -> None:
    with pytest.raises(InvalidNameError):
        Job(len, queue=name)  # type: ignore[arg-type]
    if name is not None:
        with pytest.raises(InvalidNameError):
            Job(len, job_id=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": -1}, {"result_ttl": 0.5}, {"timeout": "1"}])
def test_a_wrong_option_is_named(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        Job(len, **options)  # type: ignore[arg-type]


def test_ids_are_unique_and_sort_by_time() -> None:
    ids = [new_id() for _ in range(2000)]

    assert len(set(ids)) == 2000
    assert [each[:12] for each in ids] == sorted(each[:12] for each in ids)


def test_a_preview_survives_hostile_objects() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError

    text = preview((1, "a", Hostile()), {"key": "x" * 10_000})

    assert text.startswith("1, 'a', <Hostile")
    assert len(text) <= 200


def test_clean_text_is_utf8_and_bounded() -> None:
    assert len(clean_text("\udcff" * 1000, 100).encode("utf-8").decode()) <= 100


def test_a_call_of_unknown_content_type_is_refused() -> None:
    with pytest.raises(DecodeError, match="yaml"):
        decode_call(Call("json:dumps", b"", "yaml", by_value=False), "pickle")
