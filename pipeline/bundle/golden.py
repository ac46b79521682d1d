"""Golden pairs: real samples of the test split, and what the file itself answers to them in its runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import InputError, RunError
from pipeline.predictor import Samples, Spec, heads, rows

if TYPE_CHECKING:
    from pipeline.data import Split
    from pipeline.signature import End, Signature

PAIRS = 3
# of floats that other kernels add up in another order, of the largest value's size
_FLOAT = 1e-4


@dataclass(frozen=True)
class Chosen:
    """A sample of the test split, or several where a file takes a fixed batch of more.

    Attributes:
        positions: in the test split.
        given: as the data has it, texts as strings; name -> [n, ...].
        wanted: head -> what the data says is right, [n, ...].
    """

    positions: tuple[int, ...]
    given: dict[str, np.ndarray]
    wanted: dict[str, np.ndarray]


@dataclass(frozen=True)
class Pair:
    """What goes into the file, and what comes out of it, in the file's own types; name -> [n, ...]."""

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class Answers:
    """What a file answers.

    Attributes:
        signature: of the file.
        stateful: it has variable tensors, which an app has to reset between sequences.
        pairs: one for each sample.
        steps: output -> what one step of the integers behind it is worth; 0 where there are none.
        elsewhere: output -> the largest difference to what other kernels answer; empty where no others did.
    """

    signature: Signature
    stateful: bool
    pairs: tuple[Pair, ...]
    steps: Mapping[str, float]
    elsewhere: Mapping[str, float] = field(default_factory=dict)

    def beside(self, elsewhere: Mapping[str, float]) -> Answers:
        """Return these with how far the answers of some further kernels are from them."""
        before = self.elsewhere
        return replace(self, elsewhere={name: max(most, before.get(name, 0.0)) for name, most in elsewhere.items()})

    def tolerance(self, end: End) -> float:
        """Return the largest difference that another processor's kernels may make, in the output's own units.

        At least a step of integers, or a ten-thousandth of the largest float; twice what the other kernels that were
        asked differ by, unless they disagree.
        """
        return self._step(end) if end.name in self.disagree else max(self._step(end), 2 * self._others(end))

    @property
    def disagree(self) -> dict[str, float]:
        """Output -> how far other kernels are from these answers, where it is too far to tell a right answer by.

        Twice of it is more than half of what the answers to the samples differ by from each other.
        """
        found = {}
        for end in self.signature.gives:
            arrays = [pair.outputs[end.name] for pair in self.pairs]
            spread = max((apart(one, other) for one, other in combinations(arrays, 2)), default=None)
            twice = 2 * self._others(end)
            if spread is not None and twice > max(self._step(end), spread / 2):
                found[end.name] = self._others(end)
        return found

    def _others(self, end: End) -> float:
        return float(self.elsewhere.get(end.name, 0.0))

    def _step(self, end: End) -> float:
        if np.dtype(end.dtype).kind in "iu":
            return 1.0
        size = max(float(np.abs(pair.outputs[end.name]).max()) for pair in self.pairs)
        return max(_FLOAT * size, self.steps[end.name])


def choose(test: Split, spec: Spec, batch: int) -> list[Chosen]:
    """Return samples of the test split, of different classes where it has such; the same for the same split.

    Args:
        batch: how many the file takes at once.
    """
    number = len(test)
    firsts = list(range(min(PAIRS, number)))
    wanted = heads(spec, test.y)
    if [head.task for head, _ in wanted] == ["classification"]:
        _, places = np.unique(wanted[0][1], return_index=True)
        firsts = sorted(list(dict.fromkeys([*map(int, places[:PAIRS]), *firsts]))[:PAIRS])
    found = []
    for first in firsts:
        positions = [(first + offset) % number for offset in range(batch)]
        given, expected = rows(test.x, np.array(positions)), rows(test.y, np.array(positions))
        right = {head.name: array for head, array in heads(spec, expected)}
        found.append(Chosen(tuple(positions), spec.named(given), right))
    return found


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference between two arrays."""
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


# From here on: what runs in a child, since a file may end the process that runs it.


def answer(path: Path, form: str, samples: Sequence[Mapping[str, np.ndarray]]) -> Answers:
    """Ask a file, with the runtime's usual kernels.

    Args:
        form: "tflite" or "onnx".
        samples: name -> float32 [n, *shape], token ids int32; raw values.

    Raises:
        InputError: it takes something else than the samples have.
        RunError: an answer is not finite.
    """
    from pipeline.edge.ends import quantized
    from pipeline.formats import onnx, tflite

    predictor: Any = (tflite if form == "tflite" else onnx).load(path, None, 1)
    signature: Signature = predictor.signature
    ends = {end.name: end for end in signature.takes}
    if ends.keys() != samples[0].keys():
        raise InputError(
            f"{path.name} is no file of this run: it takes something else than the run's data has",
            expected=f"the inputs {', '.join(samples[0])}", found=", ".join(ends) or "none",
            todo="choose another artifact",
        )  # fmt: skip
    inputs = [{name: quantized(sample[name], end) for name, end in ends.items()} for sample in samples]
    outputs = [_finite(predictor.predict(one), path.name) for one in inputs]
    predictor.close()
    steps, stateful = (_tflite if form == "tflite" else _onnx)(path, signature)
    return Answers(signature, stateful, tuple(map(Pair, inputs, outputs)), steps)


def elsewhere(path: Path, form: str, answers: Answers) -> dict[str, float]:
    """Return output -> the largest difference to what the same runtime's plain kernels answer.

    They are LiteRT's reference kernels, and ONNX Runtime with nothing fused.

    Raises:
        RunError: one of their answers is not finite.
        Exception: whatever the runtime raises that has no such kernel for an operator, or cannot take the file so.
    """
    names = list(answers.steps)
    inputs = [pair.inputs for pair in answers.pairs]
    asked = (
        _litert_reference(path, inputs, names, answers.stateful) if form == "tflite" else _unfused(path, inputs, names)
    )
    plain = [_finite(one, path.name) for one in asked]
    pairs = list(zip(answers.pairs, plain, strict=True))
    return {name: max(apart(pair.outputs[name], other[name]) for pair, other in pairs) for name in names}


def _finite(answers: dict[str, np.ndarray], file: str) -> dict[str, np.ndarray]:
    for name, array in answers.items():
        if not np.isfinite(array).all():
            raise RunError(
                f"{file} answers a sample of the test split with {name} that is not finite", expected="numbers",
                found=str(array[~np.isfinite(array)][0]), todo="choose another artifact",
            )  # fmt: skip
    return answers


def _tflite(path: Path, signature: Signature) -> tuple[dict[str, float], bool]:
    """Return each output's step, and whether the file keeps a state."""
    from pipeline.edge.ends import scales
    from pipeline.formats.tflite.read import tree

    found = scales(path)
    stateful = any(tensor.isVariable for graph in tree(path).subgraphs for tensor in graph.tensors)
    return {end.name: found.get(end.name, 0.0) for end in signature.gives}, stateful


def _onnx(path: Path, signature: Signature) -> tuple[dict[str, float], bool]:
    """Return each output's step, and False."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    constants = {one.name: one for one in graph.initializer if not onnx.external_data_helper.uses_external_data(one)}
    scales = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "DequantizeLinear"}
    found = {name: constants[scale] for name, scale in scales.items() if scale in constants}
    steps = {
        end.name: float(onnx.numpy_helper.to_array(found[end.name]).max()) if end.name in found else 0.0
        for end in signature.gives
    }
    return steps, False


def _litert_reference(
    path: Path, inputs: Sequence[Samples], names: Sequence[str], stateful: bool
) -> Iterator[dict[str, np.ndarray]]:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from pipeline.formats.tflite import read

    model = read.tree(path)
    ends = read.signature_of(model) if read.signature_of(model)["outputs"] else read.bare(model)
    interpreter: Any = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    for one in inputs:
        for name, index in ends["inputs"].items():
            interpreter.resize_tensor_input(index, list(one[name].shape))
        interpreter.allocate_tensors()
        if stateful:
            interpreter.reset_all_variables()
        for name, index in ends["inputs"].items():
            interpreter.set_tensor(index, one[name])
        interpreter.invoke()
        yield {name: interpreter.get_tensor(ends["outputs"][name]) for name in names}


def _unfused(path: Path, inputs: Sequence[Samples], names: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for one in inputs:
        yield dict(zip(names, session.run(list(names), dict(one)), strict=True))
