"""Method names, and statuses as the protocols carry them (1.2, 2.6)."""

from __future__ import annotations

import pytest

from serving.server.inference import Inference
from serving.server.servable import Signature
from serving.server.status import HTTP, Code, StatusError, grpc_text
from serving.server.versions.registry import Registry


def signature(method_name: str) -> Signature:
    return Signature("s", method_name, {}, {}, {})


@pytest.mark.rule("1.2")
def test_an_odd_method_name_is_internal_when_the_flag_asks_for_a_check() -> None:
    """Rule 1.2: enable_signature_method_name_check."""
    Inference(Registry()).check_method(signature("odd"))
    checked = Inference(Registry(), check_method_names=True)
    for name in ("predict", "classify", "regress"):
        checked.check_method(signature(f"tensorflow/serving/{name}"))
    with pytest.raises(StatusError, match=r"INTERNAL: Expected prediction signature method_name .* Was: odd"):
        checked.check_method(signature("odd"))


@pytest.mark.rule("4.3")
def test_every_code_has_an_http_status() -> None:
    assert set(HTTP) == set(Code)
    assert {code.name: HTTP[code] for code in (Code.CANCELLED, Code.OUT_OF_RANGE, Code.ABORTED, Code.DATA_LOSS)} == {
        "CANCELLED": 499, "OUT_OF_RANGE": 400, "ABORTED": 409, "DATA_LOSS": 500
    }  # fmt: skip


@pytest.mark.rule("2.6")
def test_a_text_is_cut_between_characters_when_it_is_too_long_for_grpc() -> None:
    """Rule 2.6."""
    assert grpc_text("é" * 512) == "é" * 512
    assert grpc_text("x" + "é" * 512) == "x" + "é" * 511 + "...TRUNCATED"
    assert grpc_text("\udcff") == "?"
