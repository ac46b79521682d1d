"""A functional model is copied call by call, with other layers in the place of some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.legacy_keras import load as load_keras


@dataclass(frozen=True)
class Call:
    """A layer of the model and what it is called with in the copy.

    Attributes:
        layer: of the model that is copied.
        args: symbolic tensors of the copy, or lists of them, and constants.
        options: by name.
        free: returns a name of its own for a new layer, given the one that is wanted.
    """

    layer: Any
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    free: Callable[[str], str]


Replace = Callable[[Call], Any]


def rewrite(model: Any, replace: Replace, origins: dict[str, str]) -> Any:
    """Return a copy of a model, weights included.

    Args:
        model: functional or sequential; it is left as it is.
        replace: returns the symbolic tensor that takes the place of what a layer gives, from new layers that have
            their weights; None: the layer is copied as it is.
        origins: name of each new layer -> name of the one that it comes from; it is added to, and looked into where
            that one is new itself.
    """
    import tensorflow as tf

    keras = load_keras()
    copies = _Copies(model)
    uses = model._tensor_usage_count
    tensors = {}
    for end in model.inputs:
        tensors[str(id(end))] = [copies.of(end._keras_history.layer).output] * uses[str(id(end))]
    inputs = [tensors[str(id(end))][0] for end in model.inputs]
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            args, options = node.map_arguments(tensors)
            found = replace(Call(node.layer, args, options, _named(copies, node.layer.name, origins)))
            if found is None:
                found = copies.of(node.layer)(*args, **options)
            for name, tensor in zip(node.flat_output_ids, tf.nest.flatten(found), strict=True):
                tensors[name] = [tensor] * uses[name]
    outputs = [tensors[str(id(end))].pop() for end in model.outputs]
    ends = zip((model._nested_inputs, model._nested_outputs), (inputs, outputs), strict=True)
    copy = keras.Model(*(tf.nest.pack_sequence_as(kind, flat) for kind, flat in ends), name=model.name)
    copies.set_weights()
    return copy


def _named(copies: _Copies, origin: str, origins: dict[str, str]) -> Callable[[str], str]:
    def free(name: str) -> str:
        found = copies.free(name)
        origins[found] = origins.get(origin, origin)
        return found

    return free


@dataclass
class _Copies:
    model: Any
    made: dict[int, tuple[Any, Any]] = field(default_factory=dict)  # id of a layer -> it, and its copy
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.taken |= {layer.name for layer in self.model.layers}

    def of(self, layer: Any) -> Any:
        if id(layer) not in self.made:
            keras = load_keras()
            # a model inside the model has no name for its layers in its own config
            copy = (
                keras.models.clone_model(layer)
                if isinstance(layer, keras.Model)
                else type(layer).from_config(layer.get_config())
            )
            self.made[id(layer)] = layer, copy
        return self.made[id(layer)][1]

    def free(self, name: str) -> str:
        numbered, number = name, 0
        while numbered in self.taken:
            number += 1
            numbered = f"{name}_{number}"
        self.taken.add(numbered)
        return numbered

    def set_weights(self) -> None:
        for layer, copy in self.made.values():
            copy.set_weights(layer.get_weights())
