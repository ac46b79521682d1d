"""What `x + y`, `x[:, 1:]` and keras.ops.* are in tf_keras: layers where it has them, or TensorFlow's functions."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# where Keras 3 says that its operations are
MODULES = frozenset(f"keras.src.ops.{name}" for name in ("core", "math", "nn", "numpy"))


@dataclass
class Maker:
    """Makes the layers that stand for one operation.

    Attributes:
        keras: tf_keras.
        tf: TensorFlow.
        name: of the operation; its layers are called so, and NAME.1, ... where there are several.
        given: names that such layers of the whole model have.
    """

    keras: Any
    tf: Any
    name: str
    given: set[str]

    def _name(self) -> str:
        names = itertools.chain([self.name], (f"{self.name}.{number}" for number in itertools.count(1)))
        name = next(name for name in names if name not in self.given)
        self.given.add(name)
        return name

    def layer(self, kind: str, *inputs: Any, **options: Any) -> Any:
        """Call a layer of tf_keras."""
        made = getattr(self.keras.layers, kind)(**options, name=self._name())
        return made(inputs[0] if len(inputs) == 1 else list(inputs))

    def call(self, function: str, *args: Any, **options: Any) -> Any:
        """Call a function of TensorFlow, by its name there, as a layer."""
        layers = importlib.import_module("tf_keras.src.layers.core.tf_op_layer")
        found: Any = self.tf
        for part in function.split("."):
            found = getattr(found, part)
        kind = layers.SlicingOpLambda if part == "getitem" else layers.TFOpLambda
        return kind(found, name=self._name())(*args, **options)

    def alike(self, *values: Any) -> list[Any]:
        """Return operands with whole numbers as such with a point where a tensor holds those; Keras 3 does so."""
        fractions = any(self.is_tensor(value) and value.dtype.is_floating for value in values)
        return [float(one) if fractions and type(one) is int else one for one in values]

    def is_tensor(self, value: Any) -> bool:
        """Return whether a value is what a layer answers, and no constant."""
        return hasattr(value, "_keras_history")


Make = Callable[..., Any]


def _function(name: str, *options: str, **constant: Any) -> Make:
    """Return what calls one function; `options` are those of the operation's that it has under the same name."""

    def make(to: Maker, given: Mapping[str, Any], *args: Any, **more: Any) -> Any:
        wanted = {option: given[option] for option in options if option in given}
        return to.call(name, *args, **more, **wanted, **constant)

    return make


def _layer(kind: str, renamed: Mapping[str, str] | None = None, **constant: Any) -> Make:
    """Return what calls one layer, with the operation's options by other names."""

    def make(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
        options = {new: given[old] for old, new in (renamed or {}).items() if old in given}
        return to.layer(kind, x, **options, **constant)

    return make


def _activation(name: str) -> Make:
    return _layer("Activation", activation=name)


def _pair(function: str, kind: str) -> Make:
    """Return what makes a layer of two tensors of one shape, and calls a function with anything else.

    Layers are what the later steps know: `x + y` of a residual block is quantized as Add is.
    """

    def make(to: Maker, given: Mapping[str, Any], x1: Any, x2: Any) -> Any:  # noqa: ARG001
        both = to.is_tensor(x1) and to.is_tensor(x2)
        if both and x1.shape[1:].is_fully_defined() and x1.shape.as_list() == x2.shape.as_list():
            return to.layer(kind, x1, x2)
        return to.call(function, *to.alike(x1, x2))

    return make


def _plain(function: str) -> Make:
    """Return what calls a function of tensors alone."""

    def make(to: Maker, given: Mapping[str, Any], *args: Any) -> Any:  # noqa: ARG001
        return to.call(function, *to.alike(*args))

    return make


def _axes(options: Mapping[str, Any]) -> dict[str, Any]:
    axis = options.get("axis")
    return {"axis": axis, "keepdims": bool(options.get("keepdims", False))}


def _reduction(function: str) -> Make:
    def make(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
        if given.get("initial") is not None:
            raise ValueError(f"{to.name} begins with a value of its own")
        return to.call(function, x, **_axes(given))

    return make


def _arg(function: str) -> Make:
    def make(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
        if given.get("axis") is None or given.get("keepdims"):
            raise ValueError(f"{to.name} is over all axes, or keeps them")
        return to.call(function, x, axis=given["axis"], output_type="int32")

    return make


def _concatenate(to: Maker, given: Mapping[str, Any], xs: Any) -> Any:
    axis = given.get("axis", 0)
    if axis != 0 and all(to.is_tensor(x) for x in xs):
        return to.layer("Concatenate", *xs, axis=axis)
    return to.call("concat", list(xs), axis)


def _getitem(to: Maker, given: Mapping[str, Any], x: Any, key: Any) -> Any:  # noqa: ARG001 - all have one face
    parts = list(key) if isinstance(key, list | tuple) else [key]
    if ... in parts:  # which tf_keras cannot write into a file
        place, sides = parts.index(...), sum(part is not None for part in parts) - 1
        parts[place : place + 1] = [slice(None)] * (len(x.shape) - sides)
    new = [place for place, part in enumerate(_kept(parts)) if part is None]
    answer = to.call("__operators__.getitem", x, [_written(part) for part in parts if part is not None])
    for axis in new:
        answer = to.call("expand_dims", answer, axis)
    return answer


def _written(part: Any) -> Any:
    """Return a part of a key as tf_keras writes it into a file."""
    return {"start": part.start, "stop": part.stop, "step": part.step} if isinstance(part, slice) else part


def _kept(parts: list[Any]) -> list[Any]:
    """Return the parts of a key that stay sides of the answer: all but whole numbers."""
    return [part for part in parts if type(part) is not int]


def _transpose(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    return to.call("transpose", x, perm=given.get("axes"))


def _swapped(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    order = list(range(len(x.shape)))
    one, two = given["axis1"], given["axis2"]
    order[one], order[two] = order[two], order[one]
    return to.call("transpose", x, perm=order)


def _clip(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    return to.call("clip_by_value", x, given["x_min"], given["x_max"])


def _flip(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    axis = given.get("axis")
    axes = list(range(len(x.shape))) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    return to.call("reverse", x, axis=axes)


def _split(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    parts, axis = given["indices_or_sections"], given.get("axis", 0)
    if not isinstance(parts, int):
        size = x.shape[axis]
        parts = [end - start for start, end in zip([0, *parts], [*parts, size], strict=True)]
    return to.call("split", x, parts, axis=axis)


def _round(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    if given.get("decimals", 0):
        raise ValueError(f"{to.name} rounds to decimals")
    return to.call("round", x)


def _cumulated(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    if given.get("axis") is None or given.get("dtype") is not None:
        raise ValueError(f"{to.name} is over all axes, or in another type")
    return to.call("math.cumsum", x, axis=given["axis"])


def _cast(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    return to.call("cast", x, given["dtype"])


def _padded(to: Maker, given: Mapping[str, Any], x: Any, constant_values: Any = None) -> Any:
    mode, width = given.get("mode", "constant"), given["pad_width"]
    if mode not in ("constant", "reflect", "symmetric"):
        raise ValueError(f"{to.name} pads with {mode}")
    rows = [[width, width]] * len(x.shape) if isinstance(width, int) else [list(row) for row in width]
    rows = rows * len(x.shape) if len(rows) == 1 else rows
    return to.call("pad", x, rows, mode=mode.upper(), constant_values=constant_values or 0)


def _take(to: Maker, given: Mapping[str, Any], x: Any, indices: Any) -> Any:
    if given.get("axis") is None:
        raise ValueError(f"{to.name} takes from all axes")
    return to.call("gather", x, indices, axis=given["axis"])


def _one_hot(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    if given.get("sparse"):
        raise ValueError(f"{to.name} is sparse")
    return to.call("one_hot", x, given["num_classes"], axis=given.get("axis", -1))


def _shifted(to: Maker, x: Any) -> Any:
    """Return relu6(x + 3) / 6, which MobileNet calls hard sigmoid."""
    return to.layer("Rescaling", to.layer("ReLU", to.call("math.add", x, 3.0), max_value=6.0), scale=1 / 6)


def _hard_sigmoid(to: Maker, given: Mapping[str, Any], x: Any) -> Any:  # noqa: ARG001
    return _shifted(to, x)


def _hard_silu(to: Maker, given: Mapping[str, Any], x: Any) -> Any:  # noqa: ARG001
    return to.layer("Multiply", x, _shifted(to, x))


def _gelu(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    return to.call("nn.gelu", x, approximate=given.get("approximate", True))


def _elu(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    return to.layer("ELU", x, alpha=given.get("alpha", 1.0))


def _leaky_relu(to: Maker, given: Mapping[str, Any], x: Any) -> Any:
    return to.layer("LeakyReLU", x, alpha=given.get("negative_slope", 0.2))


# from tensors to tensors of the same shape, one function each
_PLAIN = {
    "Absolute": "abs", "Arccos": "acos", "Arcsin": "asin", "Arctan": "atan", "Arctan2": "atan2",
    "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Divide": "truediv", "DivideNoNan": "divide_no_nan",
    "Equal": "equal", "Erf": "erf", "Exp": "exp", "Expm1": "expm1", "Floor": "floor", "FloorDivide": "floordiv",
    "Greater": "greater", "GreaterEqual": "greater_equal", "Isfinite": "is_finite", "Isnan": "is_nan", "Less": "less",
    "LessEqual": "less_equal", "Log": "log", "Log1p": "log1p", "LogSigmoid": "log_sigmoid",
    "LogicalAnd": "logical_and", "LogicalNot": "logical_not", "LogicalOr": "logical_or", "Mod": "floormod",
    "Negative": "negative", "NotEqual": "not_equal", "Power": "pow", "Reciprocal": "reciprocal", "Rsqrt": "rsqrt",
    "Sign": "sign", "Sin": "sin", "Sinh": "sinh", "Sqrt": "sqrt", "Square": "square", "Tan": "tan",
    "TrueDivide": "truediv",
}  # fmt: skip

OPERATIONS: Mapping[str, Make] = {
    **{name: _plain(f"math.{function}") for name, function in _PLAIN.items()},
    **{
        name: _pair(f"math.{name.lower()}", name) for name in ("Add", "Maximum", "Minimum", "Multiply", "Subtract")
    },
    **{name: _reduction(f"math.reduce_{function}") for name, function in {
        "All": "all", "Amax": "max", "Amin": "min", "Any": "any", "Logsumexp": "logsumexp", "Max": "max",
        "Mean": "mean", "Min": "min", "Prod": "prod", "Std": "std", "Sum": "sum", "Var": "variance"}.items()},
    **{name: _activation(name.lower()) for name in (
        "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh")},
    "Argmax": _arg("math.argmax"),
    "Argmin": _arg("math.argmin"),
    "BroadcastTo": _function("broadcast_to", "shape"),
    "Cast": _cast,
    "Clip": _clip,
    "Concatenate": _concatenate,
    "Copy": _function("identity"),
    "Cumsum": _cumulated,
    "Elu": _elu,
    "ExpandDims": _function("expand_dims", "axis"),
    "Flip": _flip,
    "Gelu": _gelu,
    "GetItem": _getitem,
    "HardSigmoid": _hard_sigmoid,
    "HardSilu": _hard_silu,
    "HardTanh": _function("clip_by_value", clip_value_min=-1.0, clip_value_max=1.0),
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _function("nn.log_softmax", "axis"),
    "Matmul": _function("linalg.matmul"),
    "OneHot": _one_hot,
    "OnesLike": _function("ones_like"),
    "Pad": _padded,
    "Relu": _layer("ReLU"),
    "Relu6": _layer("ReLU", max_value=6.0),
    "Repeat": _function("repeat", "repeats", "axis"),
    "Reshape": lambda to, given, x: to.call("reshape", x, given["newshape"]),
    "Roll": _function("roll", "shift", "axis"),
    "Round": _round,
    "Silu": _activation("swish"),
    "Softmax": _layer("Softmax", {"axis": "axis"}),
    "Split": _split,
    "Squeeze": _function("squeeze", "axis"),
    "Stack": _function("stack", "axis"),
    "StopGradient": _function("stop_gradient"),
    "Swapaxes": _swapped,
    "Take": _take,
    "Tensordot": _function("tensordot", "axes"),
    "Tile": lambda to, given, x: to.call("tile", x, given["repeats"]),
    "Transpose": _transpose,
    "Where": _plain("where"),
    "ZerosLike": _function("zeros_like"),
}  # fmt: skip
