"""One order and one set of names for an ONNX graph, so that equal models are equal bytes.

tf2onnx walks sets of strings and counts its helper nodes over the whole process: the order of nodes and initializers
and the numbers in names differ from one process to the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


def canonicalize(graph: Any, ends: Mapping[str, str]) -> None:
    """Sort and rename a graph (onnx.GraphProto) in place; what it computes stays the same.

    Nodes come in the order in which the outputs need them, depth first; what no output needs goes away.

    Args:
        graph: the main graph.
        ends: new names of inputs and outputs, by old name; the others keep theirs.
    """
    graph.name = "model"
    graph.doc_string = ""
    names = {end.name: ends.get(end.name, end.name) for end in (*graph.input, *graph.output)}
    graph.input.sort(key=lambda end: names[end.name])
    graph.output.sort(key=lambda end: names[end.name])
    _canonicalize(graph, names, set(names.values()))


def _canonicalize(graph: Any, names: dict[str, str], taken: set[str]) -> None:
    """Sort and rename one graph; `names` holds the new names of what is visible in it, `taken` all new names so far."""
    producers = {output: node for node in graph.node for output in node.output if output}
    constants = {item.name: item for item in graph.initializer}
    nodes: list[Any] = []
    initializers: list[Any] = []
    done: set[str] = set()

    # A stack instead of recursion: a deep network has more nodes in a row than Python has frames.
    stack = [(end.name, False) for end in reversed(graph.output)]
    while stack:
        name, ready = stack.pop()
        if name in done and not ready:
            continue
        done.add(name)
        if name in constants:
            initializers.append(constants[name])
        elif ready:
            node = producers[name]
            nodes.append(node)
            done.update(node.output)
        elif name in producers:
            stack.append((name, True))
            stack.extend((needed, False) for needed in reversed(list(_needs(producers[name]))) if needed)

    # Which of several equal nodes or small constants survived in tf2onnx is chance, and so is its name: what a node
    # does names it. Weights keep the layer's name.
    for item in initializers:
        if len(item.dims) >= 2:
            names[item.name] = _fresh(re.sub(r"__\d+", "", item.name), taken)
    for node in nodes:
        node.name = _fresh(node.op_type, taken)
        node.doc_string = ""
        if not node.domain:
            node.ClearField("domain")  # set to nothing, it would still take bytes
        node.attribute.sort(key=lambda attribute: str(attribute.name))
        for slot, name in enumerate(node.input):
            if name in constants and name not in names:
                names[name] = _fresh(f"{node.name}.{slot}", taken)
        for name in node.output:
            if name and name not in names:
                names[name] = _fresh(f"{node.name}.output", taken)
    for item in initializers:  # read by a body only, or an output by itself
        if item.name not in names:
            names[item.name] = _fresh("constant", taken)
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                inner = {**names, **{end.name: _fresh("item", taken) for end in attribute.g.input}}
                _canonicalize(attribute.g, inner, taken)
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for item in initializers:
        item.name = names[item.name]
    for end in (*graph.input, *graph.output):
        end.name = names[end.name]
    _replace(graph.node, nodes)
    _replace(graph.initializer, initializers)
    del graph.value_info[:]


def _needs(node: Any) -> Iterator[str]:
    """Yield the tensors a node reads, those that only the bodies of its loops and branches read included."""
    yield from node.input
    for attribute in node.attribute:
        if attribute.HasField("g"):
            body = attribute.g
            made = {output for inner in body.node for output in inner.output}
            made |= {end.name for end in body.input} | {item.name for item in body.initializer}
            wanted = [name for inner in body.node for name in _needs(inner)] + [end.name for end in body.output]
            yield from (name for name in wanted if name not in made)


def _fresh(base: str, taken: set[str]) -> str:
    """Return the name, or the name with the first number that makes it new."""
    candidate, number = base, 1
    while candidate in taken:
        candidate, number = f"{base}_{number}", number + 1
    taken.add(candidate)
    return candidate


def _replace(target: Any, items: list[Any]) -> None:
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del target[:]
    target.extend(copies)
