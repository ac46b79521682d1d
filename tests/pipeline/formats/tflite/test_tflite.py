"""The .tflite files: precisions, names, ends, and state that must not leak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats import tflite
from pipeline.formats.tflite.write import name_ends
from pipeline.isolate import Child
from tests.pipeline.formats import tiny
from tests.pipeline.formats.conftest import Exported


def interpreter(path: Path):  # type: ignore[no-untyped-def]
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_path=str(path), num_threads=1)


@pytest.mark.parametrize("precision", tiny.PRECISIONS)
def test_a_file_has_the_names_in_its_signature_and_float32_ends(exported: Exported, precision: str) -> None:
    runtime = interpreter(exported.folder / f"{precision}.tflite")
    assert runtime.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["logits", "probabilities"]}
    }
    ends = [*runtime.get_input_details(), *runtime.get_output_details()]
    assert [end["dtype"] for end in ends] == [np.float32] * 3
    assert [end["shape_signature"][0] for end in ends] == [-1] * 3


def test_every_operator_between_the_ends_is_int8_when_the_precision_is_int8(exported: Exported) -> None:
    runtime = interpreter(exported.folder / "int8.tflite")
    dtypes = {tensor["index"]: tensor["dtype"] for tensor in runtime.get_tensor_details()}
    operators = runtime._get_ops_details()
    assert operators[0]["op_name"] == "QUANTIZE"
    inner = [operator for operator in operators if operator["op_name"] not in ("QUANTIZE", "DEQUANTIZE")]
    assert len(inner) >= 5
    for operator in inner:
        assert dtypes[operator["inputs"][0]] == np.int8, operator["op_name"]
        assert dtypes[operator["outputs"][0]] == np.int8, operator["op_name"]


def test_int8_kernels_have_a_scale_per_channel(exported: Exported) -> None:
    runtime = interpreter(exported.folder / "int8.tflite")
    scales = {
        tuple(tensor["shape"]): len(tensor["quantization_parameters"]["scales"])
        for tensor in runtime.get_tensor_details()
    }
    assert scales[(8, 3, 3, 1)] == 8
    assert scales[(16, 3, 3, 8)] == 16


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", np.float32), ("float16", np.float16), ("dynamic-int8", np.int8), ("int8", np.int8)],
)
def test_kernels_are_the_stored_weights_without_shapes_and_biases(
    exported: Exported, precision: str, dtype: type
) -> None:
    found = tflite.kernels(exported.folder / f"{precision}.tflite")
    assert sorted(array.shape for array in found.values()) == [(4, 16), (8, 3, 3, 1), (16, 3, 3, 8)]
    large = next(array for array in found.values() if array.size > 1000)
    assert large.dtype == dtype


def test_float32_kernels_are_those_of_keras(converter: Child, exported: Exported) -> None:
    dense = next(
        array for array in tflite.kernels(exported.folder / "float32.tflite").values() if array.shape == (4, 16)
    )
    assert np.array_equal(dense.T, converter.call(tiny.keras_kernels)["logits/kernel"])


@pytest.mark.parametrize("calibration", [None, tiny.samples(0, seed=1)])
def test_int8_is_refused_when_there_are_no_calibration_samples(tmp_path: Path, calibration: np.ndarray | None) -> None:
    with pytest.raises(InputError, match=r"needs calibration samples[\s\S]*set data.split.calibration above 0"):
        tflite.write(tmp_path, tmp_path / "int8.tflite", tiny.SPEC, "int8", calibration)


def test_a_keras_model_and_its_saved_model_give_the_same_file(
    converter: Child, exported: Exported, tmp_path: Path
) -> None:
    converter.call(tiny.write_tflite_from_keras, tmp_path / "float32.tflite")
    assert tiny.digests(tmp_path) == {"float32.tflite": tiny.digests(exported.folder)["float32.tflite"]}


def test_the_state_of_a_recurrent_model_does_not_carry_over(recurrent: Exported) -> None:
    predictor = tflite.load(recurrent.folder / "lstm.tflite", tiny.SPEC, 1)
    for _ in range(2):
        assert np.abs(predictor.predict(tiny.samples(3, seed=1))["logits"] - recurrent.logits).max() < 1e-5


@pytest.mark.parametrize("precision", tiny.PRECISIONS)
def test_tensorflow_servings_lookup_finds_every_end_by_its_name(exported: Exported, precision: str) -> None:
    # as TF Serving does without SignatureDefs in the metadata: the alias is the tensor's name, in newer versions up to
    # its ":"; a run looks for the tensor by its name, in older versions with ":" and what follows cut off
    runtime = interpreter(exported.folder / f"{precision}.tflite")
    inputs, outputs = ({end["name"]: end["index"] for end in ends}
                       for ends in (runtime.get_input_details(), runtime.get_output_details()))  # fmt: skip
    assert (list(inputs), sorted(outputs)) == (["image"], ["logits", "probabilities"])
    assert not any(":" in name for name in (*inputs, *outputs))
    for one in runtime.get_input_details():
        assert one["shape"].tolist() == [1, 8, 8, 1]  # what the server tells of the input
    assert tflite.unservable(exported.folder / f"{precision}.tflite") == ""


def test_tensor_inside_that_is_called_as_an_end_gives_up_its_name() -> None:
    from ai_edge_litert import schema_py_generated as schema

    def tensor(name: str) -> schema.TensorT:
        made = schema.TensorT()
        made.name = name.encode()
        return made

    def end(name: str, index: int) -> schema.TensorMapT:
        made = schema.TensorMapT()
        made.name, made.tensorIndex = name.encode(), index
        return made

    model, graph, signature = schema.ModelT(), schema.SubGraphT(), schema.SignatureDefT()
    graph.tensors = [tensor("serving_default_image:0"), tensor("logits"), tensor("StatefulPartitionedCall:0")]
    signature.signatureKey = b"serving_default"
    signature.inputs, signature.outputs = [end("image", 0)], [end("logits", 2)]
    model.subgraphs, model.signatureDefs = [graph], [signature]
    name_ends(model)
    assert [one.name for one in graph.tensors] == [b"image", b"logits#1", b"logits"]


def test_file_with_state_is_not_for_a_server(recurrent: Exported) -> None:
    why = {tflite.unservable(path) for path in recurrent.folder.glob("*.tflite")}
    assert "it has variable tensors: behind a server one request's state would reach the next" in why
