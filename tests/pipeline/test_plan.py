"""Which files come of which recipe: `export.plan`, and the artifacts that play a part of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from pipeline import plan
from pipeline.formats import export_config as export
from pipeline.plan import Planned

ALL = ("train", "distill", "prune", "quantize")
FLOATS = ("saved_model.float32", "tflite.float32", "tflite.float16", "tflite.dynamic-int8")
INT8 = ("saved_model.fake-quant", "tflite.int8", "onnx.int8")


def ids(models: Sequence[str], config: export.Config | None = None) -> list[str]:
    return [item.id for item in export.plan(config or export.Config(), models)]


def of(stage: str, *rest: str) -> list[str]:
    return [f"{stage}.{one}" for one in rest]


@pytest.mark.parametrize("first", ["train", "import"])
def test_lone_model_is_exported_in_every_precision_and_quantized_after_training(first: str) -> None:
    assert ids([first]) == of(first, *FLOATS, "tflite.int8", "onnx.float32", "onnx.int8")


@pytest.mark.parametrize(
    "models", [("train", "distill"), ("train", "prune"), ("import", "shrink"), ("import", "distill", "shrink", "prune")]
)
def test_last_float_stage_is_quantized_after_training_when_there_is_no_quantize(models: Sequence[str]) -> None:
    first, last = models[0], models[-1]
    assert ids(models) == [
        *of(first, "saved_model.float32", "tflite.float32", "onnx.float32"),
        *of(last, *FLOATS, "tflite.int8", "onnx.float32", "onnx.int8"),
    ]


def test_int8_comes_from_quantize_alone_when_it_is_there() -> None:
    assert ids(["train", "quantize"]) == [*of("train", *FLOATS, "onnx.float32"), *of("quantize", *INT8)]


def test_first_last_float_and_quantized_models_are_exported_when_no_stages_are_named() -> None:
    assert ids(ALL) == [
        *of("train", "saved_model.float32", "tflite.float32", "onnx.float32"),
        *of("prune", *FLOATS, "onnx.float32"),
        *of("quantize", *INT8),
    ]


def test_stages_between_are_exported_in_float32_alone_when_they_are_named() -> None:
    assert ids(ALL, export.Config(stages=("quantize", "distill", "prune"))) == [
        *of("train", "saved_model.float32", "tflite.float32", "onnx.float32"),
        *of("distill", "saved_model.float32", "tflite.float32", "onnx.float32"),
        *of("prune", *FLOATS, "onnx.float32"),
        *of("quantize", *INT8),
    ]


def test_first_model_is_exported_though_nobody_names_it() -> None:
    assert ids(ALL, export.Config(stages=("quantize",))) == [
        *of("train", "saved_model.float32", "tflite.float32", "onnx.float32"),
        *of("quantize", *INT8),
    ]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (export.Config(saved_model=("float32",)), of("quantize", "tflite.int8", "onnx.int8")),
        (export.Config(tflite=("int8",), onnx=()), of("quantize", "saved_model.fake-quant", "tflite.int8")),
        (export.Config(tflite=("float32",), onnx=("float32",)), of("quantize", "saved_model.fake-quant")),
        (export.Config(saved_model=("float32",), tflite=("float32",), onnx=()), []),
    ],
)
def test_quantized_model_is_exported_in_what_the_formats_ask_for(config: export.Config, expected: list[str]) -> None:
    assert [name for name in ids(ALL, config) if name.startswith("quantize")] == expected


@pytest.mark.parametrize("models", [("train",), ("train", "distill", "prune"), ("import", "prune")])
def test_fake_quant_is_made_of_quantize_alone(models: Sequence[str]) -> None:
    config = export.Config(stages=tuple(stage for stage in models if stage != "import"))  # type: ignore[arg-type]
    assert not [name for name in ids(models, config) if "fake-quant" in name]
    assert [name for name in ids([*models, "quantize"]) if "fake-quant" in name] == ["quantize.saved_model.fake-quant"]


@pytest.mark.parametrize("models", [("train",), ("import", "quantize"), ("train", "distill"), ALL])
@pytest.mark.parametrize("named", [False, True])
def test_no_artifact_is_planned_twice_and_an_onnx_comes_after_its_tflite(models: Sequence[str], named: bool) -> None:
    stages = tuple(stage for stage in models if stage != "import") if named else None
    planned = ids(models, export.Config(stages=stages))  # type: ignore[arg-type]
    assert len(set(planned)) == len(planned)
    for name in planned:
        if name.endswith("onnx.int8"):
            assert name.replace("onnx", "tflite") in planned[: planned.index(name)]


def test_stage_that_the_recipe_lacks_is_a_conflict_with_those_it_has() -> None:
    (text,) = export.conflicts(export.Config(stages=("prune", "quantize")), ("import", "distill"))
    assert text == "export.stages names what the recipe has not: prune, quantize; it has import, distill (or all)"


def test_files_quantized_after_training_beside_those_of_quantize_are_a_conflict_when_there_is_no_quantize() -> None:
    config = export.Config(after_training=True)
    (text,) = export.conflicts(config, ("train", "prune"))
    assert text.startswith(
        "export.after_training is for int8 files beside those of quantize, and the recipe has no sect"
    )
    assert list(export.conflicts(config, ("train", "quantize"))) == []


def test_optional_artifact_that_is_not_exported_is_a_conflict_with_those_that_are() -> None:
    config = export.Config(optional=("train.onnx.int8", "quantize.onnx.int8"), tflite=("int8",), onnx=("int8",))
    (text,) = export.conflicts(config, ("train", "quantize"))
    assert text == (
        "export.optional names what is not exported: train.onnx.int8; exported: "
        "train.saved_model.float32, quantize.saved_model.fake-quant, quantize.tflite.int8, quantize.onnx.int8"
    )
    assert list(export.conflicts(export.Config(), ALL)) == []


@dataclass(frozen=True)
class Parts:
    """Who plays which part among the files of a recipe."""

    reference: str
    to_serve: str
    final: str


@pytest.mark.parametrize(
    ("models", "config", "expected"),
    [
        (("train",), export.Config(),
         Parts("train.saved_model.float32", "train.saved_model.float32", "train.tflite.int8")),
        (("train", "quantize"), export.Config(),
         Parts("train.saved_model.float32", "train.saved_model.float32", "quantize.tflite.int8")),
        (ALL, export.Config(),
         Parts("train.saved_model.float32", "prune.saved_model.float32", "quantize.tflite.int8")),
        (("import", "distill"), export.Config(),
         Parts("import.saved_model.float32", "distill.saved_model.float32", "distill.tflite.int8")),
        (ALL, export.Config(stages=("distill", "quantize")),
         Parts("train.saved_model.float32", "distill.saved_model.float32", "quantize.tflite.int8")),
        (ALL, export.Config(stages=("quantize",)),
         Parts("train.saved_model.float32", "train.saved_model.float32", "quantize.tflite.int8")),
        (ALL, export.Config(tflite=("float32",), onnx=()),
         Parts("train.saved_model.float32", "prune.saved_model.float32", "prune.saved_model.float32")),
    ],
    ids=["train", "train, quantize", "all", "distill", "all but prune's", "quantize's", "no int8"],
)  # fmt: skip
def test_reference_is_the_first_and_what_is_served_the_last_float_savedmodel_never_the_fake_quant(
    models: Sequence[str], config: export.Config, expected: Parts
) -> None:
    planned = export.plan(config, models)
    found = Parts(plan.reference(planned).id, plan.to_serve(planned).id, plan.final(planned, None).id)
    assert found == expected


def test_final_artifact_is_the_one_that_the_recipe_names() -> None:
    planned = export.plan(export.Config(), ALL)
    assert plan.final(planned, "prune.tflite.float16").id == "prune.tflite.float16"


def test_speed_up_is_against_the_first_models_float32_file_in_the_same_format() -> None:
    planned = export.plan(export.Config(), ALL)
    twins = {item.id: plan.float_twin(planned, item) for item in planned}
    assert twins["quantize.tflite.int8"] == Planned("train", "tflite", "float32")
    assert twins["quantize.onnx.int8"] == Planned("train", "onnx", "float32")
    assert twins["quantize.saved_model.fake-quant"] == Planned("train", "saved_model", "float32")
    without = export.plan(export.Config(tflite=("int8",), onnx=()), ALL)
    assert plan.float_twin(without, Planned("quantize", "tflite", "int8")) is None


@pytest.mark.parametrize(
    ("item", "filename"),
    [
        (Planned("quantize", "tflite", "int8"), "quantize.tflite.int8.tflite"),
        (Planned("prune", "onnx", "float32"), "prune.onnx.float32.onnx"),
        (Planned("train", "saved_model", "float32"), "train.saved_model.float32"),
    ],
)
def test_file_is_called_after_its_artifact(item: Planned, filename: str) -> None:
    assert item.filename == filename
