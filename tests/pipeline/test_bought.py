"""Every verdict and every cause, from facts made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.bought import bought, explained
from pipeline.report.document import Artifact, Bought, Explained
from pipeline.report.model import Model
from tests.pipeline.stages.test_judge import latency, run

BLOCKS = [1.00, 1.02, 0.98, 1.01, 0.99]
PLACES: dict[str, tuple[dict[str, Any], ...]] = {
    "tflite": ({"runtime": "litert"},),
    "onnx": ({"runtime": "onnxruntime"},),
    "saved_model": ({"runtime": "served", "protocol": "grpc"}, {"runtime": "served", "protocol": "rest"}),
}


def model(stage: str, **changes: Any) -> Model:
    facts = {"stage": stage, "parameters": 1000, "macs": 5000, "sparsity": 0.0, "bytes": 4000, "gzip_bytes": 3000}
    return Model.model_validate(facts | changes)


def graph(**changes: Any) -> dict[str, Any]:
    return {"integer": 0, "floating": 9, "zero_channels": 0, "channels": 26} | changes


def artifact(
    stage: str, form: str = "tflite", precision: str = "float32", *, ms: float = 1.0, **changes: Any
) -> Artifact:
    """Return a file whose blocks take `ms` in every place where its format is timed."""
    blocks = [ms * block for block in (BLOCKS if ms == 1 else BLOCKS[::-1])]
    runs = [run(latency=[latency(block_p50_ms=blocks)]) | place for place in PLACES[form]]
    facts: dict[str, Any] = {
        "id": f"{stage}.{form}.{precision}", "stage": stage, "format": form, "precision": precision,
        "path": "artifacts/x", "gzip_bytes": 1000, "sparsity": 0.0, "operators": graph(), "runs": runs,
    }  # fmt: skip
    return Artifact.model_validate(facts | changes)


def one(*artifacts: Artifact, stage: str = "prune", **changes: Any) -> Bought:
    """Return what a stage bought after train."""
    (found,) = bought([model("train"), model(stage, **changes)], artifacts)
    return found


def drop(value: float, low: float, high: float) -> dict[str, Any]:
    return {"metrics": {"accuracy_drop_against_previous": {"value": value, "low": low, "high": high}}}


def test_each_stage_is_compared_with_the_one_before_it_and_the_student_alone_with_none() -> None:
    models = [
        model("train"),
        model("distill", parameters=500, macs=1000),
        model("distill", variant="alone"),
        model("prune", parameters=500, macs=1000),
    ]
    found = bought(models, [])
    assert [(item.stage, item.against) for item in found] == [("distill", "train"), ("prune", "distill")]
    assert [(item.parameters_ratio, item.macs_ratio) for item in found] == [(2, 5), (1, 1)]


def test_nothing_was_bought_by_a_single_model() -> None:
    assert bought([model("train")], []) == []
    assert bought([], []) == []


def test_sizes_are_of_the_weights_when_nothing_was_exported() -> None:
    found = one(gzip_bytes=1500)
    assert (found.sizes, found.size_ratio) == (("weights", "weights"), 2)
    assert found.verdict == "smaller (2.0x), latency not compared"


@pytest.mark.parametrize(
    ("forms", "expected"),
    [(("saved_model", "onnx", "tflite"), "tflite"), (("onnx", "saved_model"), "saved_model"), (("onnx",), "onnx")],
)
def test_sizes_are_of_the_first_format_that_both_have(forms: tuple[str, ...], expected: str) -> None:
    before = [artifact("train", form, gzip_bytes=4000) for form in (*forms, "tflite")]
    found = one(*before, *(artifact("prune", form) for form in forms))
    assert found.sizes == (f"train.{expected}.float32", f"prune.{expected}.float32")
    assert found.size_ratio == 4


def test_quantized_files_are_compared_with_the_float_ones_of_the_stage_before() -> None:
    files = [artifact("train", form, gzip_bytes=3000) for form in PLACES]
    files += [artifact("quantize", form, "int8", ms=0.5) for form in ("tflite", "onnx")]
    files += [artifact("quantize", "saved_model", "fake-quant", ms=0.5)]
    found = one(*files, stage="quantize")
    assert {(item.runtime, item.protocol, item.artifact, item.against) for item in found.faster} == {
        ("litert", None, "quantize.tflite.int8", "train.tflite.float32"),
        ("onnxruntime", None, "quantize.onnx.int8", "train.onnx.float32"),
        ("served", "grpc", "quantize.saved_model.fake-quant", "train.saved_model.float32"),
        ("served", "rest", "quantize.saved_model.fake-quant", "train.saved_model.float32"),
    }
    assert found.faster[0].value == pytest.approx(2, rel=0.01)
    assert found.faster[0].low < found.faster[0].value < found.faster[0].high
    assert found.faster[0].pairs == 5
    assert found.causes == []
    assert found.verdict.startswith("smaller (3.0x) and faster (LiteRT 2.0x, served over gRPC 2.0x, served over REST ")


@pytest.mark.parametrize(
    ("gzip_bytes", "ms", "verdict"),
    [
        (500, 0.5, "smaller (2.0x) and faster (LiteRT 2.0x)"),
        (500, 1.0, "smaller (2.0x), not faster (LiteRT 1.00x)"),
        (500, 2.0, "smaller (2.0x), slower (LiteRT 0.50x)"),
        (1000, 0.5, "same size, faster (LiteRT 2.0x)"),
        (1000, 1.0, "same size, not faster (LiteRT 1.00x)"),
        (2000, 2.0, "larger (0.50x), slower (LiteRT 0.50x)"),
    ],
)
def test_verdict_says_smaller_and_faster_only_where_it_is(gzip_bytes: int, ms: float, verdict: str) -> None:
    assert one(artifact("train"), artifact("prune", gzip_bytes=gzip_bytes, ms=ms)).verdict == verdict


def test_verdict_names_the_places_when_they_differ() -> None:
    found = one(
        artifact("train"),
        artifact("train", "onnx"),
        artifact("prune", gzip_bytes=500, ms=0.5),
        artifact("prune", "onnx", ms=2),
    )
    assert found.verdict == "smaller (2.0x), faster (LiteRT 2.0x), slower (ONNX Runtime 0.50x)"


def test_a_ratio_above_1_is_not_faster_when_its_interval_reaches_1() -> None:
    noisy = run(runtime="litert", latency=[latency(block_p50_ms=[0.5, 1.5, 0.6, 1.2, 0.7])])
    found = one(artifact("train"), artifact("prune", runs=[noisy]))
    assert found.faster[0].value > 1 > found.faster[0].low
    assert "not faster (LiteRT 1.2" in found.verdict


@pytest.mark.parametrize("broken", [{"valid": False}, {"block_p50_ms": [1.0, 1.0]}], ids=["invalid", "other blocks"])
def test_latencies_that_cannot_be_compared_prove_nothing(broken: dict[str, Any]) -> None:
    changed = run(runtime="litert", latency=[latency(**({"block_p50_ms": BLOCKS} | broken))])
    found = one(artifact("train"), artifact("prune", runs=[changed]))
    assert found.faster == []
    words = "no valid latencies (LiteRT)" if "valid" in broken else "latency not compared"
    assert found.verdict == f"same size, {words}"


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.02, 0.01, 0.03), "; less accurate (2.0 points)"),
        ((0.01, -0.01, 0.03), "; no loss of accuracy proven (1.0 points, 95 % -1.0 to 3.0)"),
        ((-0.02, -0.03, -0.01), "; more accurate (2.0 points)"),
    ],
)
def test_verdict_says_whether_it_is_still_right(interval: tuple[float, float, float], words: str) -> None:
    found = one(**drop(*interval))
    assert found.verdict.endswith(words)
    assert found.accuracy_drop is not None
    assert found.accuracy_drop.low == interval[1]


@pytest.mark.parametrize(
    ("zero", "words"),
    [
        (0, "none of the 26 output channels is all zero"),
        (3, "only 3 of 26 output channels are all zero"),
        (24, "24 of 26 output channels are all zero"),
    ],
)
def test_zeros_that_are_no_whole_channels_are_the_cause_in_every_dense_runtime(zero: int, words: str) -> None:
    files = [artifact("train", form) for form in ("tflite", "onnx")]
    pruned: dict[str, Any] = {"sparsity": 0.8, "gzip_bytes": 400, "operators": graph(zero_channels=zero)}
    found = one(*files, *(artifact("prune", form, **pruned) for form in ("tflite", "onnx")))
    assert found.causes == [
        f"LiteRT, ONNX Runtime: 80.0 % zeros, but {words}; dense kernels multiply zeros as they multiply anything"
    ]


def test_zeros_of_the_stage_before_are_no_cause() -> None:
    found = one(artifact("train", sparsity=0.8), artifact("prune", sparsity=0.8, gzip_bytes=400))
    assert found.causes == [
        "LiteRT: the files show no cause: as many MACs as before, 9 operators before and 9 now, in float"
    ]


def test_fake_quantization_in_the_served_graph_is_the_cause() -> None:
    quantized = artifact("quantize", "saved_model", "fake-quant", ms=1.2, operators=graph(fake_quant=11))
    found = one(artifact("train", "saved_model"), quantized, stage="quantize")
    assert found.causes == [
        "served over gRPC, served over REST: 11 fake-quant operations in the graph compute in float what int8 kernels "
        "would do"
    ]


def test_a_float_fallback_is_the_cause_and_its_operators_are_named() -> None:
    mixed = graph(integer=6, floating=3, floating_names={"FULLY_CONNECTED": 2, "MEAN": 1})
    found = one(
        artifact("train"), artifact("quantize", precision="int8", gzip_bytes=250, operators=mixed), stage="quantize"
    )
    assert found.causes == [
        "LiteRT: float fallback: 3 of 9 operators in the file compute in float: FULLY_CONNECTED x2, MEAN x1"
    ]


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_conversions_are_the_cause_when_they_are_work_and_no_notation(form: str) -> None:
    converting = graph(integer=4, floating=0, conversions=5)
    files = artifact("train", form), artifact("quantize", form, "int8", gzip_bytes=250, operators=converting)
    (cause,) = one(*files, stage="quantize").causes
    expected = {
        "tflite": "LiteRT: 5 operators only convert between float and integers, 4 compute",
        "onnx": "ONNX Runtime: 5 QuantizeLinear and DequantizeLinear stand around 4 operators that compute: what ONNX "
        "Runtime does not fuse with them it runs in float; it fuses more of what it quantizes itself (export.onnx: "
        "int8.ort)",
    }
    assert cause == expected[form]


def test_no_cause_is_made_up_when_the_files_show_none() -> None:
    found = one(artifact("train"), artifact("distill", gzip_bytes=250), stage="distill", macs=1000)
    assert found.causes == [
        "LiteRT: the files show no cause: MACs before over after 5.0x, 9 operators before and 9 now, in float"
    ]
    blind = one(artifact("train", operators=None), artifact("distill", gzip_bytes=250), stage="distill")
    assert blind.causes == ["LiteRT: the files show no cause: what their graphs consist of is not known"]


def test_a_slower_file_needs_a_cause_even_when_it_is_no_smaller() -> None:
    assert one(artifact("train"), artifact("prune", gzip_bytes=1000, ms=2)).causes != []
    assert one(artifact("train"), artifact("prune", gzip_bytes=1000)).causes == []


def test_no_cause_is_looked_for_when_no_difference_is_proven() -> None:
    noisy = run(runtime="litert", latency=[latency(block_p50_ms=[0.5, 1.5, 0.6, 1.2, 0.7])])
    (cause,) = one(artifact("train"), artifact("prune", gzip_bytes=250, runs=[noisy])).causes
    assert cause.startswith("LiteRT (1.2")
    assert "so there is none to explain; more measure.latency.blocks narrow the interval" in cause


def test_a_file_quantized_after_training_that_is_slower_is_explained_and_a_faster_one_is_not() -> None:
    mixed = graph(integer=12, floating=5, floating_names={"MatMul": 5}, conversions=22)
    float32 = artifact("import", "onnx")
    slow = artifact("import", "onnx", "int8", ms=9.0, gzip_bytes=300, operators=mixed)
    fast = artifact("import", "tflite", "int8", ms=0.3, gzip_bytes=300, operators=graph(integer=9, floating=0))
    assert explained([float32, slow, artifact("import"), fast]) == [
        Explained(
            artifact="import.onnx.int8", against="import.onnx.float32",
            causes=[
                "ONNX Runtime: float fallback: 5 of 17 operators in the file compute in float: MatMul x5",
                "ONNX Runtime: 22 QuantizeLinear and DequantizeLinear stand around 17 operators that compute: what "
                "ONNX Runtime does not fuse with them it runs in float; it fuses more of what it quantizes itself "
                "(export.onnx: int8.ort)",
            ],
        )
    ]  # fmt: skip
    assert explained([slow, fast]) == []  # no float32 file to compare with


@pytest.mark.parametrize(
    ("metric", "interval", "words"),
    [
        ("f1", (0.02, 0.01, 0.03), "; worse (2.0 points of F1)"),
        ("roc_auc", (-0.02, -0.03, -0.01), "; better (2.0 points of ROC AUC)"),
        ("f1", (0.01, -0.01, 0.03), "; no loss of F1 proven (1.0 points, 95 % -1.0 to 3.0)"),
        ("mae", (3.2, 1, 5), "; worse (mean absolute error 3.2 higher)"),
        ("mae", (-3.2, -5, -1), "; better (mean absolute error 3.2 lower)"),
        ("mae", (0.2, -1, 1), "; no rise of the mean absolute error proven (0.2, 95 % -1 to 1)"),
    ],
)
def test_verdict_speaks_of_what_models_are_judged_by(
    metric: str, interval: tuple[float, float, float], words: str
) -> None:
    value, low, high = interval
    drop = {f"{metric}_drop_against_previous": {"value": value, "low": low, "high": high}}
    assert one(metrics=drop, judged=[metric]).verdict.endswith(words)
