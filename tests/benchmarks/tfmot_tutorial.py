"""TF-MOT's guide "Pruning in Keras example" as one straight script of Keras 2, TF-MOT and tf.lite, without modelmill.

    python tests/benchmarks/tfmot_tutorial.py --data mnist.npz --out FOLDER --seed 0

Its CNN of 20,410 parameters is trained for four epochs, pruned from 50 to 80 % zeros in two more, and quantized after
training by the converter ("Create a 10x smaller model from combining pruning and quantization"), with the guide's batch
sizes, optimizer, loss, validation split and schedule. FOLDER gets baseline.h5, baseline.tflite (float32) and
pruned_quantized.tflite. Prints a line of JSON: accuracies over the whole test split, each .tflite's in LiteRT, and
bytes of the files, as they are and gzipped at level 9.
"""

import argparse
import gzip
import json
import os
import tempfile
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from ai_edge_litert.interpreter import Interpreter

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True, help="mnist.npz, in Keras' layout")
parser.add_argument("--out", type=Path, required=True, help="where the files are written")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--samples", type=int, default=60_000, help="of the training split, for a trial")
given = parser.parse_args()
given.out.mkdir(parents=True, exist_ok=True)
keras.utils.set_random_seed(given.seed)

with np.load(given.data) as arrays:
    train_images, train_labels = arrays["x_train"][: given.samples] / 255.0, arrays["y_train"][: given.samples]
    test_images, test_labels = (arrays["x_test"] / 255.0).astype(np.float32), arrays["y_test"]


def compiled(model):
    model.compile(
        optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    return model


def accuracy_in_litert(path):
    """Return the share of test images that a .tflite gets right."""
    interpreter = Interpreter(str(path), num_threads=1)
    (taken,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(taken["index"], [len(test_images), 28, 28])
    interpreter.allocate_tensors()
    interpreter.set_tensor(taken["index"], test_images)
    interpreter.invoke()
    return float(np.mean(interpreter.get_tensor(made["index"]).argmax(-1) == test_labels))


# --- train, four epochs -----------------------------------------------------------------------------------------------

baseline = compiled(
    keras.Sequential(
        [
            keras.layers.InputLayer(input_shape=(28, 28)),
            keras.layers.Reshape(target_shape=(28, 28, 1)),
            keras.layers.Conv2D(filters=12, kernel_size=(3, 3), activation="relu"),
            keras.layers.MaxPooling2D(pool_size=(2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
)
baseline.fit(train_images, train_labels, epochs=4, validation_split=0.1, verbose=0)
worth = {"baseline.keras": baseline.evaluate(test_images, test_labels, verbose=0)[1]}
baseline.save(given.out / "baseline.h5", include_optimizer=False)
(given.out / "baseline.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(baseline).convert())

# --- prune to 80 % zeros, two epochs ----------------------------------------------------------------------------------

batch_size, epochs = 128, 2
end_step = int(np.ceil(0.9 * len(train_images) / batch_size)) * epochs
pruned = compiled(
    tfmot.sparsity.keras.prune_low_magnitude(
        baseline,
        pruning_schedule=tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity=0.50, final_sparsity=0.80, begin_step=0, end_step=end_step
        ),
    )
)
with tempfile.TemporaryDirectory() as logs:
    pruned.fit(
        train_images, train_labels, batch_size=batch_size, epochs=epochs, validation_split=0.1, verbose=0,
        callbacks=[
            tfmot.sparsity.keras.UpdatePruningStep(), tfmot.sparsity.keras.PruningSummaries(log_dir=logs)
        ],
    )  # fmt: skip
worth["pruned.keras"] = pruned.evaluate(test_images, test_labels, verbose=0)[1]
stripped = tfmot.sparsity.keras.strip_pruning(pruned)

# --- quantize after training ------------------------------------------------------------------------------------------

converter = tf.lite.TFLiteConverter.from_keras_model(stripped)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
(given.out / "pruned_quantized.tflite").write_bytes(converter.convert())

files = {path.name: path.read_bytes() for path in sorted(given.out.iterdir()) if path.suffix in (".h5", ".tflite")}
worth |= {name: accuracy_in_litert(given.out / name) for name in files if name.endswith(".tflite")}
print(
    json.dumps(
        {
            "seed": given.seed, "accuracy": worth, "samples": len(test_images), "parameters": stripped.count_params(),
            "bytes": {name: len(content) for name, content in files.items()},
            "gzip_bytes": {name: len(gzip.compress(content, 9, mtime=0)) for name, content in files.items()},
            "zeros": {
                layer.name: round(float(np.mean(layer.get_weights()[0] == 0)), 3)
                for layer in stripped.layers if layer.get_weights()
            },
        }
    )
)  # fmt: skip
