"""Recurrent layers: a channel is a unit, with its gates and its states."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.compress import support
from pipeline.compress.channel_ids import Axes, Axis, ChannelIds, Ids
from pipeline.compress.channel_rules.call import ELEMENTWISE, Call, Layout, stop

RECURRENT = ("LSTM", "GRU", "SimpleRNN")


def recurrent(call: Call, ids: ChannelIds) -> Layout:
    """LSTM, GRU and SimpleRNN."""
    return _layer(call, ids, call.layer, "units")


def _layer(call: Call, ids: ChannelIds, layer: Any, *path: str) -> Layout:
    """LSTM, GRU and SimpleRNN: a unit has a column for each gate, a row of what it remembers, and its states."""
    ids.keep(call.x[:-1], f"{call.name} takes them for steps, not for channels")
    cell = layer.cell
    if not type(cell).__module__.startswith(("tf_keras.", "keras.")):
        return stop(call, ids, "its cell's code is not Keras'")
    units = ids.new(layer.units)
    for name in ("activation", "recurrent_activation"):
        function = support.named(getattr(cell, name, None))
        if function not in ELEMENTWISE:
            ids.keep([units], f"the function {function} of {call.name} looks at all units at once")
    gates = np.tile(units, cell.kernel.shape[-1] // layer.units)
    weights: list[tuple[Any, Axes]] = [(cell.kernel, (call.x[-1], gates)), (cell.recurrent_kernel, (units, gates))]
    if layer.use_bias:
        weights.append((cell.bias, (*(None,) * (len(cell.bias.shape) - 1), gates)))
    mask = call.options.get("mask")
    if mask is not None:
        ids.keep(call.axes_of(mask), f"{call.name} takes them for a mask")
    for state in call.inputs[1 : len(call.inputs) - (mask is not None)]:
        ids.same(units, state[-1], f"{call.name} begins with a state that stays")
    sequence: Axes = (None, units) if layer.return_sequences else (units,)
    states = ((units,),) * (len(call.output_shapes) - 1)
    return Layout((sequence, *states), weights, {path: units})


def bidirectional(call: Call, ids: ChannelIds) -> Layout:
    """Bidirectional around one of them: both directions lose the same units."""
    layer = call.layer
    sides = (layer.forward_layer, layer.backward_layer)
    if len(call.inputs) > 1 or layer.return_state or any(type(one).__name__ not in RECURRENT for one in sides):
        return stop(call, ids, "states of its own, or layers of other kinds, are not followed through it")
    ahead, back = (
        _layer(call, ids, one, key, "config", "units")
        for one, key in zip(sides, ("layer", "backward_layer"), strict=True)
    )
    forth, backwards = ahead.outputs[0], back.outputs[0]
    if sides[0].units == sides[1].units:  # one number in the config, unless the directions are unlike
        ids.unite(_ids(forth[-1]), _ids(backwards[-1]))
    weights, sizes = ahead.weights + back.weights, ahead.sizes | back.sizes
    if layer.merge_mode is None:
        return Layout((forth, backwards), weights, sizes)
    if layer.merge_mode == "concat":
        forth = (*forth[:-1], np.concatenate([_ids(forth[-1]), _ids(backwards[-1])]))
    return Layout((forth,), weights, sizes)


def _ids(axis: Axis) -> Ids:
    assert axis is not None
    return axis
