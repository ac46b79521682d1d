"""The signature of a served model, as GetModelMetadata gives it, and whether it is the spec's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline import signature as plain
from pipeline.predictor import FormatError, Spec, require_ends

NAME = "serving_default"  # what a request gets that names none
_FLOAT, _STRING, _IDS = "DT_FLOAT", "DT_STRING", "DT_INT32"


@dataclass(frozen=True)
class End:
    """An input or an output.

    Attributes:
        dtype: by its protobuf name, such as "DT_FLOAT".
        shape: with the batch dimension, None for a dynamic one; None as a whole: even the rank is unknown.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """The ends of the signature NAME, by name."""

    inputs: Mapping[str, End]
    outputs: Mapping[str, End]


def parse(answer: Any) -> Signature | tuple[str, ...]:
    """Return the signature NAME, or the names of those that there are instead.

    Args:
        answer: of the REST API's /metadata, parsed.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it has another form.
    """
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    if NAME not in signatures:
        return tuple(sorted(signatures))
    inputs, outputs = (
        {name: _end(end) for name, end in signatures[NAME].get(key, {}).items()} for key in ("inputs", "outputs")
    )
    return Signature(inputs, outputs)


def _end(end: Any) -> End:
    shape = end["tensor_shape"]
    if shape.get("unknown_rank"):
        return End(end["dtype"], None)
    sizes = [int(dim["size"]) for dim in shape.get("dim", ())]
    return End(end["dtype"], tuple(None if size < 0 else size for size in sizes))


_DTYPES = {
    "DT_FLOAT": "float32", "DT_DOUBLE": "float64", "DT_HALF": "float16", "DT_BFLOAT16": "bfloat16",
    "DT_INT8": "int8", "DT_INT16": "int16", "DT_INT32": "int32", "DT_INT64": "int64", "DT_UINT8": "uint8",
    "DT_UINT16": "uint16", "DT_UINT32": "uint32", "DT_UINT64": "uint64", "DT_BOOL": "bool", "DT_STRING": plain.STRING,
}  # fmt: skip


def described(name: str, found: Signature | tuple[str, ...]) -> plain.Signature:
    """Return what `parse` gave with the types by numpy's names.

    Raises:
        FormatError: there is no signature NAME.
    """
    there = _present(name, found)
    takes, gives = (
        tuple(plain.End(one, _DTYPES.get(end.dtype, plain.UNKNOWN), end.shape) for one, end in sorted(ends.items()))
        for ends in (there.inputs, there.outputs)
    )
    return plain.Signature(takes, gives)


def _present(name: str, found: Signature | tuple[str, ...]) -> Signature:
    if isinstance(found, Signature):
        return found
    raise FormatError(
        f"{name} has no signature {NAME}",
        expected=NAME,
        found=" and ".join(found) or "no signature",
        todo=f"export it with a signature {NAME}",
    )


def require(name: str, spec: Spec, found: Signature | tuple[str, ...], *, lite: bool = False) -> None:
    """Check that a served model takes the spec's samples in batches of any size and answers what a Predictor does.

    Args:
        name: the served model, for the message.
        spec: what it must be.
        found: what `parse` gave.
        lite: it is a .tflite, of which a server tells the size of a batch as the file has it, and takes any; texts go
            in as token ids.

    Raises:
        FormatError: it is another model.
    """
    found = _present(name, found)
    unknown = [end for end in found.inputs.values() if end.shape is None]
    shapes = {end: () if tensor.shape is None else tensor.shape for end, tensor in found.inputs.items()}
    if not unknown:
        require_ends(name, spec, inputs=shapes, outputs=list(found.outputs), strings=not lite)
    free = (None, 1) if lite else (None,)
    fixed = unknown or any(shape[0] not in free for shape in shapes.values())
    if fixed:
        samples = {one.name: one.shape if lite else one.raw_shape for one in spec.inputs}
        wanted = ", ".join(f"{name} {['n', *shape]}" for name, shape in samples.items()).replace("'", "")
        shown = ", ".join(f"{end} {list(shape)}" for end, shape in shapes.items())
        raise FormatError(
            f"{name} does not take batches of any size",
            expected=f"input {wanted}",
            found="an input of unknown rank" if unknown else shown,
            todo="export it with a dynamic batch and the shape of its samples",
        )
    ends = dict(found.inputs) | {end: found.outputs[end] for end in spec.outputs}
    text = _IDS if lite else _STRING
    types = dict.fromkeys(ends, _FLOAT) | {one.name: text for one in spec.inputs if one.vectorizer is not None}
    wrong = [f"{end} {tensor.dtype}" for end, tensor in ends.items() if tensor.dtype != types[end]]
    if wrong:
        raise FormatError(
            f"{name} has other types than float32"
            + (f", and {'token ids' if lite else 'strings'} for texts" if spec.takes_text else ""),
            expected="; ".join(
                f"{kind} for {', '.join(end for end in ends if types[end] == kind)}"
                for kind in sorted({*types.values()})
            ),
            found=", ".join(wrong),
            todo="export it with float32 ends",
        )
