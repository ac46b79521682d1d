"""What a precision has no kernel for: refused layer by layer, named in whole files, and known to doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.doctor import sizes
from pipeline.formats import ConversionError, by_layer
from pipeline.isolate import Child
from pipeline.measuring import footprint
from pipeline.plan import Planned
from tests.pipeline.formats import tiny_variants

UNFIT = ["first (DEPTHWISE_CONV_2D)", "second (DEPTHWISE_CONV_2D)", "both (DEPTHWISE_CONV_2D)", "up (TRANSPOSE_CONV)"]
KEPT = {
    "depthwise.weight-int8": [],
    "depthwise.weight-int4": UNFIT,
    "depthwise.dynamic-int4": UNFIT,
    **{f"text.{entry}": ["embedding (GATHER)"] for entry in tiny_variants.LEFT},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("left")


@pytest.fixture(scope="module")
def kept(converter: Child, folder: Path) -> dict[str, list[str]]:
    return converter.call(tiny_variants.write_left, folder)


@pytest.mark.parametrize(("precision", "config"), [
    ("weight-int8", "weightonly_wi8_afp32"), ("weight-int4", "weightonly_wi4_afp32"),
    ("dynamic-int8", "dynamic_wi8_afp32"), ("dynamic-int4", "dynamic_wi4_afp32"),
])  # fmt: skip
def test_operators_of_a_precision_are_those_of_the_quantizers_policy(precision: str, config: str) -> None:
    import json

    from ai_edge_quantizer import default_policy

    listed = json.loads(default_policy.DEFAULT_JSON_POLICY)["ops_per_config"][config]
    # the converter makes no lookups of embeddings, but GATHER
    known = {{"CONV_2D_TRANSPOSE": "TRANSPOSE_CONV"}.get(name, name) for name in listed} - {"EMBEDDING_LOOKUP"}
    assert by_layer.OPERATORS[precision] == known


def test_kernels_that_stay_float_in_a_file_are_named_with_layer_and_operator(kept: dict[str, list[str]]) -> None:
    assert kept == KEPT


@pytest.mark.parametrize("stem", KEPT)
def test_size_of_a_file_is_foreseen_with_the_kernels_that_stay_float(
    kept: dict[str, list[str]], folder: Path, stem: str
) -> None:
    name, _, precision = stem.partition(".")
    size = sizes.expected(Planned("train", "tflite", precision), tiny_variants.build_left()[name], {}, {}, 0, {})
    found = footprint.size(folder / f"{stem}.tflite")
    assert kept
    assert found.bytes / 1.4 < size.bytes < found.bytes * 1.4
    assert found.gzip_bytes / 1.4 < size.gzip_bytes < found.gzip_bytes * 1.4


def test_layers_are_refused_when_their_precision_has_no_operator_for_a_kernel(
    kept: dict[str, list[str]], converter: Child, folder: Path
) -> None:
    assert kept
    wrong = dict.fromkeys(("first", "both", "up"), "weight-int4")
    asked = {"conv": "weight-int4", **wrong, "logits": "weight-int8"}
    with pytest.raises(ConversionError) as refused:
        converter.call(tiny_variants.mixed_left, folder, asked)
    assert "weight-int4 of layers that become CONV_2D, FULLY_CONNECTED, BATCH_MATMUL" in str(refused.value)
    assert refused.value.found == "first as weight-int4, both as weight-int4, up as weight-int4"
    # as doctor foresees
    model = tiny_variants.build_left()["depthwise"]
    assert by_layer.left_float(model, by_layer.precisions(model, asked), unrolled=True) == wrong


def test_depthwise_kernel_is_quantized_by_layer_in_eight_bits(
    kept: dict[str, list[str]], converter: Child, folder: Path
) -> None:
    assert kept
    asked = {"*": "weight-int8", "after_*": "weight-int4", "second": "float32"}
    assert converter.call(tiny_variants.mixed_left, folder, asked) == ["second (DEPTHWISE_CONV_2D)"]
