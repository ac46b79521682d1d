"""What is asserted of a model that lost channels: on the model itself, not on what was planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.compress import channel_graph
from pipeline.compress.channel_graph import ChannelGraph, LayerChannels
from pipeline.compress.widths import amount
from pipeline.data import batches
from pipeline.errors import PromiseError
from pipeline.predictor import rows

if TYPE_CHECKING:
    from pipeline.compress.widths import Allowed
    from pipeline.data import Splits

_TRIED = 64  # samples


def require_amount(what: str, has: Mapping[str, float], *, most: float, unit: str) -> None:
    """Assert that no more is left than may be.

    Args:
        what: the target: macs, parameters, latency.
        has: what the model takes of each.
        most: of the target.
        unit: its name for people.

    Raises:
        PromiseError: more is left.
    """
    if has[what] > most * (1 + 1e-9):
        raise PromiseError(
            f"shrink: more is left of {unit} than may be", expected=f"at most {amount(most)}", found=amount(has[what]),
            todo=f"a lower shrink.{what} takes more out",
        )  # fmt: skip


def require_widths(model: Any, whole: ChannelGraph, chosen: ChannelGraph, allowed: Allowed) -> None:
    """Assert that the layers are as wide as was chosen, and that this is a width that was allowed.

    Args:
        model: followed anew, so that its widths are its own.
        whole: of the model before anything was removed.
        chosen: the same with the channels that were to stay.
        allowed: group -> widths that it may have.

    Raises:
        PromiseError: a layer has other channels or weights, or a group a width that it may not have.
    """
    widths, real = chosen.full, channel_graph.follow(model)
    found, planned = ({layer.name: layer for layer in graph.layers} for graph in (real, chosen))
    expected, others = [], []
    for layer in whole.layers:
        wanted = (layer.outputs.at(widths) if layer.outputs else None, _shapes(planned.get(layer.name)))
        other = found.get(layer.name)
        # what cannot be followed any more in the smaller model still has its weights
        channels = other.outputs.at(real.full) if other and other.outputs else wanted[0]
        if wanted != (channels, _shapes(other)):
            expected.append(f"{layer.name} {wanted[0]} {wanted[1]}")
            others.append(f"{layer.name} {channels} {_shapes(other)}")
    if expected:
        raise PromiseError(
            "shrink: layers of the model have other channels than were chosen", expected="; ".join(expected),
            found="; ".join(others),
        )  # fmt: skip
    wrong = [name for name, some in allowed.items() if widths[name] not in some]
    if wrong or widths.keys() != whole.full.keys():
        raise PromiseError(
            "shrink: groups have widths that shrink.multiple, min_share and layers do not allow",
            expected="; ".join(f"{name} one of {', '.join(map(str, allowed[name]))}" for name in wrong),
            found=", ".join(f"{name} {widths[name]}" for name in wrong),
        )


def require_ends(model: Any, came: Any) -> None:
    """Assert that inputs and outputs are those of the model that came in.

    Raises:
        PromiseError: they are not.
    """
    ends, wanted = _ends(model), _ends(came)
    if ends != wanted:
        raise PromiseError(
            "shrink: the model has other inputs or outputs than the one that came in", expected=wanted, found=ends
        )


def require_numbers(model: Any, splits: Splits) -> None:
    """Assert that answers to samples of the calibration split are finite.

    Raises:
        PromiseError: some are not.
    """
    answers = batches.predict(model, rows(splits.calibration.x, slice(0, _TRIED)), batch_size=_TRIED)
    if not np.isfinite(answers).all():
        raise PromiseError(
            "shrink: the model answers with what is no number", expected="finite numbers",
            found=f"{int((~np.isfinite(answers)).sum())} of {answers.size} are not",
            todo="lower shrink.optimizer.learning_rate, or set shrink.clip",
        )  # fmt: skip


def _shapes(layer: LayerChannels | None) -> tuple[tuple[int, ...], ...]:
    return tuple(weight.shape for weight in layer.weights) if layer else ()


def _ends(model: Any) -> str:
    ends = zip((*model.input_names, *model.output_names), (*model.inputs, *model.outputs), strict=True)
    return ", ".join(f"{name} {tuple(end.shape)} {end.dtype.name}" for name, end in ends)
