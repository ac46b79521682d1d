"""Counts parameters and MACs of the architectures, for `modelmill architectures`:

    python -m tests.models.sizes

writes models/sizes.json. Another architecture is one line in ENTRIES.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
from models import (
    ModelConfig,
    autoencoder,
    cnn,
    ds_cnn,
    efficientnet,
    mlp,
    mobilenet,
    resnet,
    rnn,
    text_rnn,
    text_transformer,
)
from pipeline.listings import SIZES
from pipeline.measuring import footprint
from pipeline.predictor import Head, Input, Spec, classifier
from pipeline.vectorizer import FIRST, Vectorizer

FILE = Path(models.__file__).parent / SIZES


@dataclass(frozen=True)
class Entry:
    """A config, the shape of its inputs and the number of its classes, which are none for a reconstruction.

    Of texts the shape is their number of token ids, and `vocabulary` the number of what an id can be.
    """

    config: ModelConfig
    shape: tuple[int, ...]
    classes: int
    vocabulary: int = 0

    @property
    def keys(self) -> dict[str, Any]:
        """What a recipe has to say."""
        chosen = self.config.model_dump(mode="json", exclude_unset=True)
        return {"architecture": self.config.architecture, **chosen}

    @property
    def spec(self) -> Spec:
        """What the data wants of the model."""
        classes = tuple(str(place) for place in range(self.classes))
        if self.vocabulary:
            words = tuple(str(place) for place in range(self.vocabulary - FIRST))
            text = Input("text", self.shape, (0.0, self.vocabulary - 1.0), Vectorizer(words, *self.shape))
            return Spec((text,), (Head("classification", (self.classes,), classes),))
        spec = classifier("image", self.shape, (0, 255), classes)
        if self.config.architecture in models.REBUILDING:
            return Spec(spec.inputs, (Head("reconstruction", self.shape),))
        return spec


# the sizes that are published, or one that a recipe of ours has
ENTRIES = (
    Entry(cnn.Config(convolutions=2, head="average"), (8, 8, 1), 10),
    Entry(mlp.Config(), (8, 8, 1), 10),
    Entry(resnet.Config(depth=8), (32, 32, 3), 10),
    Entry(resnet.Config(depth=20), (32, 32, 3), 10),
    Entry(resnet.Config(depth=32), (32, 32, 3), 10),
    Entry(resnet.Config(depth=56), (32, 32, 3), 10),
    Entry(resnet.Config(depth=18), (224, 224, 3), 1000),
    Entry(mobilenet.Config(version=1), (224, 224, 3), 1000),
    Entry(mobilenet.Config(version=1, width_multiplier=0.25), (96, 96, 3), 2),
    Entry(mobilenet.Config(version=2), (224, 224, 3), 1000),
    Entry(mobilenet.Config(version=2, width_multiplier=0.5), (224, 224, 3), 1000),
    Entry(mobilenet.Config(version=2, width_multiplier=0.5), (32, 32, 3), 10),
    Entry(efficientnet.Config(), (224, 224, 3), 1000),
    Entry(efficientnet.Config(), (32, 32, 3), 10),
    Entry(efficientnet.Config(variant="b1"), (240, 240, 3), 1000),
    Entry(ds_cnn.Config(), (49, 10, 1), 12),
    Entry(ds_cnn.Config(filters=172, strides=(2, 1), block_stride=2), (49, 10, 1), 12),
    Entry(ds_cnn.Config(filters=276, blocks=5, strides=(2, 1), block_stride=2), (49, 10, 1), 12),
    Entry(rnn.Config(cell="lstm", units=(48,)), (8, 8, 1), 10),
    Entry(rnn.Config(cell="gru", units=(48,), bidirectional=True), (8, 8, 1), 10),
    Entry(autoencoder.Config(), (8, 8, 1), 0),
    Entry(text_rnn.Config(), (64,), 4, vocabulary=10_000),
    Entry(text_transformer.Config(), (64,), 4, vocabulary=10_000),
)


def counted(entry: Entry) -> dict[str, Any]:
    """Return an entry of the file, counted on the built model."""
    model = models.build(entry.config, entry.spec, 0)
    macs = footprint.macs(model)
    assert macs.unknown == (), macs.unknown
    vocabulary = {"vocabulary": entry.vocabulary} if entry.vocabulary else {}
    return {
        "model": entry.keys, "input": list(model.input_shape[1:]), **vocabulary,
        "output": list(model.output_shape[1:]), "parameters": footprint.parameters(model), "macs": macs.total,
    }  # fmt: skip


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(counted(entry)) for entry in ENTRIES)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"wrote {FILE}")
