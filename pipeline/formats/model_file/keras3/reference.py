"""What Keras 3 itself answers: to be called in a process of its own, which has loaded no other Keras."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.formats import meaningful_line
from pipeline.formats.keras_config import shown
from pipeline.formats.model_file.keras3.weights import configuration
from pipeline.formats.model_file.scan import Scanned

if TYPE_CHECKING:
    import numpy as np

    from pipeline.predictor import Samples

# two, and none that a dimension of the model could be taken for
BATCHES = (1, 7)
# for a dimension that the model leaves open
_FREE = 32
# how much larger than 1 the samples of a batch become: what a model gets may be scaled or raw
_SCALES = (1.0, 0.1, 255.0)


@dataclass(frozen=True)
class Reference:
    """Inputs and what Keras 3 answers to them.

    Attributes:
        inputs: for each batch the inputs, in the model's order: [n, ...].
        outputs: for each batch the outputs, in the model's order: [n, ...].
        samples: the outputs for samples of the data; empty where their names or shapes are not the model's.
        version: of Keras 3.
    """

    inputs: tuple[tuple[np.ndarray, ...], ...]
    outputs: tuple[tuple[np.ndarray, ...], ...]
    samples: tuple[np.ndarray, ...]
    version: str


def answers(scanned: Scanned, samples: Samples) -> Reference:
    """Load the copy of a file that was looked through with Keras 3, and ask it.

    Args:
        scanned: the file.
        samples: of the data, [n, ...] of the one input, or of each by name.

    Raises:
        InputError: Keras 3 cannot load it, or cannot answer.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    try:
        import keras

        loaded: Any = keras.models.load_model(scanned.model, compile=False, safe_mode=True)
        return ask(loaded, configuration(scanned), samples)
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(
            f"the model file {scanned.path} does not work in Keras 3", expected="a model that Keras 3 loads and asks",
            found=shown(meaningful_line(error), 300), todo="load it with Keras 3, ask it, and save it again",
        ) from error  # fmt: skip


def ask(loaded: Any, config: Any, samples: Samples) -> Reference:
    """Return what a model of Keras 3 answers to random inputs, which its configuration holds to what it can look up."""
    import keras
    import numpy as np

    model: Any = keras.Model(loaded.inputs, loaded.outputs)
    wanted = [(tuple(end.shape), str(end.dtype), end.name) for end in loaded.inputs]
    limits = _limits(config, wanted)
    sizes = [n for n in BATCHES if all(shape[0] in (None, n) for shape, _, _ in wanted)] or [wanted[0][0][0] or 1]
    random = np.random.default_rng(0)
    inputs = tuple(
        tuple(_values(random, (n, *shape[1:]), kind, limits.get(name, 0)) for shape, kind, name in wanted)
        for n in sizes
    )
    if not isinstance(samples, Mapping):
        given: tuple[np.ndarray, ...] = (samples,)
    elif len(samples) == len(wanted) == 1:  # the only one may have any name
        given = tuple(samples.values())
    else:
        given = tuple(samples[name] for _, _, name in wanted if name in samples)
    fit = len(given) == len(wanted) and all(_fits(one, shape) for one, (shape, _, _) in zip(given, wanted, strict=True))
    return Reference(
        inputs, tuple(_asked(model, batch) for batch in inputs),
        _asked_in_batches(model, given, wanted[0][0][0]) if fit else (), str(keras.__version__),
    )  # fmt: skip


def _fits(samples: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    """Return whether samples have the shape that an input wants of each; batches can be made of any size."""
    found = samples.shape
    return len(found) == len(shape) and all(b in (None, a) for a, b in zip(found[1:], shape[1:], strict=True))


def _asked_in_batches(model: Any, inputs: tuple[np.ndarray, ...], size: int | None) -> tuple[np.ndarray, ...]:
    """Return the answers to all samples, asked in batches of the only size that the model takes, where it says one.

    The last batch is filled up with the first samples, whose answers are left out there.
    """
    import numpy as np

    count = len(inputs[0])
    if size is None:
        return _asked(model, inputs)
    places = [np.arange(start, start + size) % count for start in range(0, count, size)]
    found = [_asked(model, tuple(one[place] for one in inputs)) for place in places]
    return tuple(np.concatenate(parts)[:count] for parts in zip(*found, strict=True))


def _asked(model: Any, inputs: tuple[Any, ...]) -> tuple[np.ndarray, ...]:
    import keras

    answer = model([keras.ops.convert_to_tensor(one) for one in inputs], training=False)
    return tuple(keras.ops.convert_to_numpy(one) for one in keras.tree.flatten(answer))


def _values(random: np.random.Generator, shape: tuple[int | None, ...], kind: str, limit: int) -> np.ndarray:
    """Return an input: numbers of both signs, or whole ones in [0, limit) where the model looks something up."""
    import numpy as np

    sides = tuple(_FREE if side is None else side for side in shape)
    if kind == "bool":
        return np.asarray(random.random(sides) < 0.5)
    if limit or not kind.startswith("float"):
        return random.integers(0, limit or 100, sides).astype(kind)
    scales = np.resize(np.array(_SCALES), sides[0]).reshape(-1, *(1,) * (len(sides) - 1))
    values: np.ndarray = (random.standard_normal(sides) * scales).astype(kind)
    return values


def _limits(config: Any, wanted: list[tuple[tuple[int | None, ...], str, str]]) -> dict[str, int]:
    """Return, of the inputs that are numbers of rows of a table, by name how many rows the smallest one has."""
    tables = list(_tables(config))
    if not tables:
        return {}
    smallest = min(rows for rows, _ in tables)
    integers = {name for _, kind, name in wanted if not kind.startswith(("float", "bool"))}
    # an Embedding takes float32 too: where its inputs are not known, they are all
    direct = {name for _, names in tables for name in names if name in {name for _, _, name in wanted}}
    return dict.fromkeys(integers | direct or {name for _, _, name in wanted}, smallest)


def _tables(node: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield (rows, the names of the layers that its inputs come from) of each layer that looks something up."""
    if isinstance(node, list):
        for inner in node:
            yield from _tables(inner)
    elif isinstance(node, Mapping):
        options = node.get("config")
        if node.get("class_name") in ("Embedding", "CategoryEncoding") and isinstance(options, Mapping):
            rows = options.get("input_dim") or options.get("num_tokens")
            if isinstance(rows, int):
                yield rows, list(_histories(node.get("inbound_nodes")))
        for inner in node.values():
            yield from _tables(inner)


def _histories(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for inner in node:
            yield from _histories(inner)
    elif isinstance(node, Mapping):
        if "keras_history" in node:
            yield node["keras_history"][0]
        for inner in node.values():
            yield from _histories(inner)
