"""Models inside a model are written out layer by layer, so that every technique reaches their layers.

A model of the kind [pretrained network, pooling, dense] has the network as one layer: nothing can be pruned, quantized
or removed inside of a layer. What is called once is as good as its layers in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.legacy_keras import load as load_keras

# what belongs to a model and not to what it answers, and would be lost with it
_ITS_OWN = ("AddLoss", "AddMetric")


def flatten(model: Any) -> tuple[Any, dict[str, tuple[str, ...]]]:
    """Return an equal model without the models inside of it that can be written out, weights included.

    These are functional and sequential ones that are called at one place. One that is called at several, that is
    subclassed, or that casts or reshapes what comes to it, stays.

    Args:
        model: functional or sequential; it is left as it is.

    Returns:
        The model, and name of each model that was written out ("outer/inner" inside of another one) -> names of its
        layers now: each has its model's before its own, `inner_layer`, and a number behind it where that is taken.
        Where there is none, or where a weight belongs to several layers, the model that was given, and nothing.
    """
    if not _is_graph(model) or not any(_is_graph(layer) for layer in model.layers):
        return model, {}
    writer = _Writer(model)
    flat = writer.model()
    if not writer.written or len({id(weight) for weight in writer.weights()}) < len(list(writer.weights())):
        return model, {}
    writer.set_weights()
    return flat, {name: tuple(layers) for name, layers in writer.written.items()}


def _is_graph(layer: Any) -> bool:
    """Return whether a layer is a model of Keras' own kinds with a graph of layers."""
    own = type(layer).__module__.startswith("tf_keras.") and type(layer).__name__ in ("Functional", "Sequential")
    return own and bool(getattr(layer, "_is_graph_network", False))


def _nodes(model: Any) -> Iterator[Any]:
    """Yield the calls of a model's layers, each after those that it needs."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from (node for node in model._nodes_by_depth[depth] if not node.is_input)


def _calls(model: Any) -> Counter[int]:
    """Return how often each model inside is called, by its id, at any depth."""
    found: Counter[int] = Counter()
    todo = [model]
    while todo:
        inside = [node.layer for node in _nodes(todo.pop()) if _is_graph(node.layer)]
        todo += [layer for layer in {id(layer): layer for layer in inside}.values() if id(layer) not in found]
        found.update(map(id, inside))
    return found


class _Writer:
    """Calls copies of a model's layers as it calls its own, and those inside of its models in their place.

    Attributes:
        written: path of a model that was written out -> names of its layers now.
    """

    def __init__(self, model: Any) -> None:
        self.written: dict[str, list[str]] = {}
        self._model = model
        self._calls = _calls(model)
        self._copies: dict[int, tuple[Any, Any]] = {}  # id of a layer -> it, and its copy
        self._names = {id(layer): layer.name for layer in model.layers}
        self._taken = set(self._names.values())

    def model(self) -> Any:
        import tensorflow as tf

        keras, model = load_keras(), self._model
        inputs = [self._copy(end._keras_history.layer, ()).output for end in model.inputs]
        outputs = self._graph(model, inputs, (), None)
        ends = zip((model._nested_inputs, model._nested_outputs), (inputs, outputs), strict=True)
        return keras.Model(*(tf.nest.pack_sequence_as(kind, flat) for kind, flat in ends), name=model.name)

    def weights(self) -> Iterator[Any]:
        """Yield the weights of the layers that were copied."""
        for layer, _ in self._copies.values():
            yield from layer.weights

    def set_weights(self) -> None:
        for layer, copy in self._copies.values():
            copy.set_weights(layer.get_weights())

    def _graph(self, model: Any, given: list[Any], path: tuple[str, ...], training: bool | None) -> list[Any]:
        """Return what a model's layers make of tensors; `training` is what the model itself was called with."""
        import tensorflow as tf

        uses = model._tensor_usage_count
        tensors = {str(id(end)): [one] * uses[str(id(end))] for end, one in zip(model.inputs, given, strict=True)}
        for node in _nodes(model):
            args, options = node.map_arguments(tensors)
            found = self._called(node.layer, args, options, path, training)
            for name, tensor in zip(node.flat_output_ids, tf.nest.flatten(found), strict=True):
                tensors[name] = [tensor] * uses[name]
        return [tensors[str(id(end))].pop() for end in model.outputs]

    def _called(
        self, layer: Any, args: Any, options: Mapping[str, Any], path: tuple[str, ...], training: bool | None
    ) -> Any:
        told = training if options.get("training") is None else options["training"]
        if self._can_be_written(layer, args, options):
            inner = (*path, layer.name)
            self.written["/".join(inner)] = []
            return self._graph(layer, layer._flatten_to_reference_inputs(args[0]), inner, told)
        more = {"training": told} if told is not None and layer._expects_training_arg else {}
        return self._copy(layer, path)(*args, **{**options, **more})

    def _can_be_written(self, layer: Any, args: Any, options: Mapping[str, Any]) -> bool:
        if not _is_graph(layer) or self._calls[id(layer)] > 1 or len(args) != 1 or set(options) - {"training"}:
            return False
        if options.get("training") not in (None, False, True):
            return False
        given = layer._flatten_to_reference_inputs(args[0])
        same = len(given) == len(layer.inputs) and all(
            (type(one), one.dtype, one.shape.rank) == (type(end), end.dtype, end.shape.rank)
            for one, end in zip(given, layer.inputs, strict=True)
        )
        return same and not any(type(one).__name__ in _ITS_OWN for one in layer.layers)

    def _copy(self, layer: Any, path: tuple[str, ...]) -> Any:
        if id(layer) not in self._copies:
            name = self._names.get(id(layer)) or self._free("_".join((*path, layer.name)))
            self._copies[id(layer)] = layer, type(layer).from_config({**layer.get_config(), "name": name})
        _, copy = self._copies[id(layer)]
        for length in range(1, len(path) + 1):
            names = self.written["/".join(path[:length])]
            names += [copy.name] if copy.name not in names else []
        return copy

    def _free(self, name: str) -> str:
        numbered, number = name, 0
        while numbered in self._taken:
            number += 1
            numbered = f"{name}_{number}"
        self._taken.add(numbered)
        return numbered
