from __future__ import annotations

import copy
from typing import Any

import pytest

from pipeline.predictor import FormatError, classifier
from serving.client import signature
from tests.pipeline.formats import text as texts

SPEC = classifier("image", (8, 8, 1), (0.0, 16.0), ("a", "b"))


def _answer() -> Any:
    def end(*sizes: str) -> dict[str, Any]:
        shape = {"dim": [{"size": size, "name": ""} for size in sizes], "unknown_rank": False}
        return {"dtype": "DT_FLOAT", "tensor_shape": shape, "name": "StatefulPartitionedCall:0"}

    serving = {
        "inputs": {"image": end("-1", "8", "8", "1")},
        "outputs": {"logits": end("-1", "2"), "probabilities": end("-1", "2")},
        "method_name": "tensorflow/serving/predict",
    }
    init = {"inputs": {}, "outputs": {"__saved_model_init_op": end()}}
    return {"metadata": {"signature_def": {"signature_def": {"serving_default": serving, "__init": init}}}}


def _with(path: str, value: Any) -> Any:
    answer = copy.deepcopy(_answer())
    place = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    *way, last = path.split(".")
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    return answer


def test_signature_is_accepted_when_it_is_the_specs() -> None:
    signature.require("m", SPEC, signature.parse(_answer()))


def test_signature_is_accepted_when_it_has_further_outputs() -> None:
    further = {"dtype": "DT_STRING", "tensor_shape": {"unknown_rank": True}}
    signature.require("m", SPEC, signature.parse(_with("outputs.label", further)))


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("inputs.image.tensor_shape.dim.3.size", "3",
         "m is not a model for this data\n"
         "  expected: input image [8, 8, 1] per sample, outputs logits and probabilities\n"
         "  found: input image [8, 8, 3] per sample, outputs logits and probabilities\n"
         "  what to do: export it again from the model that was trained on this data"),
        ("inputs", {},
         "m is not a model for this data\n"
         "  expected: input image [8, 8, 1] per sample, outputs logits and probabilities\n"
         "  found: input none per sample, outputs logits and probabilities\n"
         "  what to do: export it again from the model that was trained on this data"),
        ("outputs", {"value": {"dtype": "DT_FLOAT", "tensor_shape": {}}},
         "m is not a model for this data\n"
         "  expected: input image [8, 8, 1] per sample, outputs logits and probabilities\n"
         "  found: input image [8, 8, 1] per sample, outputs value\n"
         "  what to do: export it again from the model that was trained on this data"),
        ("inputs.image.tensor_shape.dim.0.size", "1",
         "m does not take batches of any size\n"
         "  expected: input image [n, 8, 8, 1]\n"
         "  found: image [1, 8, 8, 1]\n"
         "  what to do: export it with a dynamic batch and the shape of its samples"),
        ("inputs.image.tensor_shape", {"dim": [], "unknown_rank": True},
         "m does not take batches of any size\n"
         "  expected: input image [n, 8, 8, 1]\n"
         "  found: an input of unknown rank\n"
         "  what to do: export it with a dynamic batch and the shape of its samples"),
        ("inputs.image.dtype", "DT_UINT8",
         "m has other types than float32\n"
         "  expected: DT_FLOAT for image, logits, probabilities\n"
         "  found: image DT_UINT8\n"
         "  what to do: export it with float32 ends"),
        ("outputs.logits.dtype", "DT_HALF",
         "m has other types than float32\n"
         "  expected: DT_FLOAT for image, logits, probabilities\n"
         "  found: logits DT_HALF\n"
         "  what to do: export it with float32 ends"),
    ],
    ids=["sample", "no-input", "outputs", "batch", "rank", "input-type", "output-type"],
)  # fmt: skip
def test_signature_is_refused_with_what_was_found_when_it_is_not_the_specs(path: str, value: Any, text: str) -> None:
    with pytest.raises(FormatError) as caught:
        signature.require("m", SPEC, signature.parse(_with(path, value)))
    assert str(caught.value) == text


def test_model_is_refused_with_its_signatures_when_the_default_one_is_missing() -> None:
    answer = _answer()
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    signatures["other"] = signatures.pop("serving_default")
    with pytest.raises(FormatError) as caught:
        signature.require("m", SPEC, signature.parse(answer))
    assert str(caught.value) == (
        "m has no signature serving_default\n  expected: serving_default\n  found: __init and other\n"
        "  what to do: export it with a signature serving_default"
    )


@pytest.mark.parametrize("dtype", ["DT_STRING", "DT_INT32"])
def test_texts_have_to_be_strings(dtype: str) -> None:
    outputs = {name: signature.End("DT_FLOAT", (None, 3)) for name in ("logits", "probabilities")}
    found = signature.Signature({"text": signature.End(dtype, (None,))}, outputs)
    if dtype == "DT_STRING":
        signature.require("m", texts.SPEC, found)
        return
    with pytest.raises(FormatError, match="m has other types than float32, and strings for texts") as caught:
        signature.require("m", texts.SPEC, found)
    assert caught.value.expected == "DT_FLOAT for logits, probabilities; DT_STRING for text"
    assert caught.value.found == "text DT_INT32"


def test_batch_of_one_is_accepted_of_a_tflite_which_a_server_resizes() -> None:
    found = signature.parse(_with("inputs.image.tensor_shape.dim.0.size", "1"))
    signature.require("m", SPEC, found, lite=True)
    with pytest.raises(FormatError, match="does not take batches of any size"):
        signature.require("m", SPEC, found)


def test_larger_fixed_batch_is_refused_of_a_tflite_too() -> None:
    with pytest.raises(FormatError, match="does not take batches of any size"):
        signature.require("m", SPEC, signature.parse(_with("inputs.image.tensor_shape.dim.0.size", "4")), lite=True)


def test_tflite_takes_token_ids_for_texts_and_no_strings() -> None:
    ids = signature.End("DT_INT32", (1, texts.SPEC.input.shape[0]))
    logits = {end: signature.End("DT_FLOAT", (1, 3)) for end in ("logits", "probabilities")}
    found = signature.Signature({"text": ids}, logits)
    signature.require("m", texts.SPEC, found, lite=True)
    with pytest.raises(FormatError):
        signature.require("m", texts.SPEC, found)
    floats = signature.Signature({"text": signature.End("DT_FLOAT", ids.shape)}, logits)
    with pytest.raises(FormatError, match="has other types than float32, and token ids for texts"):
        signature.require("m", texts.SPEC, floats, lite=True)
