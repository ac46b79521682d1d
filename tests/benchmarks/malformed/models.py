"""The models that are asked, and what their kernels say: `python -m tests.benchmarks.malformed.models FOLDER`.

`MODELS` is known without TensorFlow: what an input's shape and values lead to follows from rule 3.4 and from the
definition of each operation.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]
INVALID, EXHAUSTED = "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"
SAME = ("float", "double", "int32", "int64", "uint8", "int16", "bool", "string", "half")
_LARGEST_BYTES = 2**34  # an answer that is larger finds no memory on the machines that run this


class KernelError(Exception):
    """A kernel refuses its input, with this code."""

    @property
    def code(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Signature:
    """One signature.

    Attributes:
        inputs: alias -> TensorFlow's name of its dtype.
        run: what the graph makes of arrays: alias -> shape of an output; raises KernelError.
    """

    inputs: dict[str, str]
    outputs: tuple[str, ...]
    run: Callable[[Arrays], Shapes]


@dataclass(frozen=True)
class Model:
    """One model, served as version 1."""

    signatures: dict[str, Signature]
    labels: dict[str, int] = field(default_factory=dict)


def _require(holds: bool) -> None:
    if not holds:
        raise KernelError(INVALID)


def _elementwise(x: Arrays) -> Shapes:
    return {"y": x["x"].shape}


def _pair(x: Arrays) -> Shapes:
    a, b = x["a"].shape, x["b"].shape
    _require(len(b) > 0)
    try:
        total = np.broadcast_shapes(a, (b[0], 1, *b[1:]))
    except ValueError:
        raise KernelError(INVALID) from None
    return {"total": total, "twice": b}


def _text(x: Arrays) -> Shapes:
    return {"plain": x["s"].shape, "raw_bytes": x["s"].shape}


def _convolution(x: Arrays) -> Shapes:
    """The filter is [3, 3, 1, 4], padded: any size, and channels that divide the 4 make groups.

    What oneDNN makes of no pixels keeps the depth of the input, and the dense layer wants 4.
    """
    shape = x["image"].shape
    _require(len(shape) == 4 and shape[3] > 0 and 4 % shape[3] == 0)
    _require(0 not in shape or shape[3] == 4)
    return {"y": (shape[0], 3)}


def _guarded(x: Arrays) -> Shapes:
    _require(x["image"].shape[1:] == (8, 8, 1))
    return _convolution(x)


def _flatten(x: Arrays) -> Shapes:
    _require(x["x"].size % 16 == 0)
    return {"y": (x["x"].size // 16, 3)}


def _divide(x: Arrays) -> Shapes:
    _require(bool((x["x"] != 0).all()))
    return _elementwise(x)


def _number(x: Arrays) -> Shapes:
    try:
        np.array(x["s"].ravel().tolist(), np.float64)
    except ValueError:
        raise KernelError(INVALID) from None
    return {"y": x["s"].shape}


def _outer(x: Arrays) -> Shapes:
    """x[:, None] * x[None, :]."""
    shape = x["x"].shape
    _require(len(shape) > 0)
    found = np.broadcast_shapes((shape[0], 1, *shape[1:]), (1, *shape))
    if math.prod(found) * 4 > _LARGEST_BYTES:
        raise KernelError(EXHAUSTED)
    return {"y": found}


def _one(inputs: dict[str, str], outputs: tuple[str, ...], run: Callable[[Arrays], Shapes]) -> Model:
    return Model({"serving_default": Signature(inputs, outputs, run)})


_HALF = Signature({"x": "float"}, ("y",), _elementwise)
MODELS = {
    "half": Model({"serving_default": _HALF, "other": _HALF}, {"stable": 1, "gone": 9}),
    "pair": _one({"a": "float", "b": "int32"}, ("total", "twice"), _pair),
    "text": _one({"s": "string"}, ("plain", "raw_bytes"), _text),
    "convolution": _one({"image": "float"}, ("y",), _convolution),  # it has more, which are asked one by one
    "guarded": _one({"image": "float"}, ("y",), _guarded),
    "flatten": _one({"x": "float"}, ("y",), _flatten),
    "graph1": _one({"x": "float"}, ("y",), _elementwise),
    "same": Model({dtype: Signature({"x": dtype}, ("y",), _elementwise) for dtype in SAME}),
    "divide": _one({"x": "int32"}, ("y",), _divide),
    "number": _one({"s": "string"}, ("y",), _number),
    "outer": _one({"x": "float"}, ("y",), _outer),
}
VALID_SHAPES: dict[str, tuple[int, ...]] = {"convolution": (2, 8, 8, 1), "guarded": (2, 8, 8, 1), "flatten": (2, 4, 4)}


def config(folder: Path) -> str:
    """Return the ModelServerConfig of the models in a folder."""
    entries = []
    for name, model in MODELS.items():
        labels = "".join(f' version_labels {{ key: "{key}" value: {to} }}' for key, to in model.labels.items())
        entries.append(f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow"{labels} }}')
    return f"model_config_list {{ {' '.join(entries)} }}"


def write(folder: Path) -> None:
    """Write every model as FOLDER/NAME/1."""
    import tensorflow as tf

    module = tf.Module()
    module.filter, module.dense4 = tf.Variable(tf.ones([3, 3, 1, 4])), tf.Variable(tf.ones([4, 3]))
    module.dense16 = tf.Variable(tf.ones([16, 3]))

    def convolve(image: Any) -> Any:
        features = tf.nn.relu(tf.nn.conv2d(image, module.filter, 1, "SAME"))
        return {"y": tf.matmul(tf.reduce_mean(features, [1, 2]), module.dense4)}

    def save(name: str, **signatures: tuple[Callable[..., Any], list[Any]]) -> None:
        made = {
            key: tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
            for key, (function, specs) in signatures.items()
        }
        tf.saved_model.save(module, str(folder / name / "1"), signatures=made)

    def spec(name: str, dtype: Any = tf.float32, shape: Any = (None,)) -> Any:
        return tf.TensorSpec(shape, dtype, name=name)

    image, text = spec("image", shape=(None, 8, 8, 1)), spec("s", tf.string)
    save("half", serving_default=(lambda x: {"y": x / 2 + 2}, [spec("x")]),
         other=(lambda x: {"y": x * 10}, [spec("x")]))  # fmt: skip
    save("pair", serving_default=(
        lambda a, b: {"total": a + tf.cast(b, tf.float32)[:, None], "twice": b * 2},
        [spec("a", shape=(None, 2)), spec("b", tf.int32)]))  # fmt: skip
    save("text", serving_default=(lambda s: {"plain": s, "raw_bytes": tf.strings.join([s, "!"])}, [text]))
    save(
        "convolution",
        serving_default=(convolve, [image]),
        loop=(lambda image: {"y": tf.map_fn(lambda one: convolve(image)["y"] + one, tf.zeros([2]))[0]}, [image]),
        branch=(lambda image: {"y": tf.cond(tf.size(image) < 0, lambda: image, lambda: convolve(image)["y"])},
                [image]),
        flat=(lambda image: convolve(tf.reshape(image, [-1, 8, 8, 1])), [spec("image", shape=(None, 64))]),
        swish=(lambda image: {"y": image * tf.sigmoid(image)}, [image]),
    )  # fmt: skip
    save("guarded", serving_default=(lambda image: convolve(tf.ensure_shape(image, [None, 8, 8, 1])), [image]))
    save("flatten", serving_default=(
        lambda x: {"y": tf.matmul(tf.reshape(x, [-1, 16]), module.dense16)}, [spec("x", shape=(None, 4, 4))]
    ))  # fmt: skip
    save("same", **{name: (lambda x: {"y": tf.identity(x)}, [spec("x", tf.as_dtype(name), None)]) for name in SAME})
    save("divide", serving_default=(lambda x: {"y": 12 // x}, [spec("x", tf.int32)]))
    save("number", serving_default=(lambda s: {"y": tf.strings.to_number(s)}, [text]))
    save("outer", serving_default=(lambda x: {"y": x[:, None] * x[None, :]}, [spec("x")]))
    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        x, three = v1.placeholder(tf.float32, name="x"), v1.get_variable("three", initializer=3.0, use_resource=False)
        session.run(three.initializer)
        v1.saved_model.simple_save(session, str(folder / "graph1" / "1"), {"x": x}, {"y": x * three})


if __name__ == "__main__":
    write(Path(sys.argv[1]))
