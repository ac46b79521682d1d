"""A .tflite in LiteRT, with its default kernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats.tflite.graph import FLEX
from pipeline.formats.tflite.read import bare, signature_of, tree
from pipeline.predictor import Ends, FormatError, Samples, Spec, count, require_ends
from pipeline.signature import STRING, End, Signature


class TflitePredictor:
    """A .tflite in LiteRT, resized when the batch size changes.

    With a `Spec`, a file with integer ends is asked and answers as any other: raw float32 values go in by the scale and
    zero point of its inputs, and come out by those of its outputs. That is no part of the file: latencies are to be
    measured without a spec, of samples as `stored` gives them.

    A file with a fixed batch answers others in pieces; what fills the last one up is taken out of its answer.
    """

    def __init__(self, path: Path, spec: Spec | None, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        model = tree(path)
        _require_known(path.name, model)
        self._interpreter: Any = Interpreter(model_path=str(path), num_threads=threads)
        names = signature_of(model)
        if spec is None and not names["outputs"]:
            names = bare(model)
        details = {item["index"]: item for item in self._interpreter.get_tensor_details()}
        self.signature = Signature(
            *(tuple(_end(name, details[index]) for name, index in names[key].items()) for key in ("inputs", "outputs"))
        )
        if spec is not None:
            _require(path.name, spec, self.signature, details, names)
        self._ends: Ends = self.signature if spec is None else spec
        self._inputs: dict[str, int] = {name: names["inputs"][name] for name in self._ends.names}
        self._outputs: dict[str, int] = {name: names["outputs"][name] for name in self._ends.outputs}
        self._converts = spec is not None and self.integer
        self._scales = {end.name: end.quantization for end in self.signature.gives if end.quantization}
        # An LSTM keeps its state in variable tensors: left alone, it would carry over into the next call.
        self._stateful = any(tensor.isVariable for graph in model.subgraphs for tensor in graph.tensors)
        # The converter takes some layers with a fixed batch only, and such a graph cannot be resized.
        fixed = {end.shape[0] for end in self.signature.takes if end.shape}
        self._batch = 1 if 1 in fixed else fixed.pop() if len(fixed) == 1 else None
        self._shapes: list[tuple[int, ...]] = []

    @property
    def integer(self) -> bool:
        """Whether some inputs or outputs are integers that stand for other numbers."""
        return any(end.quantization for end in (*self.signature.takes, *self.signature.gives))

    def stored(self, samples: Samples) -> Samples:
        """Return raw samples as the file's inputs hold them: integers, by scale and zero point, or as they are."""
        given = self._ends.named(samples)
        for end in self.signature.takes:
            if end.quantization is not None and given[end.name].dtype.kind == "f":
                scale, zero = end.quantization
                bounds = np.iinfo(end.dtype)
                found = np.clip(np.rint(given[end.name] / np.float32(scale)) + zero, bounds.min, bounds.max)
                given[end.name] = found.astype(end.dtype)
        return given if isinstance(samples, Mapping) else next(iter(given.values()))

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """See `Predictor.predict`; without a spec all goes in and comes out as the file has it."""
        given = self._ends.named(self.stored(batch) if self._converts else batch)
        size, total = self._batch, count(batch)
        if size is None or size == total:
            answer = self._invoke(given)
        else:
            pieces = [self._piece(given, start, size) for start in range(0, total, size)]
            answer = {name: np.concatenate([piece[name] for piece in pieces])[:total] for name in self._outputs}
        return {name: self._raw(name, values) for name, values in answer.items()} if self._converts else answer

    def _piece(self, given: Mapping[str, np.ndarray], start: int, size: int) -> dict[str, np.ndarray]:
        """Return the answers to `size` samples; where there are fewer, the last one fills the rest."""
        places = np.minimum(np.arange(start, start + size), len(next(iter(given.values()))) - 1)
        return self._invoke({name: array[places] for name, array in given.items()})

    def _raw(self, name: str, values: np.ndarray) -> np.ndarray:
        if name not in self._scales:
            return values
        scale, zero = self._scales[name]
        found: np.ndarray = (values.astype(np.float32) - np.float32(zero)) * np.float32(scale)
        return found

    def _invoke(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        interpreter = self._interpreter
        shapes = [given[name].shape for name in self._inputs]
        if shapes != self._shapes:
            for index, shape in zip(self._inputs.values(), shapes, strict=True):
                interpreter.resize_tensor_input(index, list(shape))
            interpreter.allocate_tensors()
            self._shapes = shapes
        if self._stateful:
            interpreter.reset_all_variables()
        for name, index in self._inputs.items():
            interpreter.set_tensor(index, given[name])
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in self._outputs.items()}

    def close(self) -> None:
        """Drop the interpreter and its arena."""
        self._interpreter = None


def _require(
    file: str, spec: Spec, found: Signature, details: Mapping[int, Any], names: Mapping[str, Mapping[str, int]]
) -> None:
    """Check that a file has the spec's ends: float32, or 8-bit integers that stand for them, and token ids int32."""
    shapes = {end.name: end.shape or () for end in found.takes}
    require_ends(file, spec, inputs=shapes, outputs=names["outputs"])
    text = {one.name for one in spec.inputs if one.vectorizer is not None}
    asked = {*spec.names, *spec.outputs}
    wrong = [end for end in (*found.takes, *found.gives) if end.name in asked and not _fits(end, end.name in text)]
    if wrong:
        every = {**names["inputs"], **names["outputs"]}
        kinds = (f"{details[every[end.name]]['name']} {end.dtype}" for end in wrong)
        raise FormatError(
            f"{file} has ends of another type",
            expected="float32, or int8 and uint8 with a scale" + (", token ids int32" if text else ""),
            found=", ".join(kinds),
            todo="export it with float32, int8 or uint8 ends",
        )


def _fits(end: End, tokens: bool) -> bool:
    if tokens:
        return end.dtype == "int32"
    return end.dtype == "float32" or (end.dtype in ("int8", "uint8") and end.quantization is not None)


def _require_known(file: str, model: Any) -> None:
    """Refuse what LiteRT has no kernels for, before it says so in other words at the first sample."""
    codes = ((code.customCode or b"").decode() for code in model.operatorCodes)
    foreign = sorted(name for name in codes if name.startswith(FLEX))
    if foreign:
        raise FormatError(
            f"{file} cannot be run here: it holds operators of TensorFlow's (export.select_tf_ops)",
            expected="operators of TFLite; neither LiteRT nor TensorFlow's interpreter for Python has the others",
            found=", ".join(foreign),
            todo="measure it in the app that brings them along (Flex), with its id in export.optional",
        )


def _end(name: str, detail: Mapping[str, Any]) -> End:
    dtype = np.dtype(detail["dtype"])
    sizes = detail["shape_signature"].tolist() or detail["shape"].tolist()
    scale, zero = detail["quantization"]
    return End(
        name, STRING if dtype.kind in "SUO" else dtype.name, tuple(None if size < 0 else int(size) for size in sizes),
        (float(scale), int(zero)) if scale else None,
    )  # fmt: skip


def load(path: Path, spec: Spec | None, threads: int) -> TflitePredictor:
    """Load a .tflite in LiteRT with its default kernels (XNNPACK) on `threads` threads.

    Args:
        path: the file.
        spec: names and shapes; None: those of the file, whatever they are (`TflitePredictor.signature`).
        threads: of the interpreter.

    Raises:
        FormatError: inputs and outputs are not the spec's, or of other types; or operators are TensorFlow's.
    """
    return TflitePredictor(path, spec, threads)
