"""What the configuration of a Keras model may name: Keras' own classes and functions, and nothing else.

Keras imports whatever module a configuration names and calls what it finds there, in safe mode too; and from an .h5 it
runs the code of Lambda layers whatever is asked of it. So nothing is left to it to decide: only names from the lists
here pass. No TensorFlow is needed to look.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.measuring.macs import FREE_OPERATIONS

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
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "Normalization", "SpectralNormalization",
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
_CLASSES = LAYERS | INITIALIZERS | REGULARIZERS | CONSTRAINTS
_BY_NAME = {
    "activation": ACTIVATIONS, "initializer": INITIALIZERS, "regularizer": REGULARIZERS, "constraint": CONSTRAINTS
}  # fmt: skip
_VALUES = ("__tuple__", "__ellipsis__", "__tensor__", "__numpy__", "TensorShape")
_OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
# what calls something that the file names, or holds the bytecode of it
_CODE = ("Lambda", "__lambda__", "function", "ClassMethod", "InstanceMethod", "InstanceProperty")
_FILES = ("vocabulary", "vocabulary_file", "filepath", "file_path", "filename")
MODELS = ("Functional", "Sequential", "Model")


@dataclass(frozen=True)
class Finding:
    """Something in a configuration that a model need not have.

    Attributes:
        kind: "code": what Keras would import or call; "path": a file outside; "precision": not float32.
        what: the offender, for a message.
        module: where the class or function is, where the file says so; else "".
        name: its name in there.
        registered: the name by which Keras looks it up.
    """

    kind: Literal["code", "path", "precision"]
    what: str
    module: str = ""
    name: str = ""
    registered: str = ""


def findings(config: Any) -> list[Finding]:
    """Return what in a model's configuration is not Keras' own, each once, in the order of the file.

    Args:
        config: the parsed JSON; what it says of compiling is passed over (`without_compiling`).
    """
    return list(dict.fromkeys(_walk(config)))


def without_compiling(config: Any) -> Any:
    """Return the configuration without losses, metrics and optimizers, which are not loaded, at any depth."""
    if isinstance(config, list):
        return [without_compiling(inner) for inner in config]
    if isinstance(config, dict):
        return {key: without_compiling(inner) for key, inner in config.items() if key != "compile_config"}
    return config


def _walk(node: Any) -> Iterator[Finding]:
    if isinstance(node, list):
        if node[:1] == ["_CONSTANT_VALUE"]:
            for text in (value for value in node[1:] if isinstance(value, str)):
                yield Finding("code", f"a text as a layer's argument ({text!r})")
        for inner in node:
            yield from _walk(inner)
    elif isinstance(node, dict):
        if "class_name" in node:
            yield from _object(node)
        for key, inner in node.items():
            if isinstance(inner, str):
                yield from _word(key, inner)
            elif key != "compile_config":
                yield from _walk(inner)


def _object(node: dict[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with one serialized object, not with what is inside of it."""
    name, module, options = node["class_name"], node.get("module"), node.get("config")
    if not isinstance(name, str):
        yield Finding("code", f"a class_name that is no name ({name!r:.60})")
    elif name in _OPERATIONS:
        operation = options.get("function") if isinstance(options, dict) else None
        if operation not in FREE_OPERATIONS:
            yield Finding("code", f"the operation {operation}")
    elif name == "function" and module == "builtins" and options in ACTIVATIONS:
        return
    elif name in _CODE:
        of = f" {options!r}" if isinstance(options, str) else ""
        layer = options.get("name") if isinstance(options, dict) else None
        where = f" (layer {layer})" if isinstance(layer, str) else ""
        what = f"a {name.strip('_')}{of}{f' of {module}' if of and module else ''}{where}"
        named = (str(module), str(options), str(options)) if of and isinstance(module, str) else ("", "", "")
        yield Finding("code", what, *named)
    elif name == "Policy":
        policy = options.get("name") if isinstance(options, dict) else None
        if policy != "float32":
            yield Finding("precision", f"the policy {policy}")
    elif name in _VALUES:
        return
    elif name not in _CLASSES or ("module" in node and module not in _MODULES):
        registered = node.get("registered_name") or name
        at = module if isinstance(module, str) else ""
        yield Finding("code", f"{registered}{f' (module {at})' if at else ''}", at, name, str(registered))
    elif node.get("registered_name") not in (None, name):
        yield Finding("code", f"{name}, registered as {node['registered_name']}")


def _word(key: str, text: str) -> Iterator[Finding]:
    """Yield what is wrong with a text: Keras looks up functions and opens files by such names."""
    kind = key.rpartition("_")[2]
    if kind in _BY_NAME and text not in _BY_NAME[kind]:
        yield Finding("code", f"the {kind} {text!r}")
    elif key in _FILES:
        yield Finding("path", f"a file of this machine ({text!r})")
    elif key == "dtype" and text in ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16"):
        yield Finding("precision", text)
