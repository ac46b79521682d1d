"""What is quantized after training, integer ends and fixed batches: in the file, and in LiteRT."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.doctor import sizes
from pipeline.errors import PromiseError
from pipeline.formats import ConversionError, promised, tflite
from pipeline.formats.precisions import split
from pipeline.formats.tflite import columns_ahead
from pipeline.isolate import Child
from pipeline.measuring import footprint, latency, runtimes
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.plan import Planned
from pipeline.predictor import FormatError
from pipeline.report.model import Model
from tests.pipeline.formats import tiny, tiny_table, tiny_variants
from tests.pipeline.formats.conftest import Exported

# of Keras with the kernels of the file: what its activations add to that; the mean logits are off by 0.43 to 0.52
LIMITS = {
    "float32": 1e-5, "weight-int8": 1e-5, "weight-int4": 1e-5, "dynamic-int4": 0.2, "mixed": 0.02, "int16x8": 0.002,
    "int8": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(converter: Child, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("made")
    return Exported(folder, converter.call(tiny_variants.write_all, folder))


@pytest.fixture(scope="module")
def own(converter: Child, made: Exported) -> dict[str, np.ndarray]:
    return converter.call(tiny_variants.logits_of_own, made.folder)


def file(made: Exported, entry: str) -> Path:
    return made.folder / f"{entry}.tflite"


def answers(path: Path, count: int) -> np.ndarray:
    predictor = tflite.load(path, tiny.SPEC, 1)
    logits: np.ndarray = predictor.predict(tiny.samples(32, seed=1)[:count])["logits"]
    predictor.close()
    return logits


@pytest.mark.parametrize("entry", tiny_variants.ENTRIES)
def test_file_answers_any_number_of_raw_samples_as_keras_with_its_kernels(
    made: Exported, own: dict[str, np.ndarray], entry: str
) -> None:
    limit = LIMITS[entry.partition(".")[0]]
    assert np.abs(own[entry].mean(0) - own[entry]).max() > 2 * limit
    for count in (1, 3, 4, 9, 32):
        found = answers(file(made, entry), count)
        assert found.dtype == np.float32
        assert np.abs(found - own[entry][:count]).max() < limit


def test_weights_are_stored_in_the_bits_of_the_precision_and_computed_as_it_says(made: Exported) -> None:
    for entry, kernels, floating in (
        ("weight-int8", {"int8"}, "CONV_2D"), ("weight-int4", {"int8"}, "CONV_2D"),
        ("dynamic-int4", {"int8"}, "CONV_2D (int4 weights)"), ("int16x8", {"int8"}, None),
    ):  # fmt: skip
        found = tflite.kernels(file(made, entry))
        assert {str(values.dtype) for values in found.values()} == kernels
        assert sorted(values.shape for values in found.values()) == [(4, 16), (8, 3, 3, 1), (16, 3, 3, 8)]
        names = tflite.operators(file(made, entry)).floating_names
        assert names.get(floating, 0) == 2 if floating else names == {}
    sizes = [file(made, entry).stat().st_size for entry in ("weight-int4", "weight-int8", "float32")]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(("entry", "most"), [
    ("float32", (0, 0, 0)), ("weight-int8", (127, 127, 127)), ("weight-int4", (7, 7, 7)), ("dynamic-int4", (7, 7, 7)),
    ("mixed", (127, 7, 0)), ("int16x8", (127, 127, 127)), ("int8", (127, 127, 127)),
])  # fmt: skip
def test_kernels_are_the_nearest_multiples_of_their_channels_scale(
    made: Exported, entry: str, most: tuple[int, ...]
) -> None:
    floats, found = (tiny_variants.dequantized(file(made, one)) for one in ("float32", entry))
    assert found.keys() == floats.keys()
    for shape, steps in zip(((8, 3, 3, 1), (16, 3, 3, 8), (4, 16)), most, strict=True):
        kernel, axes = floats[shape], tuple(range(1, len(shape)))
        scale = np.abs(kernel).max(axes, keepdims=True) / steps if steps else 1e-6
        assert (np.abs(found[shape] - kernel) <= 0.51 * scale).all()


def test_layers_have_the_precision_of_the_last_pattern_that_fits(made: Exported) -> None:
    names = tflite.operators(file(made, "mixed")).floating_names
    assert (names["CONV_2D"], names["CONV_2D (int4 weights)"], names["FULLY_CONNECTED"]) == (1, 1, 1)
    dtypes = {values.shape: str(values.dtype) for values in tflite.kernels(file(made, "mixed")).values()}
    assert dtypes == {(8, 3, 3, 1): "int8", (16, 3, 3, 8): "int8", (4, 16): "float32"}


def test_pattern_of_no_layer_is_refused_with_the_layers(converter: Child, tmp_path: Path) -> None:
    why = r"export.mixed names what is no layer(.|\n)*patterns of conv, conv2, logits"
    with pytest.raises(ConversionError, match=why):
        converter.call(tiny_variants.write_mixed, tmp_path, {"dense*": "weight-int8"})


def test_same_model_makes_the_same_bytes_again(converter: Child, made: Exported, tmp_path: Path) -> None:
    converter.call(tiny_variants.write_again, tmp_path)
    before = tiny.digests(made.folder)
    assert tiny.digests(tmp_path) == {name: before[name] for name in ("mixed.tflite", "weight-int4.tflite")}


@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_integer_ends_keep_names_signature_and_metadata_and_have_a_scale(made: Exported, kind: str) -> None:
    path = file(made, f"int8.{kind}-ends")
    signature = tflite.load(path, None, 1).signature
    ends = {end.name: end for end in (*signature.takes, *signature.gives)}
    assert set(ends) == {"image", "logits", "probabilities"} == {*signature.names, *signature.outputs}
    assert {end.dtype for end in ends.values()} == {kind}
    low = np.iinfo(kind).min
    scale, zero = ends["image"].quantization or (0, 0)
    assert scale == pytest.approx(16 / 255, rel=0.01)
    assert zero == low
    assert ends["probabilities"].quantization == (1 / 256, low)
    from pipeline.formats.tflite.metadata import label_files

    assert label_files(path) == {"labels.txt": "a\nb\nc\nd\n"}


def test_int8_ends_answer_as_the_file_with_float_ends_and_convert_nothing(made: Exported) -> None:
    plain, ends = file(made, "int8"), file(made, "int8.int8-ends")
    assert np.array_equal(answers(plain, 32), answers(ends, 32))
    assert tflite.converted_ends(plain) == ["image", "logits", "probabilities"]
    assert tflite.converted_ends(ends) == []
    assert (tflite.operators(ends).first_integer, tflite.operators(ends).conversions) == (True, 0)


def test_integer_ends_of_a_model_that_learned_to_be_int8_change_no_answer(converter: Child, tmp_path: Path) -> None:
    converter.call(tiny_variants.write_trained, tmp_path)
    plain, *others = (tmp_path / f"{entry}.tflite" for entry in ("int8", "int8.int8-ends", "int8.uint8-ends"))
    for path in others:
        graph = tflite.operators(path)
        assert (graph.floating, graph.first_integer) == (0, True)
        assert np.array_equal(answers(path, 32), answers(plain, 32))
    assert tflite.converted_ends(others[0]) == []


def test_int8_end_that_is_converted_breaks_the_promise_of_its_file(made: Exported) -> None:
    path, item = file(made, "int8"), Planned("train", "tflite", "int8", "int8-ends")
    found = promised.Found(tflite.kernels(path), tflite.operators(path), path)
    described = Model(stage="train", parameters=0, macs=None, sparsity=0, bytes=0, gzip_bytes=0, layers=[])
    with pytest.raises(PromiseError, match=r"int8-ends: an end is converted(.|\n)*found: image, logits"):
        promised.require(item, described, lambda: None, found, tiny.SPEC)


def test_file_with_integer_ends_is_timed_with_integers(made: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, np.ndarray] = {}

    def measure(predictors: dict[str, object], *_: object, instead: dict[str, np.ndarray], **__: object) -> None:
        given.update({name: predictors[name].predict(one[:2])["logits"] for name, one in instead.items()})  # type: ignore[attr-defined]

    monkeypatch.setattr(latency, "measure", measure)
    sources = {entry: runtimes.File("tflite", file(made, entry)) for entry in ("int8", "int8.uint8-ends")}
    runtimes.time(sources, tiny.SPEC, tiny.samples(4, seed=1), 1, LatencyConfig(), 1)
    assert {name: str(logits.dtype) for name, logits in given.items()} == {
        "int8": "float32",
        "int8.uint8-ends": "uint8",
    }


def test_token_ids_stay_int32_between_integer_ends(converter: Child, tmp_path: Path) -> None:
    from tests.pipeline.formats import text

    converter.call(tiny_variants.write_text, tmp_path)
    path = tmp_path / "text.tflite"
    signature = tflite.load(path, None, 1).signature
    assert [end.dtype for end in (*signature.takes, *signature.gives)] == ["int32", "int8", "int8"]
    answer = tflite.load(path, text.SPEC, 1).predict(text.SPEC.tokens(text.SAMPLES))["logits"]
    wanted = converter.call(text.logits_of_ids, text.SPEC)
    assert np.abs(answer - wanted).max() < 0.05


def test_integer_input_is_refused_when_one_scale_would_leave_nothing_of_a_column() -> None:
    with pytest.raises(ConversionError, match=r"features cannot be an integer(.|\n)*at least 16 of 256 steps"):
        columns_ahead.require_one_scale(tiny_table.build("Rescaling"), tiny_table.SPEC)


def test_fixed_batch_is_that_of_the_file_and_what_fills_it_up_changes_nothing(made: Exported) -> None:
    path = file(made, "float32.batch4")
    assert tflite.batch(path) == 4
    alone = answers(path, 1)
    for count in (3, 4, 5, 7):
        together = answers(path, count)
        assert together.shape == (count, 4)
        np.testing.assert_allclose(together[:1], alone, atol=1e-5)


def test_server_gets_no_file_with_integer_ends_or_a_fixed_batch(made: Exported) -> None:
    why = "image, logits, probabilities are integers, and no server tells a client what scale they have"
    assert tflite.unservable(file(made, "int8.int8-ends")) == why
    assert tflite.unservable(file(made, "float32.batch4")) == "it takes batches of 4 alone"
    assert tflite.unservable(file(made, "weight-int4")) == ""


def test_operator_without_int16_activations_is_named(converter: Child, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"no operator of it takes int16 activations for GREATER, SELECT_V2"):
        converter.call(tiny_variants.write_select, tmp_path, "int16x8")


def test_operators_of_tensorflow_are_taken_when_chosen_and_listed_and_not_run(converter: Child, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"TFLite has no operator MaxPool3D") as refused:
        converter.call(tiny_variants.write_pooled, tmp_path, select_tf_ops=False)
    assert re.search(r"set export\.select_tf_ops=true", refused.value.todo)
    converter.call(tiny_variants.write_pooled, tmp_path, select_tf_ops=True)
    assert tflite.operators(tmp_path / "float32.tflite").tensorflow == {"FlexMaxPool3D": 1}
    with pytest.raises(FormatError, match=r"holds operators of TensorFlow's(.|\n)*found: FlexMaxPool3D"):
        tflite.load(tmp_path / "float32.tflite", tiny.SPEC, 1)


@pytest.mark.parametrize("entry", tiny_variants.ENTRIES)
def test_size_of_a_file_is_foreseen_by_the_bits_of_its_weights(made: Exported, entry: str) -> None:
    precision, variant = split(entry)
    item, model = Planned("train", "tflite", precision, variant), tiny.build()
    wide = {"conv": 8, "conv2": 4, "logits": 32} if precision == "mixed" else {}
    size = sizes.expected(item, model, {}, {}, 0, wide)
    found = footprint.size(file(made, entry))
    assert found.bytes / 1.4 < size.bytes < found.bytes * 1.4
    assert found.gzip_bytes / 1.4 < size.gzip_bytes < found.gzip_bytes * 1.4
