"""Each layer class, activation and operation that both Keras have answers the same once it is translated."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.formats import keras_config
from pipeline.formats.model_file.keras3 import agreement, operations, tables
from pipeline.legacy_keras import load as load_keras
from tests.pipeline.formats.model_file.keras3.conftest import Keras3
from tests.pipeline.formats.model_file.keras3.generate import config
from tests.pipeline.formats.model_file.keras3.specimens import SPECIMENS
from tests.pipeline.formats.model_file.keras3.supported import PAGE, README, layers, page, table

TRANSLATED = sorted(set(SPECIMENS) - set(tables.REFUSED))
# the layers that have weights, which lie elsewhere in each format
WEIGHTED = sorted(
    {"Attention", "AdditiveAttention", "BatchNormalization", "Bidirectional", "Dense", "EinsumDense", "Embedding",
     "GroupNormalization", "GRU", "GRUCell", "LayerNormalization", "LSTM", "LSTMCell", "MultiHeadAttention",
     "Normalization", "PReLU", "RNN", "SimpleRNN", "SimpleRNNCell", "StackedRNNCells",
     "TimeDistributed", *(name for name in TRANSLATED if "Conv" in name)}
)  # fmt: skip


@pytest.mark.parametrize("name", TRANSLATED)
def test_layer_answers_as_in_keras_3(name: str, keras_3: Keras3) -> None:
    model = keras_3.translated(name, ".keras")
    assert any(type(layer).__name__ == name for layer in model._flatten_layers()) or name.endswith("Cell")
    found = agreement.require_equal(Path(name), model, keras_3.made.references[name])
    assert found.difference <= 2e-6  # much nearer than what is asked of whole models
    assert (found.weights > 2) == (name in WEIGHTED)  # two are of the Dense layer besides
    assert found.batches == (1, 7)


@pytest.mark.parametrize("name", WEIGHTED)
def test_layer_from_hdf5_answers_as_in_keras_3(name: str, keras_3: Keras3) -> None:
    found = agreement.require_equal(Path(name), keras_3.translated(name, ".h5"), keras_3.made.references[name])
    assert found.difference <= 2e-6


def test_keras_3_itself_cannot_write_one_layer_as_hdf5(keras_3: Keras3) -> None:
    assert keras_3.made.unsaved == ("RandomBrightness",)


@pytest.mark.parametrize("name", sorted(set(SPECIMENS) & set(tables.REFUSED)))
def test_layer_that_is_refused_is_refused_with_its_reason(name: str, keras_3: Keras3) -> None:
    with pytest.raises(InputError, match="cannot become one of tf_keras") as refused:
        keras_3.translated(name, ".keras")
    assert f"a {name} ({tables.REFUSED[name]})" in refused.value.found


def test_every_class_of_both_is_translated_or_refused(keras_3: Keras3) -> None:
    theirs = {found.__name__ for found in vars(load_keras().layers).values() if inspect.isclass(found)}
    both = set(keras_3.made.layers.values()) & theirs
    assert set(tables.LAYERS) | set(tables.REFUSED) == both
    assert not set(tables.LAYERS) & set(tables.REFUSED)
    assert set(tables.LAYERS) <= set(SPECIMENS), "these have no specimen"


def test_every_layer_that_is_translated_can_be_read_from_the_stored_model() -> None:
    assert set(tables.LAYERS) <= keras_config.LAYERS


def test_every_activation_of_keras_3_is_decided(keras_3: Keras3) -> None:
    decided = (tables.ACTIVATIONS, tables.SAME_ACTIVATIONS, tables.COMPOSED_ACTIVATIONS, tables.OTHER_ACTIVATIONS)
    assert {name for names in decided for name in names} == set(keras_3.made.activations)
    assert sum(map(len, decided)) == len(keras_3.made.activations)


def test_every_operation_that_is_translated_exists_and_is_tried(keras_3: Keras3) -> None:
    assert set(operations.OPERATIONS) <= set(keras_3.made.operations)
    tried = {layer["class_name"] for layer in config(keras_3.folder / "operations.keras")["config"]["layers"]}
    assert set(operations.OPERATIONS) - tried == set(), "the model `operations` lacks these"


@pytest.mark.parametrize(("path", "content"), [(PAGE, table()), (README, layers())], ids=["page", "README"])
def test_page_has_the_table_that_it_is_to_have(path: Path, content: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == page(text, content), "python -m tests.pipeline.formats.model_file.keras3 --write"
