"""Channel removal on random models: what it makes has to answer as the original does without the channels.

    python -m tests.pipeline.compress.random_graphs --graphs 500 --seed 0

tries so many models, also converts some of the results to .tflite, and says what was in them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from pipeline.compress import channel_graph, removal
from pipeline.compress.channel_graph import ChannelGraph
from pipeline.legacy_keras import load as load_keras
from pipeline.measuring.macs import macs as count_macs
from tests.pipeline.compress import masked, random_models

# in units of the largest output; float32 has 1.2e-7, and normalizing a few small values makes it larger
TOLERANCE = 1e-4
# the entries of a layer's config that count channels
_COUNTS = ("units", "filters", "groups", "output_dim", "num_heads", "target_shape", "output_shape", "query_shape",
           "key_shape", "value_shape")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What was found on one model.

    Attributes:
        kinds: class name -> its layers in the model.
        cut: class name -> its layers with weights or a size that became smaller.
        error: largest difference of outputs, in units of the largest output.
        effect: the same between the original with and without the channels.
    """

    kinds: Counter[str]
    cut: Counter[str]
    groups: int
    removable: int
    channels: int
    removed: int
    error: float
    effect: float


@dataclass
class Summary:
    """What was found on many models."""

    outcomes: list[Outcome] = field(default_factory=list)

    def text(self) -> str:
        kinds, cut = Counter[str](), Counter[str]()
        for outcome in self.outcomes:
            kinds += outcome.kinds
            cut += outcome.cut
        with_effect = [outcome for outcome in self.outcomes if outcome.removed]
        seen = sum(outcome.effect > 10 * TOLERANCE for outcome in with_effect)
        lines = [f"{kind:28} {count:5}   smaller {cut[kind]:5}" for kind, count in kinds.most_common()]
        return "\n".join([
            *lines,
            f"{len(self.outcomes)} models, {sum(one.groups for one in self.outcomes)} groups, "
            f"{sum(one.removable for one in self.outcomes)} of them removable",
            f"{sum(one.removed for one in self.outcomes)} of {sum(one.channels for one in self.outcomes)} channels "
            f"removed, in {len(with_effect)} models; it changes what {seen} of them answer",
            f"largest error {max(one.error for one in self.outcomes):.1e} of the largest output",
        ])  # fmt: skip


def choose(graph: ChannelGraph, random: Random) -> dict[str, np.ndarray]:
    """Return random channels that stay, at least one of each group; a few groups stay whole."""
    found: dict[str, np.ndarray] = {}
    for group in graph.removable:
        if random.randrange(8):
            count = random.randint(1, group.size - 1)
            found[group.name] = np.array(sorted(random.sample(range(group.size), count)))
    return found


def once(random: Random, most: int = 7, store: bool = True, convert: bool = False) -> Outcome:
    """Build a random model, remove random channels from it, and hold the result against all that is known of it.

    Args:
        most: steps that the model may have.
        store: whether the result also learns, and is written to a file and read again.
        convert: whether it is also converted to .tflite.

    Raises:
        AssertionError: with the model's layers and the channels that were to stay.
    """
    model = random_models.build(random, most)
    kept: dict[str, np.ndarray] = {}
    try:
        graph = channel_graph.follow(model)
        kept |= choose(graph, random)
        small, outcome = compare(model, graph, kept)
        if store:
            trains(small)
        if store and "Lambda" not in outcome.kinds:  # no file with one is read
            with tempfile.TemporaryDirectory() as folder:
                stored(small, Path(folder))
        if convert:
            converts(model, small)
    except Exception as error:
        chosen = {name: places.tolist() for name, places in kept.items()}
        reason = f"{type(error).__name__}: {error}"
        raise AssertionError(f"{reason}\n\n{random_models.described(model)}\n\nkept: {chosen}") from error
    return outcome


def compare(model: Any, graph: ChannelGraph, kept: Mapping[str, np.ndarray]) -> tuple[Any, Outcome]:
    """Remove all but some channels, and return the smaller model, which answers as it has to."""
    before, config = model.get_weights(), model.get_config()
    small = removal.remove(model, graph, kept)
    _same_weights(model, before)
    require(model.get_config() == config, "the original's config changed")
    _sizes(model, small, graph, {name: len(places) for name, places in kept.items()})
    functional = load_keras().Model(model.inputs, model.outputs, name=model.name)  # of a sequential one too
    _settings(functional.get_config(), small.get_config(), ())
    samples = random_models.samples(model)
    whole, found = _answers(model, samples), _answers(small, samples)
    expected = masked.outputs(model, small, samples)
    _same_weights(model, before)
    error = _difference(found, expected)
    require(error < TOLERANCE, f"outputs differ by {error:.1e} of the largest")
    return small, Outcome(
        Counter(type(layer).__name__ for layer in model.layers),
        Counter(type(layer).__name__ for layer in model.layers if _smaller(layer, small.get_layer(layer.name))),
        len(graph.groups), len(graph.removable), sum(group.size for group in graph.groups),
        sum(graph.full[name] - len(places) for name, places in kept.items()), error, _difference(whole, expected),
    )  # fmt: skip


def trains(model: Any) -> None:
    """Take one step of gradient descent, with dropout and statistics of the batch."""
    load_keras()
    import tensorflow as tf

    with tf.GradientTape() as tape:
        answers = model(random_models.samples(model), training=True)
        loss = sum(tf.reduce_mean(tf.square(end)) for end in tf.nest.flatten(answers))
    gradients = tape.gradient(loss, model.trainable_weights)
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        finite = gradient is None or np.isfinite(tf.convert_to_tensor(gradient).numpy()).all()
        require(finite, f"the gradient of {weight.name} is not finite")
    load_keras().optimizers.SGD(0.01).apply_gradients(
        (gradient, weight)
        for gradient, weight in zip(gradients, model.trainable_weights, strict=True)
        if gradient is not None
    )


def stored(model: Any, folder: Path) -> None:
    """Write a model to a .keras file and read it again."""
    samples = random_models.samples(model)
    model.save(folder / "small.keras")
    again = load_keras().models.load_model(folder / "small.keras", compile=False)
    require(_difference(_answers(again, samples), _answers(model, samples)) == 0, "the file answers differently")


def converts(model: Any, small: Any) -> None:
    """What TensorFlow's converter can make of a model it can make of the smaller one."""
    load_keras()
    import tensorflow as tf

    def converted(each: Any) -> bool:
        try:
            return bool(tf.lite.TFLiteConverter.from_keras_model(each).convert())
        except Exception:  # noqa: BLE001  # it raises errors of its own kinds for operators that a file cannot hold
            return False

    require(converted(small) or not converted(model), "only the original can be converted")


def _answers(model: Any, samples: list[Any]) -> list[np.ndarray]:
    found = model(samples if len(samples) > 1 else samples[0])
    return [end.numpy() for end in (found if isinstance(found, (list, tuple)) else [found])]


def _difference(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """Return the largest difference of any output, in units of that output's largest value."""
    shares = []
    for one, other in zip(found, expected, strict=True):
        require(one.shape == other.shape, f"outputs of the shapes {one.shape} and {other.shape}")
        require(bool(np.isfinite([one, other]).all()), "an output is not finite")
        shares.append(float(np.abs(one - other).max() / max(float(np.abs(other).max()), 1e-3)))
    return max(shares)


def _same_weights(model: Any, before: list[np.ndarray]) -> None:
    require(all(map(np.array_equal, model.get_weights(), before)), "the original's weights changed")


def _sizes(model: Any, small: Any, graph: ChannelGraph, widths: dict[str, int]) -> None:
    """Hold what the graph says of the smaller model against that model."""
    _equal(graph.parameters({}), model.count_params(), "parameters of the original")
    _equal(graph.parameters(widths), small.count_params(), "parameters")
    _equal(graph.macs({}), count_macs(model).total, "MACs of the original")
    _equal(graph.macs(widths), count_macs(small).total, "MACs")
    for channels in graph.layers:
        layer = small.get_layer(channels.name)
        if channels.kind in masked.MADE and channels.outputs is not None:
            _equal(channels.outputs.at(graph.full | widths), _last(layer.get_output_shape_at(0)), channels.name)
        # a dense layer may read a last dimension that counts places, behind channels
        places = channels.kind == "Dense" and len(layer.get_input_shape_at(0)) > 2
        if channels.kind in masked.MADE and channels.inputs is not None and not places:
            _equal(channels.inputs.at(graph.full | widths), _last(layer.get_input_shape_at(0)), channels.name)
    for one in model.layers:  # a sequential model's have no input layer among them
        other = small.get_layer(one.name)
        _equal(other.trainable, one.trainable, f"{one.name} is trainable")
        _equal([each.name for each in one.weights], [each.name for each in other.weights], "weights")


def _last(shape: Any) -> int:
    return int((shape[0] if isinstance(shape, list) else shape)[-1])


def require(holds: bool, message: str) -> None:
    """Raise an assertion's error with a message: pytest explains those of tests alone."""
    if not holds:
        raise AssertionError(message)


def _equal(found: Any, expected: Any, what: str) -> None:
    require(found == expected, f"{what}: found {found}, expected {expected}")


def _settings(one: Any, other: Any, path: tuple[str, ...]) -> None:
    """Two configs differ in numbers of channels alone."""
    name = ".".join(path)
    if isinstance(one, dict):
        _equal(one.keys(), other.keys(), name)
        for key, value in one.items():
            if key not in ("build_config", "function"):  # the latter is a Lambda's, which is compiled anew
                _settings(value, other[key], (*path, key))
    elif path and path[-1] in _COUNTS:
        # attention's output_shape is None where it is that of its input
        pairs = zip(np.ravel(one), np.ravel(other), strict=True) if one is not None else ()
        grown = any(theirs is not None and theirs > mine for mine, theirs in pairs)
        require(not grown, f"{name} grew from {one} to {other}")
    elif isinstance(one, (list, tuple)):
        _equal(len(one), len(other), name)
        for mine, theirs in zip(one, other, strict=True):
            _settings(mine, theirs, path)
    else:
        _equal(other, one, name)


def _smaller(layer: Any, small: Any) -> bool:
    if [weight.shape for weight in layer.weights] != [weight.shape for weight in small.weights]:
        return True
    return layer.get_input_shape_at(0) != small.get_input_shape_at(0)


def main() -> int:
    """Try many models; exit status 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--graphs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="of the first model; each further one has the next")
    parser.add_argument("--convert", type=int, default=10, help="convert every so-manieth result to .tflite")
    given = parser.parse_args()
    summary, failed = Summary(), 0
    for place in range(given.graphs):
        load_keras().backend.clear_session()
        seed = given.seed + place
        try:
            summary.outcomes.append(once(Random(seed), convert=place % given.convert == 0))
        except AssertionError as error:
            failed += 1
            print(f"\nseed {seed}: {error}\n", flush=True)
        if (place + 1) % 25 == 0:
            print(f"{place + 1} of {given.graphs} models, {failed} failed", flush=True)
    print(summary.text())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
