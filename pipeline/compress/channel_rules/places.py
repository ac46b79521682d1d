"""Layers without weights that move, add or take away places, and leave channels what they are."""

from __future__ import annotations

import numpy as np

from pipeline.compress.channel_ids import Axes, Axis, ChannelIds, joined
from pipeline.compress.channel_rules.call import Call, Layout, Sizes, channel, keep_others, placed, stop


def spatial(call: Call, ids: ChannelIds) -> Layout:
    """Places become fewer, more or other; channels stay what they are."""
    at = channel(call)
    keep_others(call, ids, at)
    return Layout((placed(call, at, call.x[at]),))


def global_pooling(call: Call, ids: ChannelIds) -> Layout:
    """GlobalAveragePooling and GlobalMaxPooling: all places become one."""
    at = channel(call)
    keep_others(call, ids, at)
    return Layout((placed(call, at, call.x[at]) if call.layer.keepdims else (call.x[at],),))


def concatenate(call: Call, ids: ChannelIds) -> Layout:
    """Concatenate: channels one after the other."""
    axis = call.layer.axis
    at = axis - 1 if axis > 0 else len(call.x) + axis
    out: list[Axis] = []
    for place in range(len(call.x)):
        there = [axes[place] for axes in call.inputs]
        if place == at:
            lengths = [shape[place] or 0 for shape in call.shapes]
            out.append(joined(there, lengths, ids, f"{call.name} has them beside others, and what makes them is fixed"))
            continue
        found = there[0]
        for one in there[1:]:
            found = ids.same(found, one, f"{call.name} has them beside others that stay")
        out.append(found)
    return Layout((tuple(out),))


def reshape(call: Call, ids: ChannelIds) -> Layout:
    """Channels stay where each axis of the new shape belongs to them alone or not at all."""
    (shape,), (target,) = call.shapes, call.output_shapes
    places = [place for place, axis in enumerate(call.x) if axis is not None]
    if not places:
        return Layout((tuple(None for _ in target),))
    if len(places) > 1 or None in shape or None in target or getattr(call.layer, "data_format", "") == "channels_first":
        return stop(call, ids, "it mixes them with places in a way that is not followed")
    (at,) = places
    channels = call.x[at]
    assert channels is not None
    known = [size or 0 for size in shape]
    spread = np.broadcast_to(channels.reshape([-1 if place == at else 1 for place in range(len(known))]), known)
    whole = spread.reshape([size or 0 for size in target])
    for place in range(whole.ndim):
        lined = np.moveaxis(whole, place, 0).reshape(whole.shape[place], -1)
        if (lined == lined[:, :1]).all():
            out = lined[:, 0].copy()
            axes = tuple(out if place == other else None for other in range(whole.ndim))
            return Layout((axes,), sizes=_target(call, axes))
    return stop(call, ids, "it spreads them over several axes")


def _target(call: Call, axes: Axes) -> Sizes:
    if type(call.layer).__name__ != "Reshape":
        return {}
    entries = zip(call.layer.target_shape, axes, strict=True)
    return {("target_shape",): tuple(size if size == -1 or axis is None else axis for size, axis in entries)}


def permute(call: Call, ids: ChannelIds) -> Layout:
    """Permute: the axes in another order."""
    del ids
    return Layout((tuple(call.x[place - 1] for place in call.layer.dims),))


def repeat(call: Call, ids: ChannelIds) -> Layout:
    """RepeatVector: one more axis."""
    del ids
    return Layout(((None, *call.x),))
