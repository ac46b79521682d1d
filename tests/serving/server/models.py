"""Writes the models of the tests: `python -m tests.serving.server.models FOLDER`, in a process of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DTYPES = ("float", "double", "int32", "uint8", "int16", "int8", "uint16", "string", "int64", "bool", "uint32", "uint64",
          "half", "bfloat16", "complex64")  # fmt: skip


def write(folder: Path) -> None:
    """Write every model as FOLDER/NAME/VERSION."""
    import tensorflow as tf

    def save(path: str, **signatures: tuple[Callable[..., Any], list[Any]]) -> None:
        made = {
            name: tf.function(function, input_signature=specs, autograph=False).get_concrete_function()
            for name, (function, specs) in signatures.items()
        }
        tf.saved_model.save(tf.Module(), str(folder / path), signatures=made)

    def spec(name: str, dtype: Any = tf.float32, shape: Any = (None,)) -> Any:
        return tf.TensorSpec(shape, dtype, name=name)

    for version, plus in ((1, 2.0), (2, 3.0)):
        save(
            f"half/{version}",
            serving_default=(lambda x, plus=plus: {"y": x / 2 + plus}, [spec("x")]),
            other=(lambda x: {"y": x * 10}, [spec("x")]),
        )
    (folder / "half" / "00000003").mkdir()
    (folder / "half" / "00000003" / "saved_model.pb").write_bytes(b"no model")
    (folder / "half" / "4.tmp").mkdir()
    save(
        "pair/7",
        serving_default=(
            lambda a, b: {"total": a + tf.cast(b, tf.float32)[:, None], "twice": b * 2},
            [spec("a", shape=(None, 2)), spec("b", tf.int32)],
        ),
    )
    save("text/1", serving_default=(
        lambda s: {"plain": s, "raw_bytes": tf.strings.join([s, "!"])}, [spec("s", tf.string)]))  # fmt: skip
    save("same/1", **{name: (lambda x: {"y": tf.identity(x)}, [spec("x", tf.as_dtype(name), None)]) for name in DTYPES})
    save(
        "odd/1",
        scalar=(lambda x: {"y": tf.reduce_sum(x)}, [spec("x")]),
        uneven=(lambda x: {"a": x, "b": tf.concat([x, x], 0)}, [spec("x")]),
        none=(lambda x: {"y": x[:0]}, [spec("x")]),
    )
    save("slow/1", serving_default=(
        lambda n: {"y": tf.while_loop(lambda i: i < n, lambda i: [i + 1], [tf.constant(0, tf.int64)])[0]},
        [spec("n", tf.int64, ())]))  # fmt: skip
    save("optional/1", serving_default=(lambda a, b: {"y": a + b}, [spec("a"), spec("b")]))
    _set_default(folder / "optional" / "1" / "saved_model.pb")
    _write_guarded(folder / "guarded")
    counts = tf.while_loop  # (condition, body, variables)
    save(
        "batched/1",
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
        text=(lambda s: {"y": tf.strings.join([s, "!"])}, [spec("s", tf.string)]),
        slow=(lambda n: {"y": n + 0 * counts(lambda i: i < n[0], lambda i: [i + 1], [tf.constant(0, tf.int64)])[0]},
              [spec("n", tf.int64)]),
    )  # fmt: skip
    weights = tf.reshape(tf.range(8.0), (4, 2))
    lite: dict[str, Any] = {
        "serving_default": (
            lambda x: {"y": tf.matmul(x, weights), "rows": tf.fill([tf.shape(x)[0]], tf.shape(x)[0])},
            [spec("x", shape=(None, 4))],
        ),
        "other": (lambda x: {"y": x * 10}, [spec("x")]),
        "text": (lambda s: {"backwards": tf.gather(s, tf.shape(s)[0] - 1 - tf.range(tf.shape(s)[0]))},
                 [spec("s", tf.string)]),
        "single": (lambda x: {"y": x - tf.reduce_mean(x)}, [spec("x", shape=(1, 2))]),
        "fixed": (lambda x: {"y": x + tf.constant([1.0, 2.0, 3.0])}, [spec("x", shape=(3,))]),
        "pair": (lambda a, b: {"y": a + b}, [spec("a", shape=(None, None)), spec("b", shape=(None, None))]),
    }  # fmt: skip
    save("lite/1", **lite, only_in_tensorflow=(lambda x: {"y": x}, [spec("x")]))
    _write_lite(folder, list(lite))


def _write_lite(folder: Path, keys: list[str]) -> None:
    """Write model.tflite beside the SavedModel in lite/1; without signatures; and with int8 ends."""
    import numpy as np
    import tensorflow as tf

    def write(name: str, converter: Any) -> None:
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "model.tflite").write_bytes(converter.convert())

    from_saved_model = tf.lite.TFLiteConverter.from_saved_model
    write("lite/1", from_saved_model(str(folder / "lite" / "1"), signature_keys=keys))
    function = tf.function(lambda x: x * 2, input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    write("lite_unsigned/1", tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()]))
    converter = from_saved_model(str(folder / "lite" / "1"), signature_keys=["single"])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [{"x": np.array([[-1.0, 1.0]], np.float32)}]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    write("lite_int8/1", converter)


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
