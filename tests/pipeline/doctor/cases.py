"""The smallest recipes of every architecture, each with all stages and formats, over a few samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests import texts

FIT = {"epochs": 1, "batch_size": 32, "tensorboard": False}
TUNING = FIT | {"on_regression": "continue"}

# name -> section model, and what else differs from `recipe`
QUICK: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "cnn": ({"architecture": "cnn", "filters": [16, 16]}, {}),
    "rnn": ({"architecture": "rnn", "cell": "gru", "units": [16], "dense": [8]}, {"export": {"unrolled_steps": 4}}),
}
LONG: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mlp": ({"architecture": "mlp", "dense": [32]}, {}),
    "cnn-plain": ({"architecture": "cnn", "filters": [16], "batch_norm": False, "dropout": 0.1}, {}),
    "resnet": ({"architecture": "resnet", "depth": 8}, {}),
    "mobilenet": ({"architecture": "mobilenet", "version": 2, "width_multiplier": 0.1, "blocks": 3}, {}),
    "mobilenet-v1": ({"architecture": "mobilenet", "version": 1, "width_multiplier": 0.25, "blocks": 3}, {}),
    "efficientnet": ({"architecture": "efficientnet", "width_multiplier": 0.1, "blocks": 3}, {}),
    "ds_cnn": ({"architecture": "ds_cnn", "filters": 16, "blocks": 2}, {}),
    "autoencoder": (
        {"architecture": "autoencoder", "dense": [32], "code": 8}, {"data": {"task": "reconstruction"}},
    ),
    "rnn-unrolled": ({"architecture": "rnn", "cell": "lstm", "units": [16]}, {}),
    "rnn-both": (
        {"architecture": "rnn", "cell": "simple", "units": [8, 8], "bidirectional": True},
        {"export": {"unrolled_steps": 0}},
    ),
    "rnn-after": (
        {"architecture": "rnn", "cell": "gru", "units": [8]}, {"export": {"unrolled_steps": 4}, "quantize": None},
    ),
    "cnn-after": ({"architecture": "cnn", "filters": [16, 16]}, {"quantize": None}),
    "text_rnn": (
        {"architecture": "text_rnn", "embedding": 16, "units": [16], "bidirectional": True, "dense": [16]}, {},
    ),
    "text_transformer": ({"architecture": "text_transformer", "embedding": 16, "feed_forward": 32}, {}),
    "text-after": ({"architecture": "text_transformer", "embedding": 16, "feed_forward": 32}, {"quantize": None}),
    "ensemble": (
        {"ensemble": [{"architecture": "cnn", "filters": [16]}, {"architecture": "mlp", "dense": [16]}]}, {},
    ),
}  # fmt: skip
CASES = QUICK | LONG


def data(folder: Path, *, text: bool) -> dict[str, Any]:
    """Write the samples that a case is for; return its section data."""
    if text:
        config = texts.write(folder / "texts.npz")
        return config.model_dump(mode="json", exclude_unset=True)
    from sklearn.datasets import load_digits

    found = load_digits()
    path = folder / "digits.npz"
    np.savez(path, x_train=found.images[:320, ..., None].astype(np.uint8), y_train=found.target[:320])
    return {"source": "npz", "path": str(path)}


def recipe(name: str, folder: Path) -> dict[str, Any]:
    """Return the recipe of a case, as a mapping."""
    model, other = CASES[name]
    found: dict[str, Any] = {
        "name": name,
        "data": data(folder, text=str(model.get("architecture")).startswith("text")),
        "model": model,
        "train": FIT,
        "shrink": TUNING | {"parameters": 0.95, "multiple": None},
        "prune": TUNING | {"final_sparsity": 0.5},
        "cluster": TUNING | {"clusters": 8},
        "quantize": TUNING,
        "export": {},
        "measure": None,
        "serving": None,
    }
    for section, values in other.items():
        found[section] = None if values is None else found[section] | values
    return found
