"""Layers with a weight for each channel: what they give has the channels that they read."""

from __future__ import annotations

from pipeline.compress.channel_ids import ChannelIds
from pipeline.compress.channel_rules.call import Call, Layout, even


def normalization(call: Call, ids: ChannelIds) -> Layout:
    """A scale and an offset for each position of some axes; statistics over channels are then over those that stay."""
    layer = call.layer
    listed = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    places = [axis - 1 if axis > 0 else len(call.x) + axis for axis in listed]
    axes = tuple(call.x[place] for place in places)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    found = [getattr(layer, name, None) for name in names]
    weights = [(weight, axes) for weight in found if weight is not None]
    if any(len(weight.shape) != len(axes) for weight, _ in weights):
        ids.keep(call.x, f"{call.name} has weights for several axes in one")
        return Layout((tuple(None for _ in call.x),))
    return Layout((call.x,), weights)


def group_normalization(call: Call, ids: ChannelIds) -> Layout:
    """GroupNormalization: each group loses as many channels as the others."""
    found = normalization(call, ids)
    layer = call.layer
    at = layer.axis - 1 if layer.axis > 0 else len(call.x) + layer.axis
    channels = call.x[at]
    if channels is not None:
        if layer.groups == len(channels):
            found.sizes[("groups",)] = channels
        else:
            even(channels, layer.groups, ids)
    return found


def prelu(call: Call, ids: ChannelIds) -> Layout:
    """PReLU: a slope for each position of the axes that it does not share."""
    del ids
    shape = call.layer.alpha.shape
    axes = tuple(axis if size != 1 else None for axis, size in zip(call.x, shape, strict=True))
    return Layout((call.x,), [(call.layer.alpha, axes)])
