"""TFLite: converted from a SavedModel, run in LiteRT."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.errors import InputError
from pipeline.formats import (
    UNROLLED_STEPS,
    ConversionError,
    columns_ahead,
    converting,
    detours,
    recurrent,
    saved_model,
    tflite_metadata,
)
from pipeline.formats import half_weights as halving
from pipeline.formats import operators as counting
from pipeline.formats import tflite_sparse as sparse
from pipeline.formats.operators import Operators, Way
from pipeline.predictor import FormatError, Samples, Spec, count, require_ends, rows

Precision = Literal["float32", "sparse-float32", "float16", "dynamic-int8", "int8"]


def write(
    source: Any, path: Path, spec: Spec, precision: Precision, calibration: Samples | None = None, *,
    fake_quant: bool = False, half_weights: bool = False, unrolled_steps: int = UNROLLED_STEPS,
) -> None:  # fmt: skip
    """Write one .tflite file with the signature `serving_default` and float32 ends; texts go in as int32 token ids.

    Args:
        source: a Keras model, or, where that has no recurrent layers (`recurrent.loops`), takes no texts and scales no
            columns (`columns_ahead`), the folder of a SavedModel that holds `1/` (several precisions then share it).
        path: the file to write.
        spec: names and shapes.
        precision: `float32`; `sparse-float32` (kernels with many zeros are stored without them); `float16` (weights);
            `dynamic-int8` (weights int8, activations quantized while it runs); `int8` (weights per channel,
            activations, every operator).
        calibration: raw samples, n >= 1, texts as token ids, that fix the ranges of activations; `int8` only.
        fake_quant: the source brings its ranges along, from quantization-aware training; what it computes in float
            stays float.
        half_weights: what computes in float32 has its kernels as float16 (`half_weights.py`).
        unrolled_steps: see `recurrent.way`.

    Raises:
        ConversionError: the converter refuses the model, or stores no kernel of a `sparse-float32` file sparsely.
        InputError: `int8` without calibration samples.
    """
    if precision == "int8" and not fake_quant and (calibration is None or count(calibration) == 0):
        raise InputError(
            "an int8 .tflite needs calibration samples",
            expected="at least one sample in the calibration split",
            found="none",
            todo="set data.split.calibration above 0",
        )
    integer = precision in ("int8", "dynamic-int8") and not fake_quant
    if integer and not isinstance(source, Path) and columns_ahead.scales(source, spec):
        ahead = columns_ahead.of(source, spec)
        scaled = None if calibration is None else ahead.scaled(calibration)
        _write(ahead.rest, path, spec, precision, scaled, fake_quant, half_weights, unrolled_steps, ahead)
    else:
        _write(source, path, spec, precision, calibration, fake_quant, half_weights, unrolled_steps)


def _write(
    source: Any, path: Path, spec: Spec, precision: Precision, calibration: Samples | None, fake_quant: bool,
    half_weights: bool, unrolled_steps: int, ahead: columns_ahead.Ahead | None = None,
) -> None:  # fmt: skip
    if not isinstance(source, Path):
        post_training = precision == "int8" and not fake_quant
        way = recurrent.way(source, unrolled_steps, precision, post_training=post_training)
        # Beside the target, so that even a killed process leaves nothing elsewhere.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saved_model-") as folder:
            with recurrent.written(source, way, fused=not fake_quant):
                saved_model.write(source, Path(folder), spec, batch=1 if way == "single" else None, strings=False)
            given = Path(folder)
            _write(given, path, spec, precision, calibration, fake_quant, half_weights, unrolled_steps, ahead)
        return

    from pipeline import legacy_keras

    legacy_keras.load()
    import tensorflow as tf

    with converting(f"tflite {precision}"):
        folder_1 = str(source / saved_model.VERSION)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder_1, signature_keys=[saved_model.SIGNATURE])
        if precision == "sparse-float32":
            converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
        elif precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if precision == "int8" and not fake_quant:

            def samples() -> Iterator[dict[str, np.ndarray]]:
                assert calibration is not None
                for place in range(count(calibration)):
                    yield spec.named(rows(calibration, slice(place, place + 1)))

            converter.representative_dataset = samples
            # Without this an operator that has no int8 kernel would quietly stay float.
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        model = _parsed(bytes(converter.convert()))
        if ahead is not None:
            columns_ahead.prepend(model, ahead)
        if precision == "sparse-float32" and not any(one.sparsity for one in model.subgraphs[0].tensors):
            raise ConversionError(
                "no kernel has zeros enough for the converter to store it sparsely",
                expected="kernels with many zeros, as prune makes them", found="too few in each",
                todo="raise prune.final_sparsity, or take sparse-float32 out of export.tflite",
            )  # fmt: skip
        if fake_quant:
            detours.remove(model)
        if half_weights:
            halving.halve(model)
        content = tflite_metadata.add(model, spec, *_ends(model))
    path.write_bytes(content)


class TflitePredictor:
    """A .tflite in LiteRT, resized when the batch size changes."""

    def __init__(self, path: Path, spec: Spec, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_path=str(path), num_threads=threads)
        names = signature(path)
        details = {item["index"]: item for item in self._interpreter.get_tensor_details()}
        shapes = {name: tuple(details[index]["shape_signature"].tolist()) for name, index in names["inputs"].items()}
        require_ends(path.name, spec, inputs=shapes, outputs=names["outputs"])
        self._inputs: dict[str, int] = {one.name: names["inputs"][one.name] for one in spec.inputs}
        self._outputs: dict[str, int] = {name: names["outputs"][name] for name in spec.outputs}
        text = {self._inputs[one.name] for one in spec.inputs if one.vectorizer is not None}
        integer = [
            details[index]["name"]
            for index in (*self._inputs.values(), *self._outputs.values())
            if details[index]["dtype"] != (np.int32 if index in text else np.float32)
        ]
        if integer:
            raise FormatError(
                f"{path.name} has integer ends",
                expected="float32 inputs and outputs" + (", token ids int32" if text else ""),
                found=f"quantized {', '.join(integer)}",
                todo="export it with float32 ends",
            )
        self._spec = spec
        # An LSTM keeps its state in variable tensors: left alone, it would carry over into the next call.
        self._stateful = any(tensor.isVariable for graph in _read(path).subgraphs for tensor in graph.tensors)
        # The converter takes some layers with a batch of one only, and such a graph cannot be resized.
        self._single = any(shape[0] == 1 for shape in shapes.values())
        self._batch = 0

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """See `Predictor.predict`."""
        if not self._single or count(batch) == 1:
            return self._invoke(batch)
        answers = [self._invoke(rows(batch, slice(place, place + 1))) for place in range(count(batch))]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in self._outputs}

    def _invoke(self, batch: Samples) -> dict[str, np.ndarray]:
        interpreter, given, wanted = self._interpreter, self._spec.named(batch), count(batch)
        if wanted != self._batch:
            for one in self._spec.inputs:
                interpreter.resize_tensor_input(self._inputs[one.name], [wanted, *one.shape])
            interpreter.allocate_tensors()
            self._batch = wanted
        if self._stateful:
            interpreter.reset_all_variables()
        for name, index in self._inputs.items():
            interpreter.set_tensor(index, given[name])
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in self._outputs.items()}

    def close(self) -> None:
        """Drop the interpreter and its arena."""
        self._interpreter = None


def load(path: Path, spec: Spec, threads: int) -> TflitePredictor:
    """Load a .tflite in LiteRT with its default kernels (XNNPACK) on `threads` threads.

    Raises:
        FormatError: inputs and outputs are not the spec's, or not float32.
    """
    return TflitePredictor(path, spec, threads)


def _read(path: Path) -> Any:
    """Return the file as the object tree of LiteRT's own schema."""
    return _parsed(path.read_bytes())


def _parsed(content: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(content, 0)


def signature(path: Path) -> dict[str, dict[str, int]]:
    """Return {"inputs": {name: tensor index}, "outputs": {...}} of `serving_default`; empty where there is none."""
    return _signature(_read(path))


def _ends(model: Any) -> tuple[list[str], list[str]]:
    """Return the names of inputs and of outputs in the order in which the main graph has them."""
    graph, names = model.subgraphs[0], _signature(model)
    ordered = []
    for places, by_name in ((graph.inputs, names["inputs"]), (graph.outputs, names["outputs"])):
        named = {index: name for name, index in by_name.items()}
        ordered.append([named[int(index)] for index in places])
    return ordered[0], ordered[1]


def _signature(model: Any) -> dict[str, dict[str, int]]:
    for item in model.signatureDefs or []:
        if item.signatureKey == saved_model.SIGNATURE.encode():
            return {
                "inputs": {end.name.decode(): int(end.tensorIndex) for end in item.inputs},
                "outputs": {end.name.decode(): int(end.tensorIndex) for end in item.outputs},
            }
    return {"inputs": {}, "outputs": {}}


def batch(path: Path) -> int | None:
    """Return the only number of samples that a file takes at once; None: any."""
    tensors = _read(path).subgraphs[0].tensors
    inputs = [tensors[index] for index in signature(path)["inputs"].values()]
    # only what is not fixed has a signature of its shape
    fixed = [int(one.shape[0]) for one in inputs if one.shapeSignature is None or one.shapeSignature[0] > 0]
    return fixed[0] if fixed else None


def tensor_names(path: Path) -> list[str]:
    """Return the names of the main graph's tensors, by index."""
    return [tensor.name.decode() for tensor in _read(path).subgraphs[0].tensors]


def kernels(path: Path) -> dict[str, np.ndarray]:
    """Return the weight constants of rank 2 and more in the file, by tensor name, as they are stored (float or int).

    Those that are stored sparsely have their zeros again.
    Where the integer that means 0 is another one (an Embedding's, quantized after training), it is subtracted: int16.
    """
    from ai_edge_litert.schema_py_generated import TensorType

    dtypes = {
        TensorType.FLOAT32: np.float32,
        TensorType.FLOAT16: np.float16,
        TensorType.INT8: np.int8,
        TensorType.UINT8: np.uint8,
        TensorType.INT16: np.int16,
    }
    model = _read(path)
    found: dict[str, np.ndarray] = {}
    seen: set[int] = set()
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        data = model.buffers[tensor.buffer].data
        # Shapes, paddings and indices are int32 or int64, and no weights; tied tensors share one buffer.
        if data is None or len(tensor.shape) < 2 or tensor.type not in dtypes or tensor.buffer in seen:
            continue
        seen.add(tensor.buffer)
        name = tensor.name.decode()
        name = name if name not in found else f"{name}#{tensor.buffer}"
        values = np.frombuffer(data.tobytes(), dtypes[tensor.type])
        if tensor.sparsity is None:
            values = values.reshape(tensor.shape)
        else:
            values = sparse.dense(values, tuple(int(side) for side in tensor.shape), tensor.sparsity)
        zero = tensor.quantization.zeroPoint if tensor.quantization is not None else None
        if values.dtype == np.int8 and zero is not None and len(zero) == 1 and zero[0] != 0:
            values = values.astype(np.int16) - np.int16(zero[0])
        found[name] = values
    return found


def operators(path: Path) -> Operators:
    """Count the file's operators by the types of their tensors; what only handles shapes is left out.

    A hybrid operator (float activations, int8 weights) is a floating one, named "KIND (int8 weights)".
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    kinds = {code: name for name, code in vars(BuiltinOperator).items() if not name.startswith("_")}
    model = _read(path)
    found: list[tuple[str, Way]] = []
    channel_axes: dict[str, tuple[int, ...]] = {}
    for graph in model.subgraphs:
        made_from = {}  # a tensor that is stored in another type -> the stored one
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]
            if kind == "CUSTOM":
                kind = code.customCode.decode()
            inputs = [graph.tensors[index] for index in operator.inputs if index >= 0]
            outputs = [graph.tensors[index] for index in operator.outputs if index >= 0]
            if kind in (*_CONVERSIONS, _DENSIFY):
                made_from[operator.outputs[0]] = operator.inputs[0]
            if kind in _CHANNEL_AXES:
                index = operator.inputs[1]
                while index in made_from:
                    index = made_from[index]
                channel_axes[graph.tensors[index].name.decode()] = _CHANNEL_AXES[kind]
            constant = [tensor for tensor in inputs if model.buffers[tensor.buffer].data is not None]
            way = _way(kind, {tensor.type for tensor in (*inputs, *outputs)})
            if way == "floating" and {tensor.type for tensor in constant} & _narrow():
                kind = f"{kind} (int8 weights)"
            if way is not None:
                found.append((kind, way))
    return counting.count(found, channel_axes)


_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
_DENSIFY = "DENSIFY"  # unpacks a constant that is stored sparsely, once, before the first answer
# OHWI, IHWO for depthwise (I is 1), DHWIO, [out, in]
_CHANNEL_AXES = {
    "CONV_2D": (0,),
    "TRANSPOSE_CONV": (0,),
    "DEPTHWISE_CONV_2D": (3,),
    "CONV_3D": (4,),
    "FULLY_CONNECTED": (0,),
}


def _narrow() -> set[int]:
    from ai_edge_litert.schema_py_generated import TensorType

    return {TensorType.INT4, TensorType.INT8, TensorType.UINT8, TensorType.INT16}


def _way(kind: str, types: set[int]) -> Way | None:
    """Return how an operator over tensors of these types computes; None: it computes nothing of the model's values."""
    from ai_edge_litert.schema_py_generated import TensorType

    floats = {TensorType.FLOAT16, TensorType.FLOAT32, TensorType.FLOAT64, TensorType.BFLOAT16} & types
    if kind in _CONVERSIONS or (kind == "CAST" and floats and _narrow() & types):
        return "conversion"
    if kind == "FAKE_QUANT":
        return "fake_quant"
    if kind in ("SHAPE", _DENSIFY):
        return None
    if floats:
        return "floating"
    return "integer" if _narrow() & types else None
