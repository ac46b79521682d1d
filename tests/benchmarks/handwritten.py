"""The work of a recipe as one straight script of Keras 2, TF-MOT, tf.lite and tf2onnx, without a line of modelmill.

    python -m tests.benchmarks.handwritten TASK.json FOLDER

What `stages.py` times modelmill against: data, models, epochs, batches, optimizers and schedules of the built-in
recipes digits and mnist, and the files that they export. TASK.json holds a recipe's sections as `recipe.yaml` has them,
and under "did" what a run of it found out: samples of each split, epochs of each fit, the widths after shrink
(`stages.task`). Prints a line of JSON: its start, seconds of each stage, and with `--check` the accuracy of every file.

It holds nothing back that makes such a script fast: batches come from tf.data, augmentation is one operation for a
whole batch, nothing is written but the files that are asked for: no checkpoints, no curves, no models in between.
TF-MOT cannot take channels out of a model; what is done here by hand is right for a plain convolutional network alone.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

STARTED = time.monotonic()
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_model_optimization as tfmot  # noqa: E402
import tf2onnx  # noqa: E402
import tf_keras as keras  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("task", help="JSON file: the recipe, and what a run of it did")
parser.add_argument("folder", help="where the exported files are written")
parser.add_argument("--check", action="store_true", help="then run every file over the test split; not timed")
parser.add_argument("--steps-per-execution", type=int, default=1, metavar="N", help="of Keras' compile (default: 1)")
given = parser.parse_args()
task = json.loads(Path(given.task).read_text(encoding="utf-8"))
did, folder = task["did"], given.folder
seconds: dict[str, float] = {}
LAP = [STARTED]


def lap(name):
    """Note what a stage took: all since the last one ended."""
    now = time.monotonic()
    seconds[name] = round(now - LAP[0], 3)
    LAP[0] = now


lap("import")

# --- data: train, validation, test; raw values -----------------------------------------------------------------------

keras.utils.set_random_seed(task["seed"])
if task["data"]["source"] == "digits":
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images, labels = digits.images[..., None].astype("float32"), digits.target
    x_rest, x_test, y_rest, y_test = train_test_split(
        images, labels, test_size=did["samples"]["test"], stratify=labels, random_state=0
    )
    largest = 16.0
else:
    with np.load(task["data"]["path"]) as arrays:
        x_rest, y_rest = arrays["x_train"][..., None].astype("float32"), arrays["y_train"].astype("int64")
        x_test, y_test = arrays["x_test"][..., None].astype("float32"), arrays["y_test"].astype("int64")
    order = np.random.default_rng(0).permutation(len(x_rest))
    x_rest, y_rest = x_rest[order], y_rest[order]
    largest = 255.0
TRAIN, VALIDATION = did["samples"]["train"], did["samples"]["validation"]
x_train, y_train = x_rest[:TRAIN], y_rest[:TRAIN]
x_validation, y_validation = x_rest[TRAIN : TRAIN + VALIDATION], y_rest[TRAIN : TRAIN + VALIDATION]
SIDE = x_train.shape[1]


def augment(x, y):
    """Shift, rotate and zoom a batch in one resampling."""
    asked = task["data"]["augment"]
    count = tf.shape(x)[0]
    shift_x, shift_y, turn, size = tf.unstack(tf.random.uniform([4, count], -1, 1))
    angle, scale = np.pi / 180 * asked["rotate_degrees"] * turn, 1 / (1 + asked["zoom"] * size)
    a0, a1, b0, b1 = scale * tf.cos(angle), -scale * tf.sin(angle), scale * tf.sin(angle), scale * tf.cos(angle)
    middle = (SIDE - 1) / 2
    a2 = middle + asked["shift_pixels"] * shift_x - (a0 + a1) * middle
    b2 = middle + asked["shift_pixels"] * shift_y - (b0 + b1) * middle
    zero = tf.zeros_like(a0)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=x, transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1), output_shape=[SIDE, SIDE],
        fill_value=0.0, interpolation="BILINEAR", fill_mode="CONSTANT",
    )  # fmt: skip
    return tf.ensure_shape(moved, x.shape), y


def batches(size):
    """Return the training batches of an epoch, in a new order each time."""
    found = tf.data.Dataset.from_tensor_slices((x_train, y_train)).shuffle(TRAIN, seed=task["seed"]).batch(size)
    if task["data"]["augment"]:
        found = found.map(augment, num_parallel_calls=tf.data.AUTOTUNE)
    return found.prefetch(tf.data.AUTOTUNE)


validation = tf.data.Dataset.from_tensor_slices((x_validation, y_validation)).batch(256).cache().prefetch(1)
lap("data")

# --- models and fits --------------------------------------------------------------------------------------------------


def network(config, widths):
    """Return the untrained plain CNN: raw pixels in, logits out."""
    raw = keras.Input(x_train.shape[1:], name="image")
    x = keras.layers.Rescaling(1 / largest, name="rescaling")(raw)
    place = 0
    for block in range(len(config["filters"])):
        for _ in range(config["convolutions"]):
            place += 1
            x = keras.layers.Conv2D(
                widths[place - 1], 3, padding="same", use_bias=False, kernel_initializer="he_normal",
                name=f"conv_{place}",
            )(x)  # fmt: skip
            x = keras.layers.BatchNormalization(momentum=0.9, name=f"bn_{place}")(x)
            x = keras.layers.ReLU(name=f"relu_{place}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool_{block + 1}")(x)
    x = keras.layers.Flatten()(x) if config["head"] == "flatten" else keras.layers.GlobalAveragePooling2D()(x)
    for place, units in enumerate(config["dense"], start=1):
        x = keras.layers.Dense(units, use_bias=False, kernel_initializer="he_normal", name=f"dense_{place}")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"dense_bn_{place}")(x)
        x = keras.layers.ReLU(name=f"dense_relu_{place}")(x)
    logits = keras.layers.Dense(10, kernel_initializer="he_normal", name="logits")(x)
    return keras.Model(raw, logits)


def widths_of(config):
    return [filters for filters in config["filters"] for _ in range(config["convolutions"])]


class Taught(keras.Model):
    """A student with its teacher, as in Keras' own example of knowledge distillation."""

    def __init__(self, student, teacher, temperature, soft_weight):
        super().__init__()
        self.student, self.teacher = student, teacher
        self.temperature, self.soft_weight = temperature, soft_weight

    def call(self, x, training=False):
        return self.student(x, training=training)

    def train_step(self, data):
        x, y = data
        soft = tf.nn.softmax(self.teacher(x, training=False) / self.temperature)
        with tf.GradientTape() as tape:
            logits = self.student(x, training=True)
            hard = self.compute_loss(x, y, logits)
            distance = keras.losses.kl_divergence(soft, tf.nn.softmax(logits / self.temperature))
            taught = self.temperature**2 * tf.reduce_mean(distance)
            loss = (1 - self.soft_weight) * hard + self.soft_weight * taught
        self.optimizer.minimize(loss, self.student.trainable_variables, tape=tape)
        return self.compute_metrics(x, y, logits, None)


def fit(model, section, epochs, teacher=None, callbacks=()):
    """Fit a model as a section of the recipe says."""
    steps = -(-TRAIN // section["batch_size"])
    warm = round(section["schedule"]["warmup_epochs"] * steps)
    peak = section["optimizer"]["learning_rate"]
    options = {"warmup_target": peak, "warmup_steps": warm} if warm else {}
    rate = keras.optimizers.schedules.CosineDecay(0.0 if warm else peak, section["epochs"] * steps - warm, **options)
    if teacher is not None:
        model = Taught(model, teacher, section["teach"]["temperature"], section["teach"]["soft_weight"])
    model.compile(
        keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True), ["accuracy"],
        steps_per_execution=given.steps_per_execution,
    )  # fmt: skip
    return model.fit(
        batches(section["batch_size"]), validation_data=validation, epochs=epochs, callbacks=list(callbacks), verbose=0
    ).history["val_accuracy"][-1]


worth, made = {}, {}

teacher = network(task["model"], widths_of(task["model"]))
worth["train"] = fit(teacher, task["train"], did["epochs"]["train"])
made["train"] = teacher
lap("train")

student, alone = (network(task["distill"]["student"], widths_of(task["distill"]["student"])) for _ in range(2))
alone.set_weights(student.get_weights())
worth["distill"] = fit(student, task["distill"], did["epochs"]["distill"], teacher)
lap("distill")
worth["alone"] = fit(alone, task["distill"], did["epochs"]["distill"])
made["distill"] = student
lap("distill, alone")

if task["shrink"]:
    # the channels with the largest norms stay: out of the kernel, its batch normalization, and what the next one reads
    widths, before = did["widths"], student
    shrunk = network(task["distill"]["student"], widths)
    kept = np.arange(1)
    for place, width in enumerate(widths, start=1):
        (kernel,) = before.get_layer(f"conv_{place}").get_weights()
        stay = np.sort(np.argsort(np.square(kernel).sum(axis=(0, 1, 2)))[-width:])
        shrunk.get_layer(f"conv_{place}").set_weights([kernel[:, :, kept][..., stay]])
        normal = before.get_layer(f"bn_{place}").get_weights()
        shrunk.get_layer(f"bn_{place}").set_weights([one[stay] for one in normal])
        kept = stay
    kernel, bias = before.get_layer("logits").get_weights()
    shrunk.get_layer("logits").set_weights([kernel[kept], bias])
    worth["shrink"] = fit(shrunk, task["shrink"], did["epochs"]["shrink"], teacher)
    made["shrink"] = student = shrunk
    lap("shrink")

section = task["prune"]
steps = -(-TRAIN // section["batch_size"])
end, every = round(section["epochs"] * 2 / 3) * steps, max(1, steps // 10)


def sparse(layer):
    """Wrap what is to get zeros."""
    copy = layer.__class__.from_config(layer.get_config())
    target = section["layers"].get(layer.name, section["final_sparsity"])
    if target is None or not isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)):
        return copy
    ramp = tfmot.sparsity.keras.PolynomialDecay(0.0, target, 0, end // every * every, power=3, frequency=every)
    return tfmot.sparsity.keras.prune_low_magnitude(copy, pruning_schedule=ramp)


wrapped = keras.models.clone_model(student, clone_function=sparse)
for old, new in zip(student.layers, wrapped.layers, strict=True):
    (new.layer if hasattr(new, "pruning_step") else new).set_weights(old.get_weights())
worth["prune"] = fit(
    wrapped, section, did["epochs"]["prune"], teacher, [tfmot.sparsity.keras.UpdatePruningStep()]
)  # fmt: skip
pruned = tfmot.sparsity.keras.strip_pruning(wrapped)
made["prune"] = keras.models.clone_model(pruned)
made["prune"].set_weights(pruned.get_weights())
lap("prune")


class Rounded(tfmot.quantization.keras.QuantizeConfig):
    """The scaling of pixels becomes int8 too: TF-MOT has nothing for it, and the first convolution would stay float."""

    def get_weights_and_quantizers(self, layer):  # noqa: ARG002
        return []

    def get_activations_and_quantizers(self, layer):  # noqa: ARG002
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        pass

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):  # noqa: ARG002
        return [
            tfmot.quantization.keras.quantizers.MovingAverageQuantizer(
                num_bits=8, per_axis=False, symmetric=False, narrow_range=False
            )
        ]

    def get_config(self):
        return {}


def annotate(layer):
    """Annotate all that is quantized."""
    if isinstance(layer, keras.layers.InputLayer):
        return layer
    copy = layer.__class__.from_config(layer.get_config())
    own = Rounded() if isinstance(layer, keras.layers.Rescaling) else None
    return tfmot.quantization.keras.quantize_annotate_layer(copy, own)


annotated = keras.models.clone_model(made["prune"], clone_function=annotate)
annotated.set_weights(made["prune"].get_weights())
with tfmot.quantization.keras.quantize_scope({"Rounded": Rounded}):
    quantized = tfmot.quantization.keras.quantize_apply(
        annotated, tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    )
worth["quantize"] = fit(quantized, task["quantize"], did["epochs"]["quantize"], teacher)
made["quantize"] = quantized
lap("quantize")

# --- files ------------------------------------------------------------------------------------------------------------

for stage, model in made.items():
    logits = model(model.input)
    served = keras.Model(model.input, {"logits": logits, "probabilities": tf.nn.softmax(logits)})
    path = f"{folder}/{stage}.saved_model/1"
    served.export(path)
    converter = tf.lite.TFLiteConverter.from_saved_model(path)
    if stage == "quantize":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    lite = f"{folder}/{stage}.tflite"
    Path(lite).write_bytes(converter.convert())
    if stage == "quantize":  # tf2onnx has no handler for fake quantization per channel
        tf2onnx.convert.from_tflite(lite, opset=18, output_path=f"{folder}/{stage}.onnx")
    else:
        signature = [tf.TensorSpec([None, *x_train.shape[1:]], tf.float32, name="image")]
        function = tf.function(served, input_signature=signature, autograph=False)
        tf2onnx.convert.from_function(function, signature, opset=18, output_path=f"{folder}/{stage}.onnx")
lap("export")

result = {"began": STARTED, "seconds": seconds, "total": round(time.monotonic() - STARTED, 3), "validation": worth}

if given.check:
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    zeros = {
        layer.name: round(float(np.mean(layer.get_weights()[0] == 0)), 3)
        for layer in made["prune"].layers
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense))
    }
    accuracy = {}
    for stage in made:
        served = tf.saved_model.load(f"{folder}/{stage}.saved_model/1")
        runner = Interpreter(f"{folder}/{stage}.tflite").get_signature_runner()
        (name,) = runner.get_input_details()
        session = onnxruntime.InferenceSession(f"{folder}/{stage}.onnx")
        end = session.get_inputs()[0].name
        outputs = [one.name for one in session.get_outputs()]
        found = {
            "saved_model": served.serve(x_test)["logits"].numpy(),
            "tflite": runner(**{name: x_test})["logits"],
            "onnx": session.run(None, {end: x_test})[0],
        }
        accuracy[stage] = {kind: float(np.mean(one.argmax(-1) == y_test)) for kind, one in found.items()} | {
            "ends": str(runner.get_input_details()[name]["dtype"]), "onnx_outputs": outputs,
        }  # fmt: skip
    result |= {"test": accuracy, "zeros": zeros}
json.dump(result, sys.stdout)
print()
