"""Layers with kernels: they read some channels, and make others."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.compress.channel_ids import Axes, ChannelIds
from pipeline.compress.channel_rules.call import (
    Call,
    Layout,
    Sizes,
    channel,
    even,
    keep_others,
    keep_unless_elementwise,
    placed,
    with_bias,
)


def convolution(call: Call, ids: ChannelIds) -> Layout:
    """Conv1D, Conv2D, Conv3D; of a grouped one each group loses as many channels as the others."""
    layer, at = call.layer, channel(call)
    keep_others(call, ids, at)
    places: Axes = (None,) * (len(call.x) - 1)
    given, groups = call.x[at], layer.groups
    width = call.shapes[0][at] or 0
    if groups > 1 and groups == width:  # a depthwise convolution by another name
        if given is None:
            given = ids.new(width)
            ids.keep([given], f"{call.name} gives each channel of its input, which stays, filters of its own")
        out = np.repeat(given, layer.filters // groups)
        weights = [(layer.kernel, (*places, None, out))]
        sizes: Sizes = {("filters",): out, ("groups",): given}
    else:
        out = even(ids.new(layer.filters), groups, ids)
        inside = given if given is None or groups == 1 else even(given, groups, ids)[: width // groups]
        weights = [(layer.kernel, (*places, inside, out))]
        sizes = {("filters",): out}
    keep_unless_elementwise(call, ids, out)
    return Layout((placed(call, at, out),), with_bias(layer, weights, out), sizes)


def transposed(call: Call, ids: ChannelIds) -> Layout:
    """Conv1DTranspose and so on, whose kernels have what they make before what they read."""
    layer, at = call.layer, channel(call)
    keep_others(call, ids, at)
    out = ids.new(layer.filters)
    keep_unless_elementwise(call, ids, out)
    kernel = (layer.kernel, (*(None,) * (len(call.x) - 1), out, call.x[at]))
    return Layout((placed(call, at, out),), with_bias(layer, [kernel], out), {("filters",): out})


def depthwise(call: Call, ids: ChannelIds) -> Layout:
    """DepthwiseConv1D, DepthwiseConv2D: what they make of a channel goes with it."""
    layer, at = call.layer, channel(call)
    keep_others(call, ids, at)
    given = call.x[at]
    if given is None:
        given = ids.new(call.shapes[0][at] or 0)
        ids.keep([given], f"{call.name} gives each channel of its input, which stays, filters of its own")
    out = np.repeat(given, layer.depth_multiplier)
    keep_unless_elementwise(call, ids, out)
    kernel = (layer.depthwise_kernel, (*(None,) * (len(call.x) - 1), given, None))
    return Layout((placed(call, at, out),), with_bias(layer, [kernel], out))


def separable(call: Call, ids: ChannelIds) -> Layout:
    """SeparableConv1D, SeparableConv2D: a depthwise and a 1x1 convolution."""
    layer, at = call.layer, channel(call)
    keep_others(call, ids, at)
    places: Axes = (None,) * (len(call.x) - 1)
    given, out = call.x[at], ids.new(layer.filters)
    keep_unless_elementwise(call, ids, out)
    between = None if given is None else np.repeat(given, layer.depth_multiplier)
    weights: list[tuple[Any, Axes]] = [
        (layer.depthwise_kernel, (*places, given, None)),
        (layer.pointwise_kernel, (*places, between, out)),
    ]
    return Layout((placed(call, at, out),), with_bias(layer, weights, out), {("filters",): out})


def dense(call: Call, ids: ChannelIds) -> Layout:
    """Dense, over the last axis."""
    layer = call.layer
    out = ids.new(layer.units)
    keep_unless_elementwise(call, ids, out)
    kernel = (layer.kernel, (call.x[-1], out))
    weights = with_bias(layer, [kernel], out)
    # channels may also be among the places that the kernel is laid on
    return Layout(((*call.x[:-1], out),), weights, {("units",): out}, [(1, (*call.x, out))])


def embedding(call: Call, ids: ChannelIds) -> Layout:
    """Embedding: a vector for each number."""
    out = ids.new(call.layer.output_dim)
    return Layout(((*call.x, out),), [(call.layer.embeddings, (None, out))], {("output_dim",): out})
