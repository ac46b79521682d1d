"""A tiny model in every format; all functions here run in a child process, for TensorFlow's sake."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import legacy_keras
from pipeline.formats import onnx, saved_model, tflite
from pipeline.predictor import classifier

SPEC = classifier("image", (8, 8, 1), (0.0, 16.0), ("a", "b", "c", "d"))
PRECISIONS: tuple[tflite.Precision, ...] = ("float32", "float16", "dynamic-int8", "int8")
FILES = (
    *(f"{precision}.tflite" for precision in PRECISIONS),
    "float32.onnx",
    "float16.onnx",
    "int8.onnx",
    "int8.ort.onnx",
)


def samples(count: int, seed: int) -> np.ndarray:
    """Return raw samples, float32 [count, 8, 8, 1] in 0..16."""
    return np.random.default_rng(seed).uniform(0, 16, (count, 8, 8, 1)).astype(np.float32)


def build() -> Any:
    """Return the same small Keras model each time."""
    keras = legacy_keras.load()
    keras.utils.set_random_seed(3)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Rescaling(1 / 16, name="scale"),
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.MaxPool2D(name="pool"),
            layers.Conv2D(16, 3, padding="same", name="conv2"),
            layers.GlobalAveragePooling2D(name="average"),
            # Large enough logits, so that the top class of random samples is no coin toss.
            layers.Dense(4, name="logits", kernel_initializer=keras.initializers.RandomNormal(stddev=5.0, seed=1)),
        ],
        name="tiny",
    )
    # Statistics unlike the initial ones, so that folding them wrongly would show.
    model.get_layer("norm").set_weights([np.linspace(a, b, 8) for a, b in ((0.5, 2), (-1, 1), (-0.2, 0.2), (0.3, 3))])
    return model


def write_all(folder: Path) -> np.ndarray:
    """Write every format under `folder`; return Keras' logits for samples(32, seed=1)."""
    model = build()
    saved_model.write(model, folder / "saved_model", SPEC)
    for precision in PRECISIONS:
        calibration = samples(40, seed=2) if precision == "int8" else None
        tflite.write(folder / "saved_model", folder / f"{precision}.tflite", SPEC, precision, calibration)
    onnx.write(model, folder / "float32.onnx", SPEC)
    onnx.write(folder / "float32.onnx", folder / "float16.onnx", SPEC, "float16")
    onnx.write(folder / "float32.onnx", folder / "int8.ort.onnx", SPEC, "int8", samples(40, seed=2))
    onnx.write_from_tflite(folder / "int8.tflite", folder / "int8.onnx", SPEC)
    logits: np.ndarray = model(samples(32, seed=1), training=False).numpy()
    return logits


def write_all_with_a_past(folder: Path) -> None:
    """Write every format twice, the second time under `folder`: the process-wide counters have moved on."""
    (folder / "first").mkdir(parents=True)
    write_all(folder / "first")
    write_all(folder)


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file under a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def predict_saved_model(folder: Path, batches: list[np.ndarray], threads: int = 1) -> list[dict[str, np.ndarray]]:
    """Answer each batch from one loaded SavedModel."""
    predictor = saved_model.load(folder, SPEC, threads)
    answers = [predictor.predict(batch) for batch in batches]
    predictor.close()
    return answers


def write_saved_model(folder: Path) -> None:
    """Write `folder/1/` as it is exported."""
    saved_model.write(build(), folder, SPEC)


def write_unguarded(folder: Path) -> None:
    """Write `folder/1/` with a serving function that does not check shapes."""
    legacy_keras.load()
    import tensorflow as tf

    model, module = build(), tf.Module()
    module.weights_ = model.variables
    function = saved_model.serving_function(model, SPEC, guarded=False).get_concrete_function()
    tf.saved_model.save(module, str(folder / "1"), signatures={saved_model.SIGNATURE: function})


def write_pooling(folder: Path) -> None:
    """Write `folder/1/` with a mean over all pixels and a dense layer, which does not check shapes."""
    legacy_keras.load()
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable(tf.ones([1, len(SPEC.head.classes)]))

    def serve(image: Any) -> dict[str, Any]:
        logits = tf.matmul(tf.reduce_mean(image, [1, 2]), module.kernel)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    specs = [tf.TensorSpec([None, *SPEC.input.shape], tf.float32, name=SPEC.input.name)]
    function = tf.function(serve, autograph=False, input_signature=specs).get_concrete_function()
    tf.saved_model.save(module, str(folder / "1"), signatures={saved_model.SIGNATURE: function})


def serve_unchecked(folder: Path, shape: tuple[int, ...]) -> str:
    """Feed zeros of a shape as TF Serving does, without comparing it with the signature.

    Returns:
        The name of the error, or "answered [SHAPE OF THE LOGITS]".
    """
    legacy_keras.load()
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2

    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder / "1"))
        signature = meta_graph.signature_def[saved_model.SIGNATURE]
        feed, fetch = signature.inputs[SPEC.input.name].name, signature.outputs["logits"].name
        call = session._make_callable_from_options(config_pb2.CallableOptions(feed=[feed], fetch=[fetch]))
        try:
            (logits,) = call(np.zeros(shape, np.float32))
        except tf.errors.OpError as error:
            return type(error).__name__
        return f"answered {list(logits.shape)}"


def predict_with_other_threads(folder: Path) -> None:
    """Use TensorFlow with one thread, then ask for three."""
    predict_saved_model(folder, [samples(1, seed=0)], threads=1)
    predict_saved_model(folder, [samples(1, seed=0)], threads=3)


def function_of_tensorflow_2(folder: Path, batch: np.ndarray) -> np.ndarray:
    """Return the logits that the signature gives when it is loaded and called as a function of TensorFlow 2."""
    legacy_keras.load()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder / "1"))
    logits: np.ndarray = loaded.signatures[saved_model.SIGNATURE](image=tf.constant(batch))["logits"].numpy()
    return logits


def write_unconvertible(folder: Path, name: str) -> None:
    """Write a model with an operator that neither TFLite nor ONNX has, to `folder/NAME`."""
    keras = legacy_keras.load()
    import tensorflow as tf

    samples_in = keras.Input((8, 8, 1), name="image")
    values = keras.layers.Lambda(lambda x: tf.math.betainc(x + 1, x + 1, x / 16), name="beta")(samples_in)
    logits = keras.layers.Dense(4, name="logits")(keras.layers.Flatten()(values))
    model = keras.Model(samples_in, logits, name="refused")
    if name.endswith(".onnx"):
        onnx.write(model, folder / name, SPEC)
    else:
        tflite.write(model, folder / name, SPEC, "float32")


def write_recurrent(folder: Path) -> np.ndarray:
    """Write an LSTM as lstm.tflite (by TensorFlow itself) and lstm.onnx; return Keras' logits of samples(3, seed=1)."""
    keras = legacy_keras.load()
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    logits = layers.Dense(4, name="logits")(layers.LSTM(8, name="lstm")(layers.Reshape((8, 8), name="rows")(image)))
    model = keras.Model(image, logits)
    onnx.write(model, folder / "lstm.onnx", SPEC)
    # The converter takes a recurrent layer with a batch of one only.
    single = keras.Input((8, 8, 1), batch_size=1, name="image")
    both = keras.Model(single, [model(single), layers.Softmax(name="probabilities")(model(single))])
    both.output_names = ["logits", "probabilities"]
    (folder / "lstm.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(both).convert())
    answer: np.ndarray = model(samples(3, seed=1), training=False).numpy()
    return answer


def saved_model_kernels(folder: Path) -> dict[str, np.ndarray]:
    return saved_model.kernels(folder)


def keras_kernels() -> dict[str, np.ndarray]:
    return {weight.name.split(":")[0]: weight.numpy() for weight in build().weights if len(weight.shape) > 1}


def load_saved_model_for_other_data(folder: Path) -> None:
    saved_model.load(folder, classifier("features", (64,), (0.0, 1.0), ("a", "b")), 1)


def saved_model_ends(folder: Path) -> dict[str, dict[str, list[int] | None]]:
    """Return the shapes of every signature's inputs and outputs, as the file states them; None: unknown rank."""
    legacy_keras.load()
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel.FromString((folder / "1" / "saved_model.pb").read_bytes())
    return {
        key: {
            name: None if end.tensor_shape.unknown_rank else [dim.size for dim in end.tensor_shape.dim]
            for name, end in (*signature.inputs.items(), *signature.outputs.items())
        }
        for key, signature in proto.meta_graphs[0].signature_def.items()
    }


def write_tflite_from_keras(path: Path) -> None:
    tflite.write(build(), path, SPEC, "float32")


def answer_in_tensorflow(path: Path, batch: np.ndarray) -> dict[str, np.ndarray]:
    """Answer one sample with the interpreter that comes with TensorFlow."""
    legacy_keras.load()
    import tensorflow as tf

    found: dict[str, np.ndarray] = tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")(image=batch)
    return found
