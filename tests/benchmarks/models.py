"""Writes the models of the benchmark: `python -m tests.benchmarks.models FOLDER`, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

SHAPES = {"half_plus_two": (1,), "cnn": (28, 28, 1)}  # of one sample


def write(folder: Path) -> None:
    """Write half_plus_two, which is almost no work, and a small convolutional network, as FOLDER/NAME/1."""
    import tensorflow as tf

    def save(name: str, function: object, variables: list[tf.Variable] = []) -> None:  # noqa: B006
        module = tf.Module()
        module.variables_ = variables
        spec = tf.TensorSpec((None, *SHAPES[name]), tf.float32, name="x")
        concrete = tf.function(function, input_signature=[spec]).get_concrete_function()
        tf.saved_model.save(module, str(folder / name / "1"), signatures={"serving_default": concrete})

    save("half_plus_two", lambda x: {"y": x / 2 + 2})
    tf.random.set_seed(1)
    shapes = ((3, 3, 1, 16), (3, 3, 16, 32), (7 * 7 * 32, 64), (64, 10))
    first, second, third, last = weights = [tf.Variable(tf.random.normal(shape, stddev=0.1)) for shape in shapes]

    def cnn(x: tf.Tensor) -> dict[str, tf.Tensor]:
        x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, first, 1, "SAME")), 2, 2, "SAME")
        x = tf.nn.max_pool2d(tf.nn.relu(tf.nn.conv2d(x, second, 1, "SAME")), 2, 2, "SAME")
        x = tf.nn.relu(tf.reshape(x, (-1, 7 * 7 * 32)) @ third)
        return {"y": tf.nn.softmax(x @ last)}

    save("cnn", cnn, weights)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
