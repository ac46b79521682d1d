"""Proof that an imported model is the user's file: its weights as h5py reads them, its answers as a fresh process gives
them.

What Keras restored is not asked of Keras: each array that h5py finds in the file is matched with a weight of the
imported model by layer and name, by rules written here from the layout of the files.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import RunError
from pipeline.formats.model_file import archive, hdf5
from pipeline.formats.model_file.keras3 import agreement
from pipeline.formats.model_file.keras3 import weights as keras3_weights
from pipeline.formats.model_file.keras3.reference import Reference
from pipeline.formats.model_file.scan import WEIGHTS_GROUP, Scanned
from pipeline.predictor import count

if TYPE_CHECKING:
    import h5py
    import numpy as np

    from pipeline.predictor import Samples

# float32 softmax of logits up to about 100, computed twice in different ways
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Proof:
    """What was found equal.

    Attributes:
        weights: number of the weights, all of them equal to the file's bit by bit.
        samples: number of the samples that both models answered.
        difference: largest absolute difference of an answer.
        function: what makes of the imported logits the probabilities that the file answers, which were compared:
            softmax, sigmoid, or "": the file answers as the imported model does.
        keras_3: the version of Keras 3 that answered for the file; "": tf_keras did.
    """

    weights: int
    samples: int
    difference: float
    function: str
    keras_3: str = ""

    def __str__(self) -> str:
        file = f"the file's in Keras {self.keras_3}" if self.keras_3 else "each model in a fresh process"
        answers = f"answers to {self.samples} validation samples, {file}:"
        if self.function:
            how = f"the {self.function} of the logits is off by {self.difference:.1e} at most (tolerance {TOLERANCE:g})"
        else:
            how = "all equal" if self.difference == 0 else f"off by {self.difference:.1e} at most"
        return f"{self.weights} of {self.weights} weights equal the file's, read by h5py; {answers} {how}"


def prove(
    scanned: Scanned, folder: Path, samples: Samples, *, changed: bool, reference: Reference | None = None
) -> Proof:
    """Compare a stored model with the file that it was imported from; to be called in a fresh process.

    Args:
        scanned: the file.
        folder: the artifact with the imported model (`formats/keras_file.py`).
        samples: raw values.
        changed: whether some output of the file's model was made logits of, see `endings`.
        reference: what Keras 3 answers to the samples, where the file is of Keras 3.

    Raises:
        RunError: they differ.
    """
    import numpy as np

    from pipeline.formats import endings, ends, keras_file
    from pipeline.formats.model_file import load

    imported, spec = keras_file.read(folder)
    weights = require_equal_weights(scanned, imported)
    whole = load.whole(scanned)
    file = load.arranged(scanned.path, whole, spec)
    given = spec.named(samples)
    plain = endings.Ending("", single=False)
    kinds = endings.found(file, spec) if changed else (plain,) * len(spec.heads)
    functions = " and ".join(dict.fromkeys(ending.function for ending in kinds if ending.function))
    found = [one.numpy() for one in ends.call(imported, spec, given)]
    if reference is None:
        wanted = [one.numpy() for one in ends.call(file, spec, given)]
    else:  # in the order of the file, whose outputs have names where there are several
        places = [whole.output_names.index(head.name) for head in spec.heads] if len(spec.heads) > 1 else [0]
        wanted = [reference.samples[place] for place in places]
    worst, off = 0.0, False
    for ending, one, other in zip(kinds, found, wanted, strict=True):
        same = ending.of_file(one)
        difference = float(np.abs(same - other).max())
        worst = float(np.max([worst, difference]))  # the largest of what may be NaN is NaN
        if ending.function:
            off |= not difference <= TOLERANCE
        elif reference:
            off |= not agreement.difference(same, other) <= TOLERANCE
        else:
            off |= difference != 0
    if off:
        raise RunError(
            f"the model imported from {scanned.path} does not answer as the file does",
            expected=f"{f'{functions} of its logits' if functions else 'answers'} within {TOLERANCE:g}"
            if functions or reference else "the same answers",
            found=f"a difference of {worst:.3g} in {count(samples)} samples",
            todo="report this model; a layer that answers differently each time cannot be proven",
        )  # fmt: skip
    return Proof(weights, count(samples), worst, functions, reference.version if reference else "")


def require_equal_weights(scanned: Scanned, model: Any) -> int:
    """Return the number of weights, all of which are in the file and in the model, with the same bits.

    Raises:
        RunError: one is not.
    """
    import h5py
    import numpy as np

    problems: list[str] = []
    matched: set[int] = set()
    with h5py.File(scanned.weights, "r") as file:
        if scanned.keras == 3:
            pairs = keras3_weights.pairs(scanned, file, model)
        else:
            pairs = _from_hdf5(file, model) if scanned.kind == "hdf5" else _from_archive(scanned, file, model)
        for name, stored, weight in pairs:
            if weight is None:
                problems.append(f"{name} is in no layer of the model")
                continue
            matched.add(id(weight))
            values = weight.numpy()
            if stored.shape != values.shape or stored.dtype != values.dtype or not np.array_equal(stored, values):
                problems.append(f"{name} differs")
    problems += [f"{weight.name} is not in the file" for weight in model.weights if id(weight) not in matched]
    if problems:
        raise RunError(
            f"the model imported from {scanned.path} does not have the file's weights",
            expected="each weight as h5py reads it from the file",
            found="; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else ""),
            todo="report this model; saved again by tf_keras (load_model, save) it may be read as it is",
        )  # fmt: skip
    return len(matched)


def _from_hdf5(file: h5py.File, model: Any) -> Iterator[tuple[str, np.ndarray, Any]]:
    """Yield (name, array, weight of the model) of a whole-model HDF5 file.

    model_weights/LAYER has the layer's weights, those of layers inside of it included, in the order of `weight_names`.
    """
    group = file[WEIGHTS_GROUP]
    layers = {layer.name: layer for layer in model.layers}
    for layer in hdf5.texts(group, "layer_names") or []:
        names = hdf5.texts(group[layer], "weight_names") or []
        found = layers.get(layer)
        weights = [*found.trainable_weights, *found.non_trainable_weights] if found is not None else []
        for place, name in enumerate(names):
            weight = weights[place] if place < len(weights) else None
            same = weight is not None and _last(weight.name) == _last(name)
            yield f"{layer}/{name}", group[layer][name][()], weight if same else None


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def _from_archive(scanned: Scanned, file: h5py.File, model: Any) -> Iterator[tuple[str, np.ndarray, Any]]:
    """Yield (path, array, weight of the model) of a `.keras` archive's weights.

    layers/KIND_N/.../vars/I is weight I of the part of the model that the path leads to: the N-th layer of its class in
    the configuration's order, then attributes by their names.
    """
    with zipfile.ZipFile(scanned.model) as members:
        config = json.loads(members.read(archive.CONFIG))
    for path, array in hdf5.weights(file, hdf5.ARCHIVE_TRAINING):
        yield path, array, _at(path.split("/"), config, model)


def _at(path: list[str], config: Any, item: Any) -> Any:
    """Return the weight that a path inside model.weights.h5 leads to; None where it leads nowhere."""
    if path[0] == "vars" and len(path) == 2:
        own = [*item._trainable_weights, *item._non_trainable_weights]
        return own[int(path[1])] if path[1].isdigit() and int(path[1]) < len(own) else None
    if len(path) < 2:
        return None
    options = config.get("config") if isinstance(config, Mapping) else None
    if path[0] == "layers" and isinstance(options, Mapping) and isinstance(options.get("layers"), list):
        within = next((layer for key, layer in archive.keyed(options["layers"]) if key == path[1]), None)
        if within is None:
            return None
        named = within.get("name") or within["config"]["name"]
        layer = next((layer for layer in item.layers if layer.name == named), None)
        return None if layer is None else _at(path[2:], within, layer)
    part = getattr(item, path[0], None)
    if isinstance(part, (list, tuple)):
        chosen = next((one for key, one in archive.keyed(part) if key == path[1]), None)
        return None if chosen is None else _at(path[2:], None, chosen)
    return None if part is None else _at(path[1:], _inner(config), part)


def _inner(config: Any) -> Any:
    """Return the configuration of the layer that a wrapper holds, which may be a model."""
    options = config.get("config") if isinstance(config, Mapping) else None
    return options.get("layer") if isinstance(options, Mapping) else None
