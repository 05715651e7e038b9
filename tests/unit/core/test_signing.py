"""What a signature binds, and what it does not accept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naq_core.errors import SignatureError
from naq_core.signing import BODY_AT, MAGIC, RESULT, Signer, unsealed

OLD, NEW, OTHER = "old " * 5, "new " * 5, "other " * 5
SIGNER = Signer([NEW, OLD], "shop")


@given(st.binary())
def test_what_was_sealed_opens(body: bytes) -> None:
    sealed = SIGNER.seal(body, "mail", "1")

    assert SIGNER.open(sealed, "mail", "1") == body
    assert unsealed(sealed) == body


@pytest.mark.parametrize(("namespace", "queue", "job_id"), [("shop2", "mail", "1"), ("shop", "mai", "l1"), ("shop", "mail", "2")])
def test_a_signature_holds_for_one_place_only(namespace: str, queue: str, job_id: str) -> None:
    sealed = SIGNER.seal(b"body", "mail", "1")

    with pytest.raises(SignatureError, match="another key or for another purpose, or was changed"):
        Signer([NEW], namespace).open(sealed, queue, job_id)


def test_no_byte_can_be_changed_and_none_be_missing() -> None:
    sealed = SIGNER.seal(b"a body", "mail", "1")

    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        for wrong in (bytes(changed), sealed[:at]):
            with pytest.raises(SignatureError):
                SIGNER.open(wrong, "mail", "1")


def test_a_result_is_no_job() -> None:
    forged = MAGIC + SIGNER.sign(RESULT, ("mail", "1"), b"body") + b"body"

    with pytest.raises(SignatureError):
        SIGNER.open(forged, "mail", "1")


def test_the_first_key_signs_and_all_verify() -> None:
    assert SIGNER.seal(b"body", "mail", "1") == Signer([NEW], "shop").seal(b"body", "mail", "1")
    assert SIGNER.open(Signer([OLD], "shop").seal(b"body", "mail", "1"), "mail", "1") == b"body"
    with pytest.raises(SignatureError, match="another key"):
        SIGNER.open(Signer([OTHER], "shop").seal(b"body", "mail", "1"), "mail", "1")


@pytest.mark.parametrize("unsigned", [b"", b"body", MAGIC, b"\x80", b"x" * (BODY_AT + 5)])
def test_with_a_key_nothing_unsigned_opens(unsigned: bytes) -> None:
    with pytest.raises(SignatureError, match=r"is not signed, but NAQ_SIGNING_KEY is set|another key"):
        SIGNER.open(unsigned, "mail", "1")


def test_without_a_key_nothing_is_signed_and_everything_opens() -> None:
    none = Signer([], "shop")

    assert none.seal(b"body", "mail", "1") == b"body"
    assert none.open(b"body", "mail", "1") == b"body"
    assert none.open(SIGNER.seal(b"body", "mail", "1"), "mail", "1") == b"body"
    none.verify(RESULT, ("mail", "1"), b"body", b"")


def test_the_representation_shows_no_key() -> None:
    assert repr(SIGNER) == "<Signer of 'shop' with 2 keys>"
