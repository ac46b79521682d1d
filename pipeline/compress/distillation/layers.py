"""Which layers of a student are compared with which of its teacher: by name, or the last ones of each resolution."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.fit.teach import Attention, Fitnet, Relations

# TF-MOT's, around a layer that the recipe knows by its own name
_WRAPPERS = ("PruneLowMagnitude", "QuantizeWrapper", "QuantizeWrapperV2")


@dataclass(frozen=True)
class Pair:
    """Two layers that are compared.

    Attributes:
        student, teacher: their names.
        seen, shown: what they answer, as symbolic tensors [None, *positions, channels] of their models.
    """

    student: str
    teacher: str
    seen: Any
    shown: Any


def features(student: Any, teacher: Any, chosen: Fitnet | Attention, key: str) -> list[Pair]:
    """Return the layers whose features are compared.

    Args:
        student: also with layers inside TF-MOT's wrappers, which are known by their plain names.
        key: what messages call the choice: "distill.teach.features".

    Raises:
        InputError: a name is no layer, two layers have different positions, attention has one position or none, or no
            layers match by themselves.
    """
    looks = chosen.method == "attention"
    own, theirs = outputs(student, f"{key}: the student"), outputs(teacher, f"{key}: the teacher")
    matching = _matching(own, theirs, looks=looks)
    if chosen.layers == "auto" and not matching and not looks:
        return [_embeddings(student, teacher, key)]
    if chosen.layers == "auto":
        if not matching:
            raise InputError(
                f"{key}: no layers of student and teacher match by themselves",
                expected="a resolution that both networks have",
                found=f"{_resolutions(own)} in the student, {_resolutions(theirs)} in the teacher",
                todo="a student that keeps a resolution of its teacher's, or relations in place of features: they are "
                "compared whatever the resolution is",
            )  # fmt: skip
        chosen_layers: Mapping[str, str] = matching
    else:
        chosen_layers = chosen.layers
    possible = ", ".join(f"{name}: {other}" for name, other in matching.items())
    pairs = _named(own, theirs, chosen_layers, key, possible)
    wrong = [pair for pair in pairs if _positions(pair.seen) != _positions(pair.shown)]
    if wrong:
        raise InputError(
            f"{key}.layers compares layers of different resolutions", expected="the same positions in both",
            found="; ".join(
                f"{pair.student} has {_said(pair.seen)}, {pair.teacher} has {_said(pair.shown)}" for pair in wrong
            ),
            todo=_try(key, possible),
        )  # fmt: skip
    nowhere = [pair.student for pair in pairs if looks and _count(pair.seen) == 1]
    if nowhere:
        raise InputError(
            f"{key}.layers: attention is where a layer looks, and these have one position",
            expected="layers with positions: [n, height, width, channels] or [n, time, channels]",
            found=", ".join(nowhere), todo=f"{_try(key, possible)}; or method: fitnet",
        )  # fmt: skip
    return pairs


def relations(student: Any, teacher: Any, chosen: Relations, key: str) -> list[Pair]:
    """Return the layers whose answers are the samples' embeddings; see `features`.

    Raises:
        InputError: a name is no layer; or none is chosen, and a network does not end in a dense layer.
    """
    if chosen.layers is None:
        return [_embeddings(student, teacher, key)]
    own, theirs = outputs(student, f"{key}: the student"), outputs(teacher, f"{key}: the teacher")
    return _named(own, theirs, chosen.layers, key, "")


def outputs(model: Any, who: str) -> dict[str, Any]:
    """Return plain layer name -> its symbolic output, in the order of the calls, of layers inside.

    Inside is after the first kernel and before the model's own output; of a layer that is called twice, the last.

    Raises:
        InputError: the model is no graph of layers.
    """
    ends = {str(id(end)) for end in model.outputs} if getattr(model, "_is_graph_network", False) else set()
    return {
        plain(node.layer): node.outputs
        for node, learned in _calls(model, who)
        if learned and len(node.flat_output_ids) == 1 and not ends & set(node.flat_output_ids)
        and len(node.outputs.shape) >= 2 and None not in node.outputs.shape[1:]
    }  # fmt: skip


def plain(layer: Any) -> str:
    """Return a layer's name without TF-MOT's wrapper around it."""
    return str(_unwrapped(layer).name)


def _unwrapped(layer: Any) -> Any:
    return layer.layer if type(layer).__name__ in _WRAPPERS else layer


def _calls(model: Any, who: str) -> Iterator[tuple[Any, bool]]:
    """Yield the calls of a model's layers in their order, and whether a kernel is in what each answers."""
    if not getattr(model, "_is_graph_network", False):
        raise InputError(
            f"{who} has no layers that could be looked into", expected="a functional or sequential Keras model",
            found=type(model).__name__, todo="leave out features and relations: logits can be learned of any model",
        )  # fmt: skip
    learned: set[str] = set()
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            if _has_kernel(node.layer) or learned & set(node.flat_input_ids):
                learned |= set(node.flat_output_ids)
            yield node, bool(learned & set(node.flat_output_ids))


def _has_kernel(layer: Any) -> bool:
    return any(len(weight.shape) >= 2 for weight in layer.weights)


def _embeddings(student: Any, teacher: Any, key: str) -> Pair:
    (own, seen), (theirs, shown) = (
        _embedding(model, key, who) for model, who in ((student, "student"), (teacher, "teacher"))
    )
    return Pair(own, theirs, seen, shown)


def _embedding(model: Any, key: str, who: str) -> tuple[str, Any]:
    """Return what the last layer with a kernel takes, a dense one, and the name of the layer that makes it."""
    calls = list(_calls(model, f"{key}: the {who}"))
    last = next((node for node, _ in reversed(calls) if _has_kernel(node.layer)), None)
    kind = type(_unwrapped(last.layer)).__name__ if last else "no layer with a kernel"
    known = {name for node, learned in calls if learned for name in node.flat_output_ids}
    if last is None or kind != "Dense" or not known & set(last.flat_input_ids):
        found = f"{plain(last.layer)} ({kind})" if last else kind
        raise InputError(
            f"{key}: the {who} has no embedding that could be found by itself",
            expected="layers with kernels, a dense one last", found=found, todo=f"name layers: {key}.layers",
        )  # fmt: skip
    taken = last.keras_inputs[0]
    return plain(taken._keras_history.layer), taken


def _named(
    own: Mapping[str, Any], theirs: Mapping[str, Any], chosen: Mapping[str, str], key: str, possible: str
) -> list[Pair]:
    unknown = {
        who: [name for name in names if name not in known]
        for who, names, known in (("student", list(chosen), own), ("teacher", list(chosen.values()), theirs))
    }
    if any(unknown.values()):
        raise InputError(
            f"{key}.layers names what cannot be compared",
            expected=f"layers between the first kernel and the output: {', '.join(own)} of the student; "
            f"{', '.join(theirs)} of the teacher",
            found="; ".join(f"{', '.join(names)} of the {who}" for who, names in unknown.items() if names),
            todo=_try(key, possible),
        )  # fmt: skip
    return [Pair(name, other, own[name], theirs[other]) for name, other in chosen.items()]


def _matching(own: Mapping[str, Any], theirs: Mapping[str, Any], *, looks: bool) -> dict[str, str]:
    """Return the last layer of each resolution in the student -> the last of the same in the teacher."""
    last, other = ({_positions(tensor): name for name, tensor in found.items()} for found in (own, theirs))
    return {
        name: other[positions]
        for positions, name in last.items()
        if positions in other and positions and not (looks and math.prod(positions) == 1)
    }


def _positions(tensor: Any) -> tuple[int, ...]:
    return tuple(tensor.shape[1:-1])


def _count(tensor: Any) -> int:
    return math.prod(_positions(tensor))


def _said(tensor: Any) -> str:
    return "x".join(map(str, _positions(tensor))) or "no positions"


def _resolutions(found: Mapping[str, Any]) -> str:
    return ", ".join(dict.fromkeys(map(_said, found.values()))) or "no layers"


def _try(key: str, possible: str) -> str:
    return f"{key}.layers: {{{possible}}}, or auto" if possible else "correct the names"
