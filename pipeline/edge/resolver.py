"""The operators that a program has to register in TensorFlow Lite for Microcontrollers (TFLM) to run a .tflite.

TFLM links only the kernels that a program names: each kind of operator is a method of its MicroMutableOpResolver.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import RunError
from pipeline.formats.tflite import read
from pipeline.formats.tflite.read import tree

# what has a kernel in TFLM, by TFLite's names
_KINDS = """
    ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS
    BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV
    DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED
    GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG
    LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG
    NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM SVDF TANH TRANSPOSE
    TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE
    """
# words that TFLM's methods write otherwise than with one capital at the start
_WORDS = {"CUMSUM": "CumSum", "LSTM": "LSTM", "MATMUL": "MatMul", "PADV2": "PadV2"}
# custom operators, which are known by a name of their own
ETHOS_U = "ethos-u"  # what Vela puts in the place of all that the NPU computes
_CUSTOM = {
    ETHOS_U: "AddEthosU",
    "CIRCULAR_BUFFER": "AddCircularBuffer",
    "TFLite_Detection_PostProcess": "AddDetectionPostprocess",
}


@dataclass(frozen=True)
class Operator:
    """One kind of operator in a file.

    Attributes:
        kind: TFLite's name, CONV_2D; of a custom operator its own name.
        count: how many of them are in all of the file's graphs.
        method: of MicroMutableOpResolver that registers it, AddConv2D; empty: TFLM has no kernel for it.
    """

    kind: str
    count: int
    method: str


def operators(path: Path) -> tuple[Operator, ...]:
    """Return every kind of operator in a file, in alphabetical order, without running it."""
    model = tree(path)
    found: Counter[tuple[str, str]] = Counter()
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            name, custom = read.kind(model, operator), model.operatorCodes[operator.opcodeIndex].customCode
            found[name, method(name) if custom is None else _CUSTOM.get(name, "")] += 1
    return tuple(Operator(kind, count, adds) for (kind, adds), count in sorted(found.items()))


class MicroError(RunError):
    """TFLM cannot run a file; the message names the operator."""


def require(path: Path) -> None:
    """Check that TFLM has a kernel for each kind of operator in a file, and computes it as LiteRT does.

    Raises:
        MicroError: it does not.
    """
    if lacking := [one for one in operators(path) if not one.method]:
        raise no_kernel(path, ", ".join(f"{one.kind} ({one.count}x)" for one in lacking))
    if found := _misread(path):
        raise MicroError(
            f"TFLM would answer wrongly to {path.name}, without an error",
            expected="operators that it computes as LiteRT does", found=found,
            todo="export the file as int8 or float32",
        )  # fmt: skip


def no_kernel(path: Path, kinds: str) -> MicroError:
    """Return the error for a file with operators that TFLM does not have."""
    return MicroError(
        f"TFLM has no kernel for {kinds} in {path.name}",
        expected="operators that TensorFlow Lite for Microcontrollers has",
        found=kinds, todo="take another architecture for a microcontroller, such as cnn, ds_cnn or mlp",
    )  # fmt: skip


def _misread(path: Path) -> str:
    """Return what TFLM would compute wrongly without a word, as the kind of operator and why; empty: nothing known.

    Its DEQUANTIZE takes the first scale for all of a tensor, so weights that are stored in int8 with a scale for each
    channel come out as others.
    """
    model = tree(path)
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            about = graph.tensors[operator.inputs[0]].quantization if len(operator.inputs) else None
            of_channels = about is not None and about.scale is not None and len(about.scale) > 1
            if of_channels and read.kind(model, operator) == "DEQUANTIZE":
                return "DEQUANTIZE of weights with a scale for each channel, of which it takes the first for all"
    return ""


def method(kind: str) -> str:
    """Return the method that registers a builtin operator; empty: TFLM has no kernel for it."""
    if kind not in _KINDS.split():
        return ""
    # "2D" has no capital to make
    words = (_WORDS.get(word, word if word[0].isdigit() else word.capitalize()) for word in kind.split("_"))
    return "Add" + "".join(words)
