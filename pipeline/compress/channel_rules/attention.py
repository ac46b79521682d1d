"""Attention: whole heads are channels, and so is the width of what it reads and gives."""

from __future__ import annotations

from typing import Any

from pipeline.compress.channel_ids import Axes, Axis, ChannelIds, Ids
from pipeline.compress.channel_rules.call import Call, Layout, Sizes, stop


def attention(call: Call, ids: ChannelIds) -> Layout:
    """MultiHeadAttention loses whole heads (Michel, Levy and Neubig, 2019), and channels of what it reads and gives."""
    layer = call.layer
    given = dict(zip(("query", "value", "key", "attention_mask"), call.arguments, strict=False)) | dict(call.options)
    query, value = call.axes_of(given["query"]), call.axes_of(given["value"])
    key = value if given.get("key") is None else call.axes_of(given["key"])
    ranks = {len(query), len(value), len(key), *(len(shape) for shape in call.output_shapes)}
    if ranks != {2} or len(call.output_shapes) > 1:
        return stop(call, ids, "attention over several axes, or its scores, are not followed")
    for name, other in given.items():
        if name not in ("query", "value", "key") and hasattr(other, "_keras_history"):
            ids.keep(call.axes_of(other), f"{call.name} takes them for a mask")
    ids.keep([query[0], value[0], key[0]], f"{call.name} takes them for places, not for channels")
    heads, out = ids.new(layer._num_heads), ids.new(int(call.output_shapes[0][-1] or 0))
    weights: list[tuple[Any, Axes]] = []
    for read, axes in ((layer._query_dense, query), (layer._key_dense, key), (layer._value_dense, value)):
        weights.append((read.kernel, (axes[-1], heads, None)))
        weights += [(read.bias, (heads, None))] if layer._use_bias else []
    weights.append((layer._output_dense.kernel, (heads, None, out)))
    weights += [(layer._output_dense.bias, (out,))] if layer._use_bias else []
    sizes: Sizes = {("num_heads",): heads, ("output_shape",): (out,)}
    for name, axes, shape in (
        ("query_shape", query, layer._query_shape), ("value_shape", value, layer._value_shape),
        ("key_shape", key, layer._key_shape),
    ):  # fmt: skip
        sizes[(name,)] = (*shape[:-1], axes[-1] if axes[-1] is not None else shape[-1])
    return Layout(((query[0], out),), weights, sizes, _attended(layer, query[-1], key[-1], value[-1], heads, out))


def _attended(layer: Any, query: Axis, key: Axis, value: Axis, heads: Ids, out: Ids) -> list[tuple[int, Axes]]:
    """Return the products of attention: four projections, queries by keys, and shares by values."""
    (_, asked, *_), (_, keys, *_) = layer._query_shape, layer._key_shape
    inner, given = int(layer._key_dim), int(layer._value_dim)

    def projection(places: int | None, axis: Axis, read: Any) -> tuple[int, Axes]:
        size = read.kernel.shape[-1] * (read.kernel.shape[0] if axis is None else 1)
        return (places or 0) * int(size), (axis, heads)

    return [
        projection(asked, query, layer._query_dense), projection(keys, key, layer._key_dense),
        projection(keys, value, layer._value_dense), ((asked or 0) * given, (heads, out)),
        ((asked or 0) * (keys or 0) * (inner + given), (heads,)),
    ]  # fmt: skip
