"""Writes the model that tells what it was run with; see `models`."""

from __future__ import annotations

from pathlib import Path

from tests.serving.server.saved import save, spec


def write(folder: Path) -> None:
    """Write batched/1."""
    import tensorflow as tf

    def count(n: tf.Tensor) -> tf.Tensor:
        return tf.while_loop(lambda i: i < n[0], lambda i: [i + 1], [tf.constant(0, tf.int64)])[0]

    save(
        folder / "batched" / "1",
        # what came in one batch: its rows, its columns, the sum of all of it; and each row's own sum
        serving_default=(
            lambda x: {
                "rows": tf.fill([tf.shape(x)[0]], tf.shape(x)[0]),
                "columns": tf.fill([tf.shape(x)[0]], tf.shape(x)[1]),
                "total": tf.fill([tf.shape(x)[0]], tf.reduce_sum(x)),
                "own": tf.reduce_sum(x, 1),
            },
            [spec("x", shape=(None, None))],
        ),
        other=(lambda x: {"rows": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])}, [spec("x", shape=(None, None))]),
        pair=(lambda a, b: {"y": a + b}, [spec("a"), spec("b")]),
        scalar=(lambda x: {"y": tf.reduce_sum(x)}, [spec("x")]),
        uneven=(lambda x: {"y": tf.concat([x, x], 0)}, [spec("x")]),
        text=(lambda s: {"y": tf.strings.join([s, "!"])}, [spec("s", "string")]),
        slow=(lambda n: {"y": n + 0 * count(n)}, [spec("n", "int64")]),
    )
