"""Writes the models of the tests: `python -m tests.serving.server.models FOLDER`, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.serving.server import batched_models, example_models, lite_models
from tests.serving.server.saved import save, spec

DTYPES = ("float", "double", "int32", "uint8", "int16", "int8", "uint16", "string", "int64", "bool", "uint32", "uint64",
          "half", "bfloat16", "complex64")  # fmt: skip


def write(folder: Path) -> None:
    """Write every model as FOLDER/NAME/VERSION."""
    import tensorflow as tf

    for version, plus in ((1, 2.0), (2, 3.0)):
        save(
            folder / "half" / str(version),
            serving_default=(lambda x, plus=plus: {"y": x / 2 + plus}, [spec("x")]),
            other=(lambda x: {"y": x * 10}, [spec("x")]),
        )
    (folder / "half" / "00000003").mkdir()
    (folder / "half" / "00000003" / "saved_model.pb").write_bytes(b"no model")
    (folder / "half" / "4.tmp").mkdir()
    save(
        folder / "pair" / "7",
        serving_default=(
            lambda a, b: {"total": a + tf.cast(b, tf.float32)[:, None], "twice": b * 2},
            [spec("a", shape=(None, 2)), spec("b", tf.int32)],
        ),
    )
    save(folder / "text" / "1", serving_default=(
        lambda s: {"plain": s, "raw_bytes": tf.strings.join([s, "!"])}, [spec("s", tf.string)]))  # fmt: skip
    save(
        folder / "same" / "1",
        **{name: (lambda x: {"y": tf.identity(x)}, [spec("x", tf.as_dtype(name), None)]) for name in DTYPES},
    )
    save(
        folder / "odd" / "1",
        scalar=(lambda x: {"y": tf.reduce_sum(x)}, [spec("x")]),
        uneven=(lambda x: {"a": x, "b": tf.concat([x, x], 0)}, [spec("x")]),
        none=(lambda x: {"y": x[:0]}, [spec("x")]),
    )
    save(folder / "slow" / "1", serving_default=(
        lambda n: {"y": tf.while_loop(lambda i: i < n, lambda i: [i + 1], [tf.constant(0, tf.int64)])[0]},
        [spec("n", tf.int64, ())]))  # fmt: skip
    save(folder / "optional" / "1", serving_default=(lambda a, b: {"y": a + b}, [spec("a"), spec("b")]))
    _set_default(folder / "optional" / "1" / "saved_model.pb")
    _write_guarded(folder / "guarded")
    example_models.write(folder)
    batched_models.write(folder)
    lite_models.write(folder)


def _set_default(path: Path) -> None:
    """Make input `b` one that a request may leave out: it is 100 then."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    defaults = proto.meta_graphs[0].signature_def["serving_default"].defaults
    defaults["b"].CopyFrom(tf.make_tensor_proto([100.0]))
    path.write_bytes(proto.SerializeToString())


def _write_guarded(folder: Path) -> None:
    """Write a small convolution as modelmill exports it, and its answers to two samples."""
    import numpy as np

    from pipeline.formats import saved_model
    from tests.pipeline.formats import tiny

    model = tiny.build()
    saved_model.write(model, folder, tiny.SPEC)
    samples = tiny.samples(2, seed=1)
    np.savez(folder / "answers.npz", samples=samples, logits=model(samples, training=False).numpy())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
