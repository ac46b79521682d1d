from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.measuring import parity
from pipeline.report import document


def test_compare_gives_agreement_and_errors_when_one_of_four_differs() -> None:
    expected = np.eye(4, dtype=np.float32)
    found = expected.copy()
    found[0] = [0.0, 2.0, 0.0, 0.0]
    result = parity.compare({"logits": expected}, {"logits": found}, against="train")
    assert (result.against, result.samples) == ("train", 4)
    assert result.top1_agreement.value == 0.75
    assert result.top1_agreement.low < 0.75 < result.top1_agreement.high
    assert result.max_abs_error == 2.0
    assert result.mean_abs_error == pytest.approx(3 / 16)


def test_parity_keeps_the_keys_of_the_report_when_written_to_json() -> None:
    logits = {"logits": np.eye(3)}
    form = parity.compare(logits, logits, against="train").to_dict()
    assert form["top1_agreement"] == form["top1_agreement_high"] == 1.0
    assert form["top1_agreement_low"] == pytest.approx(0.025 ** (1 / 3))
    assert {"against", "samples", "max_abs_error", "mean_abs_error"} < set(form)


def test_several_labels_agree_where_all_of_a_sample_are_answered_alike() -> None:
    expected = np.array([[2.0, -1.0, 3.0], [1.0, 1.0, -1.0], [-1.0, -2.0, -3.0], [4.0, 4.0, 4.0]])
    found = expected + 0.5
    found[0, 1] = 0.1  # the highest is the same, but this label is there now
    result = parity.compare({"logits": expected}, {"logits": found}, against="train", labels=["logits"])
    assert result.top1_agreement is None
    assert result.r2 is None
    assert result.label_agreement is not None
    assert result.label_agreement.value == 0.75
    assert result.max_abs_error == pytest.approx(1.1)
    assert parity.compare({"logits": expected}, {"logits": found}, against="train").top1_agreement.value == 1  # type: ignore[union-attr]
    form = result.to_dict()
    assert form["label_agreement"] == 0.75
    assert document.Parity.model_validate(form).agreement().value == 0.75


def test_compare_fails_when_an_output_is_missing() -> None:
    with pytest.raises(RunError, match="the exported model has no output 'logits'") as caught:
        parity.compare({"logits": np.eye(3)}, {"Identity:0": np.eye(3)}, against="train")
    assert "found: Identity:0" in str(caught.value)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (np.full((3, 3), np.nan), "the logits of the exported model are not all finite"),
        (np.zeros((0, 3)), "the logits of the exported model cannot be compared"),
        (np.eye(3)[:2], "the exported model cannot be compared with train"),
    ],
)
def test_compare_fails_when_an_output_is_empty_broken_or_of_another_shape(found: np.ndarray, message: str) -> None:
    with pytest.raises(RunError, match=message):
        parity.compare({"logits": np.eye(3)}, {"logits": found}, against="train")


def test_compare_names_the_reference_when_it_is_the_broken_one() -> None:
    with pytest.raises(RunError, match="the logits of train are not all finite"):
        parity.compare({"logits": np.full((2, 2), np.inf)}, {"logits": np.eye(2)}, against="train")
