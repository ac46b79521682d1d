"""Which layers become one operator in an int8 file, with one range behind all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.compress import support

_FUNCTIONS = ("relu", "relu6")
# what a batch normalization becomes part of
_SCALED = (
    "Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "Dense",
)  # fmt: skip


def behind(layer: Any) -> list[Any]:
    """Return the layers behind one with a kernel that become part of its operator: batch normalization and ReLU.

    Args:
        layer: of a functional or sequential model.
    """
    found: list[Any] = []
    while len(layer._outbound_nodes) == 1 and support.function(layer) == "linear":
        follower = layer._outbound_nodes[0].layer
        if type(follower).__name__ == "ReLU" or _applies_relu(follower):
            return [*found, follower]
        if type(follower).__name__ != "BatchNormalization" or type(layer).__name__ not in _SCALED:
            break
        found.append(follower)
        layer = follower
    return found


def with_operators(model: Any, out: Mapping[str, str]) -> dict[str, str]:
    """Return what is left out of a model, name -> why, with the layers that have to stay float for it.

    They are one operator with one of these, or take several inputs of which one comes from these and has no range.

    Args:
        model: functional; its layers are in the order in which they compute.
    """
    found = {name: reason for name, reason in out.items() if name in {layer.name for layer in model.layers}}
    for layer in model.layers:
        before = _before(layer)
        float_before = [one.name for one in before if one.name in found and not _has_range(one, found)]
        if len(before) > 1 and float_before:
            found.setdefault(layer.name, f"it takes what {float_before[0]} gives, which is left out")
        if layer.name in found:
            for follower in behind(layer):
                found.setdefault(follower.name, f"it is one operator with {layer.name}, which is left out")
    return found


def _before(layer: Any) -> list[Any]:
    found = [node.inbound_layers for node in layer._inbound_nodes]
    return [one for some in found for one in (some if isinstance(some, list) else [some])]


def _has_range(layer: Any, found: Mapping[str, str]) -> bool:
    """Return whether what a float layer gives is rounded: where a layer with this one input is int8."""
    followers = [node.layer for node in layer._outbound_nodes]
    return any(len(_before(one)) == 1 and one.name not in found for one in followers)


def _applies_relu(layer: Any) -> bool:
    return type(layer).__name__ == "Activation" and support.function(layer) in _FUNCTIONS
