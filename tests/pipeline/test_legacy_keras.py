"""Keras 2 and TF-MOT without Keras 3."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from pipeline.legacy_keras import load, load_tfmot
tfmot = load_tfmot()
assert load().__version__.startswith("2."), load().__version__
assert "keras" not in sys.modules, "Keras 3 was imported"
layer = load().layers.Dense(3)
model = load().Sequential([load().layers.Input((2,)), layer])
wrapped = tfmot.sparsity.keras.prune_low_magnitude(model)
assert type(wrapped.layers[-1]).__name__ == "PruneLowMagnitude"
tfmot.quantization.keras.quantize_model(model)
from tensorflow.python.autograph.impl import conversion
assert conversion.is_allowlisted(type(wrapped.layers[-1]).call), "autograph would convert it"
load_tfmot()
from tensorflow.python.autograph.core import config
assert sum(rule.matches("tensorflow_model_optimization.python") for rule in config.CONVERSION_RULES) == 1
import keras
assert keras.__version__.startswith("3."), "and who wants Keras 3 still gets it"
"""


COLLECTOR = """
import gc
from pipeline.legacy_keras import load
load()
assert gc.isenabled()
frozen = gc.get_freeze_count()
assert frozen > 100_000, frozen
gc.disable()
load()
assert not gc.isenabled(), "that is the caller's to decide"
assert gc.get_freeze_count() == frozen, "only an import is frozen, once"
"""


def test_tfmot_works_on_keras_2_imports_no_keras_3_and_is_not_converted() -> None:
    subprocess.run([sys.executable, "-c", CODE], check=True, timeout=300)


def test_what_an_import_makes_is_kept_from_the_garbage_collector_which_goes_on() -> None:
    subprocess.run([sys.executable, "-c", COLLECTOR], check=True, timeout=300)
