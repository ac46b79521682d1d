"""What the configuration of a Keras model may name: Keras' own classes and functions, and nothing else.

Keras imports whatever module a configuration names and calls what it finds there, in safe mode too; and from an .h5 it
runs the code of Lambda layers whatever is asked of it. So nothing is left to it to decide: only names from the lists
here pass, of the modules here, under the keys where Keras writes such objects. No TensorFlow is needed to look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

# fmt: off
_DIMENSIONS = tuple(f"{n}D" for n in (1, 2, 3))
LAYERS = frozenset({
    "Functional", "Sequential", "Model", "InputLayer", "Identity",
    "Activation", "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "ThresholdedReLU",
    "Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract",
    *(kind + n for n in _DIMENSIONS for kind in (
        "AveragePooling", "AvgPool", "Conv", "Convolution", "ConvLSTM", "Cropping", "GlobalAveragePooling",
        "GlobalAvgPool", "GlobalMaxPool", "GlobalMaxPooling", "MaxPool", "MaxPooling", "SpatialDropout", "UpSampling",
        "ZeroPadding")),
    *(f"{kind}{n}Transpose" for n in _DIMENSIONS for kind in ("Conv", "Convolution")),
    *(kind + n for n in _DIMENSIONS[:2] for kind in (
        "DepthwiseConv", "LocallyConnected", "SeparableConv", "SeparableConvolution")),
    "AdditiveAttention", "Attention", "Dense", "EinsumDense", "Embedding", "MultiHeadAttention",
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "Normalization",
    "SyncBatchNormalization", "UnitNormalization", "Rescaling", "Resizing", "CenterCrop",
    "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise",
    "Bidirectional", "GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "SimpleRNN", "SimpleRNNCell", "StackedRNNCells",
    "TimeDistributed",
    "CategoryEncoding", "Discretization", "Flatten", "HashedCrossing", "Hashing", "IntegerLookup", "Masking", "Permute",
    "RepeatVector", "Reshape", "StringLookup", "TextVectorization",
    *(f"Random{kind}" for kind in ("Brightness", "Contrast", "Crop", "Flip", "Height", "Rotation", "Translation",
                                   "Width", "Zoom")),
})
INITIALIZERS = frozenset({
    "Constant", "GlorotNormal", "GlorotUniform", "HeNormal", "HeUniform", "Identity", "LecunNormal", "LecunUniform",
    "Ones", "Orthogonal", "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "Zeros",
    "constant", "glorot_normal", "glorot_uniform", "he_normal", "he_uniform", "identity", "lecun_normal",
    "lecun_uniform", "ones", "orthogonal", "random_normal", "random_uniform", "truncated_normal", "variance_scaling",
    "zeros", "uniform", "normal", "one", "zero",
})
REGULARIZERS = frozenset({
    "L1", "L1L2", "L2", "OrthogonalRegularizer", "l1", "l1_l2", "l2", "orthogonal_regularizer",
})
CONSTRAINTS = frozenset({
    "MaxNorm", "MinMaxNorm", "NonNeg", "RadialConstraint", "UnitNorm", "max_norm", "min_max_norm", "non_neg",
    "radial_constraint", "unit_norm",
})
ACTIVATIONS = frozenset({
    "elu", "exponential", "gelu", "hard_sigmoid", "leaky_relu", "linear", "mish", "relu", "relu6", "selu", "sigmoid",
    "silu", "softmax", "softmax_v2", "softplus", "softsign", "swish", "tanh",
})
# where tf_keras, and Keras 2 before it, say that these are
_MODULES = frozenset({
    "keras", "keras.layers", "keras.initializers", "keras.regularizers", "keras.constraints", "keras.activations",
    "keras.models", "keras.mixed_precision", "tf_keras.src.engine.functional", "tf_keras.src.engine.sequential",
    "keras.src.engine.functional", "keras.src.engine.sequential",
})
# fmt: on
_OPERATION_MODULES = frozenset({"tf_keras.src.layers.core.tf_op_layer", "keras.src.layers.core.tf_op_layer"})
# fmt: off
# TensorFlow's functions that a layer TFOpLambda may call: from tensors to tensors, with no file, state or code in them
OPERATIONS = frozenset({
    *(f"math.{name}" for name in (
        "abs", "acos", "add", "add_n", "argmax", "argmin", "asin", "atan", "atan2", "ceil", "cos", "cosh", "cumsum",
        "divide", "divide_no_nan", "equal", "erf", "exp", "expm1", "floor", "floordiv", "floormod", "greater",
        "greater_equal", "is_finite", "is_nan", "l2_normalize", "less", "less_equal", "log", "log1p", "log_sigmoid",
        "logical_and", "logical_not", "logical_or", "maximum", "minimum", "mod", "multiply", "multiply_no_nan",
        "negative", "not_equal", "pow", "reciprocal", "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max",
        "reduce_mean", "reduce_min", "reduce_prod", "reduce_std", "reduce_sum", "reduce_variance", "rint", "round",
        "rsqrt", "scalar_mul", "sigmoid", "sign", "sin", "sinh", "softplus", "sqrt", "square", "squared_difference",
        "subtract", "tan", "tanh", "top_k", "truediv")),
    *(f"nn.{name}" for name in (
        "avg_pool", "avg_pool1d", "avg_pool2d", "bias_add", "crelu", "depth_to_space", "elu", "gelu", "l2_normalize",
        "leaky_relu", "log_softmax", "max_pool", "max_pool1d", "max_pool2d", "relu", "relu6", "selu", "sigmoid",
        "silu", "softmax", "softplus", "softsign", "space_to_depth", "swish", "tanh")),
    *(f"linalg.{name}" for name in ("diag_part", "matmul", "matvec", "norm", "normalize", "trace")),
    "__operators__.add", "__operators__.getitem", "broadcast_to", "cast", "clip_by_value", "compat.v1.shape",
    "compat.v1.transpose", "compat.v1.gather", "concat", "expand_dims", "fill", "gather", "identity", "image.resize",
    "ones_like", "one_hot", "pad", "repeat", "reshape", "reverse", "roll", "shape", "slice", "split", "squeeze",
    "stack", "stop_gradient", "strided_slice", "tensordot", "tile", "transpose", "unstack", "where", "zeros_like",
})
DTYPES = frozenset({
    "float32", "bool", "string", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))})
_OTHER_DTYPES = frozenset({"float16", "bfloat16", "float64", "half", "double"})
# texts that a call may have: what the operations above take besides tensors and numbers
_WORDS = DTYPES | {
    "SAME", "VALID", "NHWC", "CONSTANT", "REFLECT", "SYMMETRIC", "area", "bicubic", "bilinear", "gaussian", "lanczos3",
    "lanczos5", "mitchellcubic", "nearest", "euclidean",
}
# fmt: on
_OPERATION_LAYERS = ("TFOpLambda", "SlicingOpLambda")
_WITHIN = LAYERS | {*_OPERATION_LAYERS}
_CLASSES = LAYERS | INITIALIZERS | REGULARIZERS | CONSTRAINTS
# the keys under which Keras writes objects (the last word of a key), and of which classes
_OBJECTS = {
    "": _WITHIN, "layers": _WITHIN, "layer": _WITHIN, "cell": _WITHIN, "cells": _WITHIN,
    "activation": LAYERS, "initializer": INITIALIZERS, "regularizer": REGULARIZERS, "constraint": CONSTRAINTS,
    "dtype": frozenset({"Policy"}),
}  # fmt: skip
_BY_NAME = {
    "activation": ACTIVATIONS, "initializer": INITIALIZERS, "regularizer": REGULARIZERS, "constraint": CONSTRAINTS
}  # fmt: skip
# plain values as Keras writes them, and the keys that each has: with any other one Keras may take it for an object
_VALUES = {
    "__ellipsis__": {"class_name"}, "__tuple__": {"class_name", "items"}, "TensorShape": {"class_name", "items"},
    "__tensor__": {"class_name", "config"}, "__numpy__": {"class_name", "config"},
}  # fmt: skip
# what calls something that the file names, or holds the bytecode of it
_CODE = ("Lambda", "__lambda__", "function", "ClassMethod", "InstanceMethod", "InstanceProperty")
FILES = ("vocabulary", "vocabulary_file", "filepath", "file_path", "filename")
MODELS = ("Functional", "Sequential", "Model")


@dataclass(frozen=True)
class Finding:
    """Something in a configuration that a model need not have.

    Attributes:
        kind: "code": what Keras would import or call; "path": a file outside; "precision": not float32;
            "counterpart": of Keras 3, without one in tf_keras.
        what: the offender, for a message.
        module: where the class or function is, where the file says so; else "".
        name: its name in there.
        registered: the name by which Keras looks it up.
    """

    kind: Literal["code", "path", "precision", "counterpart"]
    what: str
    module: str = ""
    name: str = ""
    registered: str = ""


def shown(value: Any, most: int = 80) -> str:
    """Return a text from a file, for a message: one line, at most `most` characters, what does not print escaped."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[: most + 1])
    return text if len(text) <= most else text[: most - 3] + "..."


def findings(config: Any) -> list[Finding]:
    """Return what in a model's configuration is not Keras' own, each once, in the order of the file.

    Args:
        config: the parsed JSON; what it says of compiling is passed over (`without_compiling`).
    """
    return list(dict.fromkeys(_walk(config, "")))


def without_compiling(config: Any) -> Any:
    """Return the configuration without losses, metrics and optimizers, which are not loaded, at any depth."""
    if isinstance(config, list):
        return [without_compiling(inner) for inner in config]
    if isinstance(config, dict):
        return {key: without_compiling(inner) for key, inner in config.items() if key != "compile_config"}
    return config


def is_own(name: Any, registered: Any, module: Any) -> bool:
    """Return whether these three, with which Keras looks a class up, lead to a class on the lists here."""
    if not isinstance(name, str) or registered not in (None, name):
        return False
    if name in _OPERATION_LAYERS:
        return module is None or _among(module, _OPERATION_MODULES)
    if name == "Policy":
        return module is None or module == "keras.mixed_precision"
    return name in _CLASSES and (module is None or _among(module, _MODULES))


def _among(value: Any, names: Iterable[str]) -> bool:
    """Return whether a value of any type from a file is one of the names."""
    return isinstance(value, str) and value in names


def _walk(node: Any, key: str) -> Iterator[Finding]:
    """Yield what is wrong with a value and inside of it.

    Args:
        key: under which it stands; a list's is its elements' too; "" is the outermost.
    """
    if isinstance(node, list):
        for inner in node:
            yield from _walk(inner, key)
    elif isinstance(node, dict) and not _is_value(node):
        if "class_name" in node:
            yield from _object(node, key)
        for within, inner in node.items():
            if within == "inbound_nodes":
                yield from _call(inner, operation=_among(node.get("class_name"), _OPERATION_LAYERS))
            elif isinstance(inner, str):
                yield from _word(within, inner)
            elif within == "config" and isinstance(inner, list) and node.get("class_name") == "Sequential":
                yield from _walk(inner, "layers")  # as Keras 2.0 wrote it
            elif within != "compile_config":
                yield from _walk(inner, within or "no name")


def _object(node: dict[str, Any], key: str) -> Iterator[Finding]:
    """Yield what is wrong with one serialized object, not with what is inside of it."""
    name, module, registered = node["class_name"], node.get("module"), node.get("registered_name")
    options, kind = node.get("config"), key.rpartition("_")[2]
    if not isinstance(name, str):
        yield Finding("code", f"a class_name that is no name ({shown(repr(name), 60)})")
    elif name == "function" and kind == "activation" and module == "builtins" and _among(options, ACTIVATIONS):
        if registered not in (None, "function", options):
            yield Finding("code", f"the activation {options}, registered as {shown(registered)}")
    elif name in _CODE:
        of = f" {shown(repr(options))}" if isinstance(options, str) else ""
        layer = options.get("name") if isinstance(options, dict) else None
        where = f" (layer {shown(layer)})" if isinstance(layer, str) else ""
        what = f"a {name.strip('_')}{of}{f' of {shown(module)}' if of and module else ''}{where}"
        named = (module, options, options) if isinstance(options, str) and isinstance(module, str) else ("", "", "")
        yield Finding("code", what, *named)
    elif not is_own(name, registered, module):
        yield _other(name, registered, module)
    elif name not in _OBJECTS.get(kind, ()):
        yield Finding("code", f"a {name} where Keras writes none ({shown(key)})")
    elif name in _OPERATION_LAYERS:
        operation = options.get("function") if isinstance(options, dict) else None
        if not _among(operation, OPERATIONS):
            yield Finding("code", f"the operation {shown(operation)}, which is not among TensorFlow's that are known")
    elif name == "Policy":
        policy = options.get("name") if isinstance(options, dict) else None
        if not _among(policy, DTYPES):
            yield Finding("precision", f"the policy {shown(policy)}")


def _other(name: str, registered: Any, module: Any) -> Finding:
    """Return the finding for a class that is not Keras' own."""
    called = registered if isinstance(registered, str) and registered else name
    at = module if isinstance(module, str) else ""
    if at in _MODULES and called != name:
        return Finding("code", f"{shown(name)}, registered as {shown(called)}", at, name, called)
    where = f" (module {shown(module)})" if module is not None else ""
    return Finding("code", f"{shown(called)}{where}", at, name, called)


def _is_value(node: Any) -> bool:
    """Return whether a dictionary is a plain value as Keras writes it, of numbers alone."""
    if not isinstance(node, dict):
        return node is None or isinstance(node, (bool, int, float))
    name, options = node.get("class_name"), node.get("config")
    if not _among(name, _VALUES) or set(node) != _VALUES[str(name)]:
        return False
    if "config" not in node:
        items = node.get("items", [])
        return isinstance(items, list) and all(map(_is_value, items))
    if not isinstance(options, dict) or set(options) != {"value", "dtype"}:
        return False
    return _among(options["dtype"], DTYPES | _OTHER_DTYPES) and _is_numbers(options["value"])


def _is_numbers(value: Any) -> bool:
    return all(map(_is_numbers, value)) if isinstance(value, list) else isinstance(value, (bool, int, float))


def _call(node: Any, *, operation: bool, key: str = "") -> Iterator[Finding]:
    """Yield what is wrong with the arguments that a layer is called with when the model is built.

    Args:
        node: `inbound_nodes`, or a part of it.
        operation: whether the layer is one of TensorFlow's operations, which take a name for themselves.
        key: under which a text stands.
    """
    if isinstance(node, str):
        if node in _OTHER_DTYPES:
            yield Finding("precision", node)
        elif node not in _WORDS and not (operation and key == "name"):
            yield Finding("code", f"a text as a layer's argument ({shown(repr(node))})")
    elif isinstance(node, list):
        # [layer, number, number] is another layer's output, and a fourth element the arguments
        refers = len(node) in (3, 4) and isinstance(node[0], str) and all(type(one) is int for one in node[1:3])
        constant = len(node) in (3, 4) and node[:2] == ["_CONSTANT_VALUE", -1]
        for inner in node[3:] if refers else node[2:] if constant else node:
            yield from _call(inner, operation=operation)
    elif isinstance(node, dict):
        if "class_name" in node and not _is_value(node):
            yield Finding("code", f"an object as a layer's argument ({shown(node['class_name'])})")
        elif "class_name" not in node:
            for within, inner in node.items():
                yield from _call(inner, operation=operation, key=within)


def _word(key: str, text: str) -> Iterator[Finding]:
    """Yield what is wrong with a text: Keras looks up functions and opens files by such names."""
    kind = key.rpartition("_")[2]
    if kind in _BY_NAME and text not in _BY_NAME[kind]:
        yield Finding("code", f"the {kind} {shown(repr(text))}")
    elif key in FILES:
        yield Finding("path", f"a file of this machine ({shown(repr(text))})")
    elif key == "dtype" and text not in DTYPES:
        yield Finding("precision", shown(text))
