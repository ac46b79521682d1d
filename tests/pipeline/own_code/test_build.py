"""A function of the user's builds a model, which is held to the data before anything is trained."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import data
from pipeline.errors import InputError, RunError
from pipeline.events import Event, Note
from pipeline.own_code import build as build_module
from pipeline.own_code.build import build
from pipeline.own_code.config import Builder
from pipeline.own_code.source import look
from pipeline.predictor import Input, Spec
from pipeline.vectorizer import Vectorizer
from tests.pipeline.own_code.files import NET, net, scaled

SPLITS = data.load(data.DataConfig())


def built(config: Builder, events: list[Event] | None = None) -> Any:
    emit = (events if events is not None else []).append
    return build(config, SPLITS, 0, expected=look(config).package, stage="train", emit=emit)


def body(text: str) -> str:
    lines = textwrap.indent(textwrap.dedent(text).strip(), "    ")
    return f"import tf_keras as keras\n\n\ndef build(input_shape, classes):\n{lines}\n"


def test_softmax_is_taken_off_and_weights_follow_the_seed(tmp_path: Path) -> None:
    config = scaled(tmp_path).model_copy(update={"options": {"units": 8}})
    events: list[Event] = []
    model = built(config, events)
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Scale", "Flatten", "Dense", "Dense"]
    assert model.layers[3].units == 8
    assert model.layers[-1].activation.__name__ == "linear"
    assert any("the softmax inside" in event.text for event in events if isinstance(event, Note))
    again = built(config)
    assert [weight.name for weight in again.weights] == [weight.name for weight in model.weights]
    for one, other in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_model_inside_is_written_out_and_its_softmax_taken_off(tmp_path: Path) -> None:
    text = body("""
        rows = [keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax", name="ends")]
        inner = keras.Sequential([keras.Input(input_shape), *rows], name="inner")
        return keras.Sequential([keras.Input(input_shape), keras.layers.Rescaling(1 / 16), inner])
    """)
    events: list[Event] = []
    model = built(net(tmp_path, text), events)
    assert [layer.name for layer in model.layers[2:]] == ["inner_flatten", "inner_ends"]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes[:2] == [
        "models inside the model are written out layer by layer: inner",
        "the softmax inside inner_ends is taken off: its inputs are the logits",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (body("raise ValueError('not today')"), r"build fails\n  found: ValueError: not today \(.*net\.py, line 5\)"),
        (body("x = keras.Input(input_shape)"), r"returns no model of tf_keras(.|\n)*None: it lacks a return"),
        ("build = 3", r"is no function"),
        ("def build(shape): ...", r"takes other arguments: too many positional arguments"),
        (
            "import keras\ndef build(shape, classes):\n    flat = keras.layers.Flatten()\n"
            "    ends = keras.layers.Dense(classes)\n    return keras.Sequential([keras.Input(shape), flat, ends])",
            r"a Keras 3 model\n  what to do: import tf_keras as keras, .*net\.py:1",
        ),
        (
            body("return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(7)])"),
            r"not a model for this data(.|\n)*10 classes(.|\n)*\(7,\)(.|\n)*let .*net\.py:build return keras\.Model",
        ),
        (
            body("""
                flat, dense = keras.layers.Flatten(), keras.layers.Dense(classes, activation="sigmoid")
                return keras.Sequential([keras.Input(input_shape), flat, dense])
            """),
            r"answers probabilities",
        ),
    ],
)  # fmt: skip
def test_what_is_no_model_for_the_data_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        built(net(tmp_path, text))


def test_layer_without_a_config_is_refused_before_it_is_trained(tmp_path: Path) -> None:
    config = net(tmp_path, """
        import tf_keras as keras

        class Half(keras.layers.Layer):
            def __init__(self, by):
                super().__init__()
                self.by = by

            def call(self, x):
                return self.by(x)

        def build(input_shape, classes):
            ends = [keras.layers.Flatten(), keras.layers.Dense(classes)]
            return keras.Sequential([keras.Input(input_shape), Half(lambda x: x / 2), *ends])
    """)  # fmt: skip
    with pytest.raises(InputError, match="cannot be saved and loaded again between stages") as refused:
        built(config)
    assert "found: NotImplementedError: Layer Half was created by passing non-serializable arg" in str(refused.value)


def test_data_of_texts_is_refused_with_the_architectures_for_it() -> None:
    spec = Spec((Input("text", (8,), (0, 4), Vectorizer(("ham", "spam"), 8)),), SPLITS.spec.heads)
    with pytest.raises(InputError, match=r"no models of texts(.|\n)*text_rnn or text_transformer"):
        build_module._only(spec)


def test_loaded_models_answers_may_be_off_by_what_float32_is_at_their_size(tmp_path: Path) -> None:
    config = scaled(tmp_path)
    model, samples = built(config), SPLITS.validation.x[:16]
    model.layers[-1].set_weights([model.layers[-1].get_weights()[0], np.full(10, 1e4, np.float32)])
    answers = model(samples, training=False).numpy()
    source = look(config)
    build_module._require_loadable(model, "net.py:build", SPLITS.spec, source, samples, answers + np.float32(0.01))
    with pytest.raises(InputError, match=r"answers off by 1(\.\d+)? after"):
        build_module._require_loadable(model, "net.py:build", SPLITS.spec, source, samples, answers + 1)


def test_code_that_changed_since_the_run_began_is_not_run(tmp_path: Path) -> None:
    config = scaled(tmp_path)
    with pytest.raises(RunError, match="changed while the run was going on"):
        build(config, SPLITS, 0, expected="modelmill_own_other", stage="train", emit=[].append)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("def own(labels, logits):\n    return labels + logits", r"model\.loss: own of .* fails\n  found: .*line \d+"),
        ("def own(labels, logits):\n    return logits * 2", r"gives no number(.|\n)*float32 \[16, 10\]"),
        ("own = 3", r"cannot be called with labels and logits"),
    ],
)
def test_loss_that_does_not_work_is_refused_before_it_is_trained(tmp_path: Path, function: str, message: str) -> None:
    config = scaled(tmp_path)
    config.path.write_text(textwrap.dedent(NET) + "\n\n" + function + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        built(config.model_copy(update={"loss": "own"}))
