"""What XNNPACK needs to compute 1x1 convolutions with zeros by its sparse kernels (Elsen et al., 2020).

The kernels work channel by channel (NCHW) between a first convolution that turns pixels into channels and a global
average, and every layer in between has to work that way. The rules are those of TF-MOT's PruneForLatencyOnXNNPack, but
for keepdims of the average, which XNNPACK does not need; that one names a class where they are broken, here each layer
is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# XNNPACK takes its sparse kernels where more than this share of the weights of all 1x1 convolutions is zero
LEAST = 2 / 3
# with what XNNPACK begins to compute channel by channel
BEGINNING = (
    "sparse kernels begin behind a convolution of 3 x 3, with stride 2, of 3 channels, padding valid, right behind a "
    "ZeroPadding2D of 1"
)
_ACTIVATIONS = ("relu", "relu6", "leaky_relu", "elu", "sigmoid", "linear")
_ANY = ("Add", "Multiply", "ReLU", "LeakyReLU", "ELU", "Dropout", "ZeroPadding2D")


def misfits(model: Any) -> list[str]:
    """Return why XNNPACK would compute a functional model densely; empty where it fits."""
    return list(_Chain(model).misfits())


def left(model: Any) -> dict[str, str]:
    """Return layer name -> why pruning it would not make it faster there, for all but the 1x1 convolutions."""
    inside = _Chain(model).inside
    reason = "XNNPACK has sparse kernels for 1x1 convolutions before the global average alone (prune.policy)"
    return {layer.name: reason for layer in model.layers if layer not in inside or not _pointwise(layer)}


class _Chain:
    """A model's layers between the first convolutions and the global averages."""

    def __init__(self, model: Any) -> None:
        self._layers: dict[str, Any] = {layer.name: layer for layer in model.layers}
        # a sequential model does not count what it begins with among its layers
        self._before: dict[str, list[Any]] = {
            layer.name: [one for one in _producers(layer) if one.name in self._layers] for layer in model.layers
        }
        after: dict[str, list[Any]] = {layer.name: [] for layer in model.layers}
        for layer in model.layers:
            for producer in self._before[layer.name]:
                after[producer.name].append(layer)
        self._begins = [layer for layer in model.layers if _begins(layer, self._before[layer.name])]
        self.inside: list[Any] = []
        self._open: list[Any] = []  # from where an output is reached without an average
        seen = {layer.name for layer in self._begins}
        coming = list(self._begins)
        while coming:
            layer = coming.pop(0)
            if layer not in self._begins:
                self.inside.append(layer)
            if type(layer).__name__ == "GlobalAveragePooling2D":
                continue
            if not after[layer.name]:
                self._open.append(layer)
            new = [one for one in after[layer.name] if one.name not in seen]
            seen |= {one.name for one in new}
            coming += new

    def misfits(self) -> Iterator[str]:
        if not self._begins:
            first = next((name for name in self._before if type(self._layers[name]).__name__ == "Conv2D"), None)
            lacks = _no_beginning(self._layers[first], self._before[first]) if first else ["the model has no Conv2D"]
            yield f"{BEGINNING}, but {first + ' ' if first else ''}{', '.join(lacks)}"
            return
        if not any(map(_pointwise, self.inside)):
            yield "no 1x1 convolution behind the first one"
        for layer in self._open:
            yield f"{layer.name}: it is reached without a GlobalAveragePooling2D, where sparse kernels end"
        known = {layer.name for layer in (*self._begins, *self.inside)}
        for layer in self.inside:
            if why := _unfit(layer, self._before[layer.name]):
                yield f"{layer.name}: {why}"
            for outside in (one for one in self._before[layer.name] if one.name not in known):
                yield f"{layer.name}: it reads {outside.name}, which is not behind the first convolution"


def _producers(layer: Any) -> list[Any]:
    found = []
    for node in layer._inbound_nodes:
        found += node.inbound_layers if isinstance(node.inbound_layers, list) else [node.inbound_layers]
    return found


def _pads(producers: list[Any], by: int) -> bool:
    if len(producers) != 1 or type(producers[0]).__name__ != "ZeroPadding2D":
        return False
    return bool(producers[0].padding == ((by, by), (by, by)))


def _begins(layer: Any, before: list[Any]) -> bool:
    return type(layer).__name__ == "Conv2D" and not _no_beginning(layer, before)


def _no_beginning(layer: Any, before: list[Any]) -> list[str]:
    """Return what a Conv2D lacks for sparse kernels to begin behind it; empty where they can."""
    *sides, channels, _ = layer.kernel.shape
    found = {
        "is of {} x {}".format(*sides): tuple(sides) == (3, 3),
        f"reads {channels} channel{'s' * (channels > 1)}": channels == 3,
        "has stride {} x {}".format(*layer.strides): layer.strides == (2, 2),
        f"has padding {layer.padding}": layer.padding == "valid",
        "is not right behind a ZeroPadding2D of 1": _pads(before, 1),
    }
    return [text for text, fits in found.items() if not fits]


def _pointwise(layer: Any) -> bool:
    return type(layer).__name__ == "Conv2D" and layer.kernel_size == (1, 1)


def _unfit(layer: Any, before: list[Any]) -> str:
    """Return why a layer cannot work channel by channel; empty where it can."""
    kind = type(layer).__name__
    if kind in (*_ANY, "GlobalAveragePooling2D"):
        return ""
    if kind == "Activation":
        from pipeline.compress import support

        name = support.function(layer)
        return "" if name in _ACTIVATIONS else f"its function {name} is none of {', '.join(_ACTIVATIONS)}"
    if kind == "BatchNormalization":
        return "" if list(layer.axis) == [3] else "it does not normalize channels"
    if kind == "UpSampling2D":
        return "" if layer.interpolation == "bilinear" else "it is not bilinear"
    if kind == "DepthwiseConv2D":
        return _unfit_depthwise(layer, before)
    if kind == "Conv2D":
        plain = layer.kernel_size == (1, 1) and layer.strides == (1, 1) and layer.groups == 1
        return "" if plain else "a convolution in between has to be 1 x 1 with stride 1 and no groups"
    return f"{kind} is no kind of layer that works channel by channel there"


def _unfit_depthwise(layer: Any, before: list[Any]) -> str:
    side = layer.kernel_size[0]
    if layer.kernel_size not in ((3, 3), (5, 5)) or layer.depth_multiplier != 1 or layer.dilation_rate != (1, 1):
        return "a depthwise convolution has to be 3 x 3 or 5 x 5, with one output a channel and no dilation"
    padded = layer.padding == "valid" and _pads(before, side // 2)
    if padded and layer.strides in ((1, 1), (2, 2)):
        return ""
    if layer.padding == "same" and layer.strides == (1, 1):
        return ""
    return f"with stride 2 it needs padding valid, right behind a ZeroPadding2D of {side // 2}"
