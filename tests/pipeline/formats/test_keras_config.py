"""The names that a model's configuration may have: Keras' own, all of them, and no more."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.formats import keras_config
from pipeline.formats.keras_config import Finding, findings
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import tiny

# of keras.layers: what calls or reads what a file names, or cannot be loaded from one; bases without a meaning of their
# own, and functions
CODE = {"Lambda", "DenseFeatures", "SpectralNormalization"}
BASES = {"AbstractRNNCell", "Layer", "Wrapper", "Input", "InputSpec", "experimental"}


def _public(name: str) -> set[str]:
    module = getattr(load_keras(), name)
    return {one for one in dir(module) if not one.startswith("_") and one not in ("get", "serialize", "deserialize")}


def test_every_layer_of_keras_that_is_no_code_is_allowed() -> None:
    layers = {
        name for name in _public("layers") if name[0].isupper() and isinstance(getattr(load_keras().layers, name), type)
    }
    assert layers - keras_config.LAYERS == CODE | (BASES & layers)


@pytest.mark.parametrize(
    ("module", "known", "bases"),
    [
        ("initializers", keras_config.INITIALIZERS, {"Initializer"}),
        ("regularizers", keras_config.REGULARIZERS, {"Regularizer"}),
        ("constraints", keras_config.CONSTRAINTS, {"Constraint"}),
        ("activations", keras_config.ACTIVATIONS, set()),
    ],
)
def test_every_function_of_keras_is_allowed(module: str, known: frozenset[str], bases: set[str]) -> None:
    assert _public(module) - known == bases


def test_every_allowed_layer_is_one_of_keras() -> None:
    serialization = __import__("tf_keras.src.layers.serialization", fromlist=["LOCAL"])
    serialization.populate_deserializable_objects()
    known = set(serialization.LOCAL.ALL_OBJECTS) | _public("layers")
    assert keras_config.LAYERS - known - {"SyncBatchNormalization"} == set()


def test_model_of_keras_own_layers_has_no_findings() -> None:
    assert findings(json.loads(tiny.cnn().to_json())) == []


@pytest.mark.parametrize(
    ("node", "found"),
    [
        ({"activation": "relu", "kernel_initializer": "he_normal"}, []),
        ({"recurrent_activation": "mine"}, [Finding("code", "the activation 'mine'")]),
        ({"activation": {"class_name": "function", "module": "builtins", "config": "relu"}}, []),
        ({"input_dim": {"class_name": "Dense", "config": {}}},
         [Finding("code", "a Dense where Keras writes none (input_dim)")]),
        ({"class_name": "function", "module": "builtins", "config": "eval"},
         [Finding("code", "a function 'eval' of builtins", "builtins", "eval", "eval")]),
        ({"class_name": "Twice", "module": "mine", "registered_name": "my>Twice", "config": {}},
         [Finding("code", "my>Twice (module mine)", "mine", "Twice", "my>Twice")]),
        ({"class_name": "__tuple__", "items": [1, 2]}, []),
        ({"class_name": "TFOpLambda", "config": {"function": "nn.relu"}}, []),
        ({"dtype": {"class_name": "Policy", "module": "keras.mixed_precision", "config": {"name": "float32"}}}, []),
        ({"dtype": "float64"}, [Finding("precision", "float64")]),
        ({"vocabulary": ["a", "b"]}, []),
        ({"compile_config": {"class_name": "Lambda"}}, []),
        ([{"class_name": "Lambda", "config": {"name": "one"}}] * 2, [Finding("code", "a Lambda (layer one)")]),
    ],
)  # fmt: skip
def test_findings_are_what_keras_would_look_up_elsewhere(node: Any, found: list[Finding]) -> None:
    assert findings({"layers": node}) == found


def test_training_is_taken_out_at_any_depth() -> None:
    inner = {"a": 1, "compile_config": {"loss": "x"}}
    assert keras_config.without_compiling({"b": [inner], "compile_config": {}}) == {"b": [{"a": 1}]}
