"""The configuration of a Keras 3 model as a tf_keras model; a chain of layers becomes a functional model too."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from pipeline.formats.model_file.keras3 import operations, tables
from pipeline.formats.model_file.keras3.check import is_operation
from pipeline.legacy_keras import load as load_keras

# a layer's calls, each with its outputs
_Nodes = dict[str, list[list[Any]]]


class _NotYetError(Exception):
    """A tensor comes from a call that has not been made yet."""


def model(config: Any) -> Any:
    """Return the tf_keras model of a configuration that `check` found nothing in, with weights of its own.

    Raises:
        Exception: whatever tf_keras says of an option or a shape.
    """
    return _Translator().model(config)


class _Translator:
    """Translates one configuration, and keeps the names of what it makes of operations."""

    def __init__(self) -> None:
        self._keras = load_keras()
        self._given: set[str] = set()

    def model(self, entry: Mapping[str, Any]) -> Any:
        config = entry["config"]
        made = self._chain(config) if entry["class_name"] == "Sequential" else self._graph(config)
        if config.get("trainable") is False:
            made.trainable = False
        return made

    def _chain(self, config: Mapping[str, Any]) -> Any:
        """Return what a Sequential model does, as a functional one."""
        layers = list(config["layers"])
        if layers and layers[0]["class_name"] == "InputLayer":
            first = self._input(layers.pop(0)["config"])
        else:
            shape = config.get("build_input_shape")
            if not shape:
                raise ValueError(f"the model {config['name']} has no input shape: call it once, and save it again")
            first = self._keras.Input(batch_shape=shape, name=f"{config['name']}_input")
        x = first
        for entry in layers:
            x = self._called(entry, self._made(entry), (x,), {})
        return self._keras.Model(first, x, name=config["name"])

    def _graph(self, config: Mapping[str, Any]) -> Any:
        """Return a functional model: its calls are made in the file's order, or as soon as their inputs are there."""
        nodes: _Nodes = {}
        made: dict[str, Any] = {}
        outputs = tables.outputs(config)
        todo: deque[tuple[Mapping[str, Any], int]] = deque()
        for entry in config["layers"]:
            name = entry["name"]
            if entry["class_name"] == "InputLayer":
                nodes[name] = [[self._input(entry["config"])]]
                continue
            nodes[name] = []
            if not is_operation(entry):
                options = {**entry["config"], "name": tables.layer_name(entry, config)}
                made[name] = self._made({**entry, "config": options})
            todo.extend((entry, number) for number in range(len(entry["inbound_nodes"])))
        waiting = 0
        while todo:
            entry, number = todo.popleft()
            called = nodes[entry["name"]]
            try:
                if number != len(called):
                    raise _NotYetError
                call = entry["inbound_nodes"][number]
                args, given = _resolved(call["args"], nodes), _resolved(call["kwargs"], nodes)
            except _NotYetError:
                todo.append((entry, number))
                waiting += 1
                if waiting > len(todo):
                    raise ValueError(f"the inputs of {entry['name']} come from nowhere") from None
                continue
            waiting = 0
            answer = self._called(entry, made.get(entry["name"]), args, given)
            if entry["name"] in outputs and tables.composed(entry):  # an output is called as its last layer
                answer = self._maker(entry["config"]["name"]).layer("Activation", answer, activation="linear")
            called.append(_flat(answer))
        functional = {entry["name"] for entry in config["layers"] if entry["class_name"] in ("Functional", "Model")}
        inputs, outputs = (_ends(config[f"{end}_layers"], nodes, functional) for end in ("input", "output"))
        return self._keras.Model(inputs, outputs, name=config["name"])

    def _input(self, config: Mapping[str, Any]) -> Any:
        shape = config.get("batch_shape") or [None, *config["shape"]]
        return self._keras.Input(batch_shape=shape, dtype=_type(config.get("dtype")), name=config["name"])

    def _called(self, entry: Mapping[str, Any], layer: Any, args: Any, options: Mapping[str, Any]) -> Any:
        """Call a layer, or what stands for an operation; an activation that tf_keras has not follows its layer."""
        given = {name: value for name, value in options.items() if value is not None}
        if entry["class_name"] not in tables.MODELS:
            # what Keras 3 writes there is a default, which gives way to what the whole model is called with
            given.pop("training", None)
        if layer is None:
            return self._operation(entry["class_name"], entry["config"], args, given)
        activation = tables.composed(entry)
        if not activation:
            return layer(*args, **given)
        kind = tables.COMPOSED_ACTIVATIONS[activation]
        answer = args[0] if entry["class_name"] == "Activation" else layer(*args, **given)
        return self._operation(kind, {"name": f"{entry['config']['name']}.{activation}"}, (answer,), {})

    def _operation(self, kind: str, config: Mapping[str, Any], args: Any, options: Mapping[str, Any]) -> Any:
        return operations.OPERATIONS[kind](self._maker(config["name"]), config, *args, **options)

    def _maker(self, name: str) -> operations.Maker:
        import tensorflow as tf

        return operations.Maker(self._keras, tf, name, self._given)

    def _made(self, entry: Mapping[str, Any]) -> Any:
        """Return the layer or model of an entry."""
        return self.model(entry) if entry["class_name"] in tables.MODELS else self._layer(entry)

    def _layer(self, entry: Mapping[str, Any]) -> Any:
        kind = entry["class_name"]
        rule = tables.LAYERS[kind]
        options = {
            rule.renamed.get(option, option): self._value(option, value)
            for option, value in entry["config"].items()
            if option not in rule.only and option not in tables.EVERYWHERE
        }
        return getattr(self._keras.layers, kind)(**options)

    def _value(self, option: str, value: Any) -> Any:
        """Return an option as tf_keras takes it."""
        kind = option.rpartition("_")[2]
        if option == "dtype":
            return _type(value)
        if kind == "activation" and (name := tables.activation_name(value)):
            return "linear" if name in tables.COMPOSED_ACTIVATIONS else tables.SAME_ACTIVATIONS.get(name, name)
        if isinstance(value, list):
            return [self._value("", inner) for inner in value]
        if not isinstance(value, Mapping) or "class_name" not in value:
            return value
        if value["class_name"] in ("__tensor__", "__numpy__"):
            return value["config"]["value"]
        if kind in ("initializer", "regularizer", "constraint"):
            parts = {name: inner for name, inner in value["config"].items() if name not in tables.PARTS_ONLY}
            return {"class_name": value["class_name"], "config": {n: self._value("", one) for n, one in parts.items()}}
        return self._made(value)


def _type(policy: Any) -> Any:
    return policy["config"]["name"] if isinstance(policy, Mapping) else policy


def _resolved(value: Any, nodes: _Nodes) -> Any:
    """Return the arguments of a call, with tensors for what refers to them."""
    if isinstance(value, list):
        return [_resolved(inner, nodes) for inner in value]
    if not isinstance(value, Mapping):
        return value
    config: Any = value.get("config")
    kind = value.get("class_name")
    if kind == "__keras_tensor__":
        return _tensor(config["keras_history"], nodes)
    if kind == "__slice__":
        return slice(config["start"], config["stop"], config["step"])
    if kind == "__ellipsis__":
        return Ellipsis
    if kind in ("__tensor__", "__numpy__"):
        import numpy as np

        return np.array(config["value"], dtype=config["dtype"])
    return {name: _resolved(inner, nodes) for name, inner in value.items()}


def _tensor(history: Any, nodes: _Nodes) -> Any:
    layer, node, tensor = history
    if len(nodes[layer]) <= node:
        raise _NotYetError
    return nodes[layer][node][tensor]


def _ends(value: Any, nodes: _Nodes, functional: set[str]) -> Any:
    """Return the inputs or outputs of a model in the structure that the file has.

    There, and only there, the calls of a functional model inside are counted from 1.
    """
    if isinstance(value, Mapping):
        return {name: _ends(inner, nodes, functional) for name, inner in value.items()}
    if len(value) == 3 and isinstance(value[0], str):
        layer, node, tensor = value
        return _tensor((layer, node - (layer in functional), tensor), nodes)
    return [_ends(inner, nodes, functional) for inner in value]


def _flat(answer: Any) -> list[Any]:
    import tensorflow as tf

    return list(tf.nest.flatten(answer))
