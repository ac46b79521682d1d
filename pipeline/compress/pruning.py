"""Magnitude pruning (Zhu and Gupta, 2017) with TF-MOT: wrap a copy of a model, fine-tune it, strip the wrappers.

Where zeros are to stand in a pattern, the wrappers take their masks from `masks`.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.compress import kernels, masks, support
from pipeline.compress.pattern_config import Structured, labelled
from pipeline.errors import InputError, PromiseError
from pipeline.legacy_keras import load as load_keras
from pipeline.legacy_keras import load_tfmot

# (layer, name within the layer) -> where its kernel is zero, a boolean array of the kernel's shape
Zeros = Mapping[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class Schedule:
    """When masks are renewed, in optimizer steps, and how sparse they are.

    Attributes:
        initial_sparsity: where a polynomial starts, in [0, 1); None: constant, at the target from `begin_step` on.
        begin_step, end_step: the first and last step that renews; end_step - begin_step is a multiple of frequency.
        power: exponent of the polynomial.
        frequency: steps between two renewals.
    """

    initial_sparsity: float | None
    begin_step: int
    end_step: int
    power: float
    frequency: int


def schedule(
    *, initial_sparsity: float | None, begin_epoch: float, end_epoch: float, power: float, frequency: int | None,
    steps: int, epochs: int,
) -> Schedule:  # fmt: skip
    """Turn epochs into steps such that the last renewal is at the final sparsity and still inside the training.

    TF-MOT renews at begin + k * frequency only: an end between two of these would never be reached.

    Args:
        frequency: steps between renewals; None: about ten an epoch.
        steps: of an epoch.
        epochs: of the whole fit.
    """
    # TF-MOT counts the first step as 1
    begin, end = (max(1, min(round(epoch * steps), steps * epochs)) for epoch in (begin_epoch, end_epoch))
    span = max(0, end - begin)
    every = min(frequency or max(1, steps // 10), max(1, span))
    return Schedule(initial_sparsity if span else None, begin, begin + span // every * every, power, every)


def left(model: Any, pattern: Structured | None) -> dict[str, str]:
    """Return layer name -> why it stays dense, for layers that could be pruned but for the pattern."""
    if pattern is None:
        return {}
    reasons = {
        layer.name: masks.misfit(layer, names, pattern) for layer in model.layers if (names := support.prunable(layer))
    }
    return {name: reason for name, reason in reasons.items() if reason}


def targets(
    model: Any, final_sparsity: float, by_layer: Mapping[str, float | None], left: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Return layer name -> final sparsity for every layer that is pruned.

    Args:
        final_sparsity: for all layers that nothing else is said of.
        by_layer: a layer's name, or a pattern of names (`conv_*`), -> its own target; None leaves it dense. The last
            pattern that fits decides.
        left: layer name -> why it is not pruned though it could be.

    Raises:
        InputError: a name that fits no layer, or a target for a layer that cannot be pruned.
    """
    left = left or {}
    names = [layer.name for layer in model.layers]
    unknown = [pattern for pattern in by_layer if not fnmatch.filter(names, pattern)]
    if unknown:
        raise InputError(
            "prune.layers names what is no layer of the model", expected=f"names or patterns of {', '.join(names)}",
            found=", ".join(unknown), todo="correct the name",
        )  # fmt: skip
    asked = [layer for layer in model.layers if by_layer.get(layer.name)]
    why = {
        layer.name: support.dense(layer) or left.get(layer.name) or "it has no kernel"
        for layer in asked
        if not support.prunable(layer) or layer.name in left
    }
    if why:
        raise InputError(
            "prune.layers asks for zeros in layers that cannot be pruned",
            found="; ".join(f"{name}: {reason}" for name, reason in why.items()), todo="leave them out",
        )  # fmt: skip
    found: dict[str, float] = {}
    for layer in model.layers:
        target: float | None = final_sparsity
        for pattern, own in by_layer.items():
            if fnmatch.fnmatchcase(layer.name, pattern):
                target = own
        if target and support.prunable(layer) and layer.name not in left:
            found[layer.name] = target
    if not found:
        raise InputError(
            "there is nothing to prune in the model", expected="a layer with a kernel that is not excluded",
            found=f"{len(names)} layers, each dense: "
            + ", ".join(f"{name} ({left[name]})" if name in left else name for name in names),
            todo="leave the section prune out" + ", or its pattern: prune.pattern={name: unstructured}" * bool(left),
        )  # fmt: skip
    return found


def wrap(model: Any, aims: Mapping[str, float], when: Schedule, pattern: Structured | None = None) -> Any:
    """Return a copy of a model, weights included, whose layers in `aims` are wrapped by TF-MOT.

    The model itself stays as it is: TF-MOT's wrapper would train the very layers that it is given.

    Args:
        pattern: in which the zeros stand; None: anywhere.
    """
    keras = load_keras()
    tfmot = load_tfmot()

    def prune(layer: Any) -> Any:
        copy = layer.__class__.from_config(layer.get_config())
        if layer.name not in aims:
            return copy
        target = aims[layer.name]
        if when.initial_sparsity is None:
            plan = tfmot.sparsity.keras.ConstantSparsity(target, when.begin_step, when.end_step, when.frequency)
        else:
            plan = tfmot.sparsity.keras.PolynomialDecay(
                min(when.initial_sparsity, target), target, when.begin_step, when.end_step, when.power, when.frequency
            )
        return tfmot.sparsity.keras.prune_low_magnitude(copy, pruning_schedule=plan)

    wrapped = keras.models.clone_model(model, clone_function=prune)
    for before, after in zip(model.layers, wrapped.layers, strict=True):
        (after.layer if before.name in aims else after).set_weights(before.get_weights())
        if before.name in aims and pattern is not None:
            _mask_by(after.pruning_obj, pattern)
    return wrapped


def _mask_by(wrapper: Any, pattern: Structured) -> None:
    """Let the masks that a TF-MOT wrapper chooses, whenever its schedule says, have a pattern."""

    def renewed(weight: Any) -> tuple[Any, Any]:
        share = wrapper._pruning_schedule(wrapper._step_fn())[1]
        return 0.0, masks.mask(weight, pattern, share)  # the threshold is for TF-MOT's own summaries

    wrapper._maybe_update_block_mask = renewed


def callback() -> Any:
    """Return TF-MOT's callback that starts the wrappers' counters and masks the weights after each epoch."""
    tfmot = load_tfmot()

    return tfmot.sparsity.keras.UpdatePruningStep()


def strip(wrapped: Any) -> Any:
    """Return the plain model inside a wrapped one, with its weights and its zeros, as layers of its own."""
    keras = load_keras()
    tfmot = load_tfmot()

    stripped = tfmot.sparsity.keras.strip_pruning(wrapped)
    # its layers are still those inside the wrappers, each called in two models
    alone = keras.models.clone_model(stripped)
    alone.set_weights(stripped.get_weights())
    return alone


def zeros(model: Any) -> Zeros:
    """Return where a model's kernels are zero."""
    return {(layer.name, name): values == 0 for layer, name, values in kernels.named(model)}


def require_kept(came: Zeros, after: Any, *, stage: str) -> None:
    """Assert that what was zero in a model's kernels still is.

    Args:
        came: what `zeros` said of the model before.

    Raises:
        PromiseError: with every kernel where it is not.
    """
    gone = [
        f"{layer.name}/{name} lost {lost} zeros"
        for layer, name, values in kernels.named(after)
        if (lost := int(np.count_nonzero(values[came[layer.name, name]])))
    ]
    if gone:
        raise PromiseError(
            f"{stage}: weights that were zero are not any more", found="; ".join(gone), todo="report this model"
        )


def found_zeros(model: Any) -> dict[str, float]:
    """Return layer name -> share of zeros in each of the kernels that can be pruned, for layers that have any there.

    It is that of the kernel with the smallest share: what is promised of a layer is asserted of each.
    """
    shares = {}
    for layer in model.layers:
        arrays = [values for name, values in kernels.of(layer).items() if name in support.prunable(layer)]
        if arrays and (share := min(kernels.sparsity([array]) for array in arrays)):
            shares[layer.name] = share
    return shares


def require_in_file(
    found: Mapping[str, np.ndarray], promised: Mapping[str, tuple[np.ndarray, float]], *, name: str
) -> None:
    """Assert the promise of pruning on the kernels of an exported file.

    Formats rename and transpose kernels, but none changes how many weights one has: the kernels of each size that are
    promised zeros are held against as many of the file's, the sparsest first.

    Args:
        found: kernels as they are stored, by name.
        promised: what `pruned_kernels` says of the model that the file holds.
        name: of the file, for the message.

    Raises:
        PromiseError: with every kernel that has fewer.
    """
    by_size: dict[int, list[int]] = {}
    for array in sorted(found.values(), key=_zeros):
        by_size.setdefault(array.size, []).append(_zeros(array))
    missing, split = [], 0
    wanted = {
        kernel: (values.size, max(_zeros(values), _promised(values, target)))
        for kernel, (values, target) in promised.items()
    }
    for kernel, (size, zeros) in sorted(wanted.items(), key=lambda item: -item[1][1]):
        same = by_size.get(size)
        if not same:
            split += zeros  # a format may cut a kernel up, as LiteRT a recurrent one by its gates
        elif (has := same.pop()) < zeros:
            missing.append(f"{kernel} has {has} of {zeros} zeros")
    if split > sum(sum(left) for left in by_size.values()):
        missing.append(f"kernels that are not there as a whole have fewer than their {split} zeros")
    if missing:
        raise PromiseError(
            f"{name}: the file lacks zeros that the model has", found="; ".join(missing),
            todo="leave that precision out of the recipe's export section",
        )  # fmt: skip


def require_patterns_in_file(
    found: Mapping[str, np.ndarray], model: Any, patterns: Mapping[str, str], *, name: str
) -> None:
    """Assert on an exported file that the kernels with a pattern have their zeros where the model has them.

    Args:
        found: kernels as they are stored, by name.
        model: plain, with the pattern; see `require`.
        patterns: layer name -> label of its pattern.
        name: of the file, for the message.

    Raises:
        PromiseError: with every kernel of which that is not so.
    """
    missing = [
        f"{layer.name}/{kernel}"
        for layer, kernel, values in kernels.named(model)
        if layer.name in patterns and kernel in support.prunable(layer) and not masks.among(found, values)
    ]
    if missing:
        raise PromiseError(
            f"{name}: no kernel of the file has its zeros in the pattern that the model has", found=", ".join(missing),
            todo="leave that precision out of the recipe's export section",
        )  # fmt: skip


def _zeros(array: np.ndarray) -> int:
    return int(array.size - np.count_nonzero(array))


def _promised(values: np.ndarray, target: float) -> int:
    """Return the zeros that a kernel must have: the target's minus one."""
    return math.ceil(target * values.size) - 1


def pruned_kernels(model: Any, aims: Mapping[str, float]) -> dict[str, tuple[np.ndarray, float]]:
    """Return "layer/weight" -> (values, target) of the kernels that were to be pruned, in a plain model."""
    return {
        f"{layer.name}/{name}": (values, aims[layer.name])
        for layer, name, values in kernels.named(model)
        if layer.name in aims and name in support.prunable(layer)
    }


def require(model: Any, aims: Mapping[str, float], *, stage: str, patterns: Mapping[str, str] | None = None) -> None:
    """Assert the promise of pruning on a plain model: zeros in each kernel, at least the target minus one weight.

    Args:
        patterns: layer name -> label of the pattern that its zeros have, where they have one.

    Raises:
        PromiseError: with every kernel that has fewer, or not in the pattern.
    """
    missing = [
        f"{name} has {_zeros(values)} of {values.size} and was to have {target:.0%}"
        for name, (values, target) in pruned_kernels(model, aims).items()
        if _zeros(values) < _promised(values, target)
    ]
    if missing:
        raise PromiseError(
            f"{stage}: kernels have fewer zeros than were promised", found="; ".join(missing),
            todo="train longer after the last pruning step (prune.pruning_schedule.end_epoch), or prune again after it",
        )  # fmt: skip
    broken = [
        f"{layer.name}/{name}: {why}"
        for layer, name, values in kernels.named(model)
        if layer.name in (patterns or {})
        and name in support.prunable(layer)
        and (why := masks.broken(values, labelled((patterns or {})[layer.name]), aims[layer.name]))
    ]
    if broken:
        raise PromiseError(
            f"{stage}: zeros do not stand in the pattern that was promised", found="; ".join(broken),
            todo="train longer after the last pruning step (prune.pruning_schedule.end_epoch)",
        )  # fmt: skip
