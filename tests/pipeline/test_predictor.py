from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.predictor import FormatError, Head, Input, Spec, classifier, count, heads, require_ends, rows

TWO = Spec(
    (Input("image", (8, 8, 1), (0.0, 16.0)), Input("number", (1,), (0.0, 1.0))),
    (Head("classification", (3,), ("a", "b", "c"), "digit"), Head("regression", (1,), (), "total", (0.5,), (2.0,))),
)


def test_outputs_are_named_by_task_and_where_there_are_several_by_head() -> None:
    assert classifier("x", (2,), (0, 1), "ab").outputs == ("logits", "probabilities")
    assert Spec(TWO.inputs[:1], (Head("regression", (1,)),)).outputs == ("value",)
    assert Spec(TWO.inputs[:1], (Head("reconstruction", (8, 8, 1)),)).outputs == ("reconstruction", "score")
    assert TWO.outputs == ("digit_logits", "digit_probabilities", "total_value")
    assert TWO.ends == ("digit_logits", "total_value")
    assert [head.metric for head in TWO.heads] == ["digit_accuracy", "total_r2"]


def test_spec_comes_back_from_json() -> None:
    assert Spec.from_json(json.loads(json.dumps(TWO.to_json()))) == TWO
    judged = Spec(TWO.inputs, (replace(TWO.heads[0], judged="f1.b"), replace(TWO.heads[1], judged="mae")))
    assert Spec.from_json(json.loads(json.dumps(judged.to_json()))) == judged
    assert [head.metric for head in judged.heads] == ["digit_f1.b", "total_mae"]
    assert [head.criterion.lower for head in judged.heads] == [False, True]


def test_samples_of_one_or_of_several_inputs_are_counted_taken_and_named_alike() -> None:
    images, numbers = np.arange(6.0).reshape(3, 2), np.arange(3.0)[:, None]
    assert count(images) == count({"image": images, "number": numbers}) == 3
    taken = rows({"image": images, "number": numbers}, slice(1, 2))
    assert isinstance(taken, dict)
    assert (taken["image"].tolist(), taken["number"].tolist()) == ([[2.0, 3.0]], [[1.0]])
    assert list(classifier("x", (2,), (0, 1), "ab").named(images)) == ["x"]
    assert [head.name for head, _ in heads(TWO, {"digit": images, "total": numbers})] == ["digit", "total"]


def test_file_with_other_ends_is_refused_with_both() -> None:
    with pytest.raises(FormatError) as refused:
        require_ends("f", TWO, inputs={"image": (None, 8, 8, 1)}, outputs=["digit_logits"])
    assert refused.value.expected == (
        "input image [8, 8, 1], number [1] per sample, outputs digit_logits and digit_probabilities and total_value"
    )
    assert refused.value.found == "input image [8, 8, 1] per sample, outputs digit_logits"
