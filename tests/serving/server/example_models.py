"""Models over serialized tf.train.Examples, as TensorFlow 1 and as TensorFlow 2 write them, and models with warm-up.

All models over examples answer value = 2 x + (index of the word: 0 for "bad", 1 for "good", -1 for others).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLASSIFY, REGRESS, PREDICT = (f"tensorflow/serving/{name}" for name in ("classify", "regress", "predict"))
WARM_UP = Path("assets.extra", "tf_serving_warmup_requests")
WORDS = "bad\ngood\n"
FOLDED = 2500  # width of a matrix whose square takes long


def write(folder: Path) -> None:
    """Write every model as FOLDER/NAME/VERSION."""
    words = folder / "words.txt"
    words.write_text(WORDS)
    _write_tf1(folder / "tf1" / "1", words, legacy=False)
    _write_tf1(folder / "tf1" / "2", words, legacy=True)
    _write_tf2(folder / "tf2" / "1", words)
    words.unlink()  # the models have it as an asset
    _write_warm(folder / "warm")
    _write_folding(folder / "folding" / "1")


def _features(tf: Any) -> dict[str, Any]:
    return {"x": tf.io.FixedLenFeature([1], tf.float32), "word": tf.io.FixedLenFeature([], tf.string, "")}


def _write_tf1(path: Path, words: Path, *, legacy: bool) -> None:
    """Write a graph with a variable and a table, whose words are an asset; its initialiser is run as main or legacy."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, [None], name="tf_example")
        parsed = v1.parse_example(serialized, _features(tf))
        initializer = tf.lookup.TextFileInitializer(
            str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
        )
        table = tf.lookup.StaticHashTable(initializer, -1)
        scale = v1.get_variable("scale", initializer=2.0, use_resource=False)
        value = parsed["x"] * scale + tf.cast(table.lookup(parsed["word"]), tf.float32)[:, None]
        scores = tf.concat([value, -value], 1)
        classes = tf.tile([["up", "down"]], [tf.shape(value)[0], 1])
        number = v1.placeholder(tf.float32, [None], name="number")
        many = tf.cast(tf.shape(serialized)[0], tf.int64) * 2**60
        endless = tf.while_loop(lambda i: i < many, lambda i: [i + 1], [tf.constant(0, tf.int64)])[0]
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])

        def signature(method: str, inputs: dict[str, Any], **outputs: Any) -> Any:
            infos = [
                {name: v1.saved_model.build_tensor_info(end) for name, end in ends.items()}
                for ends in (inputs, outputs)
            ]
            return v1.saved_model.build_signature_def(*infos, method)

        examples = {"inputs": serialized}
        signatures = {
            "serving_default": signature(CLASSIFY, examples, classes=classes, scores=scores),
            "classes": signature(CLASSIFY, examples, classes=classes),
            "scores": signature(CLASSIFY, examples, scores=scores),
            "narrow": signature(CLASSIFY, examples, classes=classes[:, :0]),
            "regress": signature(REGRESS, examples, outputs=value),
            "flat": signature(REGRESS, examples, outputs=value[:, 0]),
            "predict": signature(PREDICT, {"examples": serialized}, value=value),
            "odd_method": signature("odd", {"examples": serialized}, value=value),
            "two_inputs": signature(CLASSIFY, {**examples, "number": number}, scores=scores),
            "three_outputs": signature(CLASSIFY, examples, classes=classes, scores=scores, value=value),
            "two_outputs": signature(REGRESS, examples, outputs=value, value=value),
            "float_inputs": signature(CLASSIFY, {"inputs": number}, scores=number[:, None] * 2),
            "rank": signature(CLASSIFY, examples, scores=value[:, 0]),
            "dtype": signature(CLASSIFY, examples, classes=tf.cast(value, tf.int64)),
            "double": signature(CLASSIFY, examples, scores=tf.cast(value, tf.float64)),
            "batch": signature(CLASSIFY, examples, scores=scores[1:]),
            "uneven": signature(CLASSIFY, examples, classes=classes, scores=value),
            "regress_rank": signature(REGRESS, examples, outputs=scores),
            "regress_batch": signature(REGRESS, examples, outputs=value[1:]),
            "regress_double": signature(REGRESS, examples, outputs=tf.cast(value, tf.float64)),
            "endless": signature(CLASSIFY, examples, scores=tf.cast(endless[None, None], tf.float32)),
            "bytes": signature(CLASSIFY, examples, classes=tf.constant([[b"\xff"]]), scores=tf.constant([[0.1]])),
        }
        builder = v1.saved_model.Builder(str(path))
        table_op = v1.tables_initializer()
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signatures,
            v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
            **({"legacy_init_op": table_op} if legacy else {"main_op": table_op}),
        )
        builder.save()


def _write_tf2(path: Path, words: Path) -> None:
    """Write the same model from functions; each signature has an input tensor of its own."""
    import tensorflow as tf

    module = tf.Module()
    initializer = tf.lookup.TextFileInitializer(
        str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    module.table = tf.lookup.StaticHashTable(initializer, -1)
    module.scale = tf.Variable(2.0)

    def value(inputs: Any) -> Any:
        parsed = tf.io.parse_example(inputs, _features(tf))
        return parsed["x"] * module.scale + tf.cast(module.table.lookup(parsed["word"]), tf.float32)[:, None]

    def classify(inputs: Any) -> dict[str, Any]:
        scores = tf.concat([value(inputs), -value(inputs)], 1)
        return {"scores": scores, "classes": tf.tile([["up", "down"]], [tf.shape(scores)[0], 1])}

    functions = {"serving_default": classify, "regress": lambda inputs: {"outputs": value(inputs)}}
    _save(module, path, functions, tf.string)


def _save(module: Any, path: Path, functions: dict[str, Any], dtype: Any) -> None:
    import tensorflow as tf

    spec = [tf.TensorSpec([None], dtype, name="inputs")]
    signatures = {
        name: tf.function(function, input_signature=spec, autograph=False).get_concrete_function()
        for name, function in functions.items()
    }
    tf.saved_model.save(module, str(path), signatures=signatures)


def _write_warm(folder: Path) -> None:
    """Write a model that counts its runs, and versions of it with warm-up requests that go well (1) and that do not."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    module = tf.Module()
    module.runs = tf.Variable(0.0)

    def counted(inputs: Any) -> Any:
        return tf.fill([tf.shape(inputs)[0], 1], module.runs.assign_add(1.0))

    functions = {
        "runs": lambda inputs: {"y": module.runs + tf.zeros(tf.shape(inputs))},
        "serving_default": lambda inputs: {"y": counted(inputs)},
        "classify": lambda inputs: {"scores": counted(inputs)},
        "regress": lambda inputs: {"outputs": counted(inputs)},
    }
    _save(module, folder / "1", functions, tf.string)
    proto = saved_model_pb2.SavedModel.FromString((folder / "1" / "saved_model.pb").read_bytes())
    signatures = proto.meta_graphs[0].signature_def
    signatures["classify"].method_name, signatures["regress"].method_name = CLASSIFY, REGRESS
    (folder / "1" / "saved_model.pb").write_bytes(proto.SerializeToString())
    for version, records in _BROKEN.items():
        shutil.copytree(folder / "1", folder / str(version))
        write_records(folder / str(version), records())
    write_records(folder / "1", _requests())
    corrupt(folder / "2" / WARM_UP, 14)
    corrupt(folder / "3" / WARM_UP, 2)


def _requests() -> list[bytes]:
    """Return a record of every kind that is replayed; they name a model and a version that do not exist."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    predict, classify, regress, multi, nothing = (prediction_log_pb2.PredictionLog() for _ in range(5))
    predict.predict_log.request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([b""]))
    predict.predict_log.request.model_spec.name = "another"
    predict.predict_log.request.model_spec.version.value = 77
    for request, name in ((classify.classify_log.request, "classify"), (regress.regress_log.request, "regress")):
        request.model_spec.name, request.model_spec.signature_name = "another", name
        request.input.example_list.examples.add()
    multi.multi_inference_log.request.input.example_list.examples.add()
    task = multi.multi_inference_log.request.tasks.add(method_name=CLASSIFY)
    task.model_spec.name, task.model_spec.signature_name = "another", "classify"
    return [log.SerializeToString() for log in (predict, classify, nothing, regress, multi)]


def _with_field(name: str) -> bytes:
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    getattr(log, name).SetInParent()
    return bytes(log.SerializeToString())


def _wrong_dtype() -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["inputs"].CopyFrom(tf.make_tensor_proto([1.0]))
    return bytes(log.SerializeToString())


# version -> the records of its warm-up; 2 and 3 are damaged afterwards
_BROKEN = {
    2: lambda: [b"x" * 20],
    3: lambda: [b"x" * 20],
    4: lambda: [b""] * 1001,
    5: lambda: [_with_field("session_run_log")],
    6: lambda: [_with_field("predict_streamed_log")],
    7: lambda: [_wrong_dtype()],
    8: lambda: [b"no record"],
    9: lambda: [_with_field("classify_log")],
}


def write_records(version: Path, records: Sequence[bytes]) -> None:
    """Write the warm-up requests of a version."""
    import tensorflow as tf

    (version / WARM_UP.parent).mkdir()
    with tf.io.TFRecordWriter(str(version / WARM_UP)) as writer:
        for record in records:
            writer.write(record)


def corrupt(path: Path, at: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.write_bytes(data)


def _write_folding(path: Path) -> None:
    """Write a graph whose two outputs each take long when they are first run: constants are folded then."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], name="x")
        outputs = {}
        for name, factor in (("warmed", 1e-3), ("cold", 2e-3)):
            matrix = tf.fill([FOLDED, FOLDED], factor)
            outputs[name] = x + tf.reduce_sum(matrix @ matrix)
        v1.saved_model.simple_save(session, str(path), {"x": x}, outputs)
    from tensorflow_serving.apis import prediction_log_pb2

    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    log.predict_log.request.output_filter.append("warmed")
    write_records(path, [log.SerializeToString()])
    for copy in ("2", "3"):
        shutil.copytree(path, path.with_name(copy))
