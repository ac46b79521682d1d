"""signature.json and golden/: what the file takes and gives, in its own types, for programs without our libraries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.bundle.golden import Answers, Chosen
from pipeline.data.sources.images import DECODING
from pipeline.formats import labels as class_names
from pipeline.predictor import ADDED, ENDS, Head, Input, Spec
from pipeline.signature import End

SIGNATURE, INDEX = "signature.json", "golden/index.json"
# sources whose pictures this program or Keras has decoded, so that the order is known
_RGB = ("image_folder", "cifar10", "cifar100", "tfds")

# what an input is given
TAKES_RAW = "raw values: the model scales them itself"
TAKES_INTEGERS = "raw values as integers, by the input's scale and zero point"
TAKES_IDS = "token ids, made of a text as the files say"

INTEGERS = "integer = clamp(round_half_to_even(value / scale) + zero_point); value = (integer - zero_point) * scale"


def encoded(value: Any) -> bytes:
    """Return JSON that people can read, the same bytes for the same value."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def signature(
    answers: Answers, spec: Spec, *, model: str, key: str, source: str, beside: Sequence[str], labels: Sequence[str]
) -> dict[str, Any]:
    """Return signature.json.

    Args:
        model: the file's name.
        key: of the signature in the file; empty where the format has none.
        source: of the data.
        beside, labels: files of the bundle that say what inputs are, and what classes are called.
    """
    takes = {one.name: one for one in spec.inputs}
    gives = {name: head for head in spec.heads for name in head.outputs}
    found = answers.signature
    return {
        "model": model,
        "signature_key": key or None,
        "batch": "any" if found.batch is None else found.batch,
        "keeps_state_between_calls": answers.stateful,
        "integers": INTEGERS,
        "inputs": [_end(end) | _preprocessing(end, takes[end.name], source, beside) for end in found.takes],
        "outputs": [_end(end) | _meaning(end.name, gives.get(end.name), labels) for end in found.gives],
    }


def _end(end: End) -> dict[str, Any]:
    return {
        "name": end.name,
        "dtype": end.dtype,
        "shape": None if end.shape is None else list(end.shape),
        "quantization": None
        if end.quantization is None
        else {"scale": end.quantization[0], "zero_point": end.quantization[1]},
    }


def _preprocessing(end: End, one: Input, source: str, beside: Sequence[str]) -> dict[str, Any]:
    own = [name for name in beside if name.startswith(f"{one.name}.")]
    low, high = one.value_range
    if one.vectorizer is not None:
        return {"kind": "token ids of a text", "files": own, "takes": TAKES_IDS, "raw_range": [low, high]}
    said: dict[str, Any] = {"kind": "numbers", "takes": TAKES_RAW if end.quantization is None else TAKES_INTEGERS}
    if len(one.shape) == 3:
        channels = one.shape[-1]
        order = "RGB" if source in _RGB else "as in the data, which says no more"
        said |= {
            "kind": "image", "layout": "height, width, channels",
            "colour_order": "one channel" if channels == 1 else order if channels == 3 else "as in the data",
            "decoding": list(DECODING) if source == "image_folder" else "as in the data, which has pixels",
        }  # fmt: skip
    elif one.columns:
        said["kind"] = "a row of a table"
        if one.column_ranges:
            ranges = zip(one.columns, one.column_ranges, strict=True)
            return said | {"raw_ranges": {name: list(bounds) for name, bounds in ranges}, "files": own}
    return said | {"raw_range": [low, high], "files": own}


def _meaning(name: str, head: Head | None, labels: Sequence[str]) -> dict[str, Any]:
    if head is None:
        return {"meaning": "unknown"}
    kinds = (ENDS[head.task], *ADDED[head.task])
    meaning = dict(zip(head.outputs, kinds, strict=True))[name]
    file = class_names.filename(head)
    said: dict[str, Any] = {"task": head.task, "meaning": meaning}
    return said | ({"labels": file} if head.classes and file in labels else {})


def golden(answers: Answers, chosen: Sequence[Chosen], spec: Spec, made_with: str) -> dict[str, bytes]:
    """Return golden/index.json and the raw tensors: C order, little-endian.

    Args:
        made_with: the runtime, its version and the processor that answered.
    """
    found = answers.signature
    files: dict[str, bytes] = {}
    listed = []
    for number, (pair, one) in enumerate(zip(answers.pairs, chosen, strict=True)):
        said: dict[str, Any] = {"test_samples": list(one.positions)}
        said |= _texts(one, spec)
        said |= {"right": _right(one, spec)}
        for direction, tensors in (("inputs", pair.inputs), ("outputs", pair.outputs)):
            said[direction] = {}
            for name, array in tensors.items():
                file = tensor_file(number, name)
                files[f"golden/{file}"] = little_endian(array)
                said[direction][name] = {"file": file, "dtype": array.dtype.name, "shape": list(array.shape)}
        listed.append(said)
    ends = {end.name: end for end in found.gives}
    index = {
        "bytes": "little-endian, C order, no header",
        "answered_by": made_with,
        "tolerance": {name: answers.tolerance(end) for name, end in ends.items()},
        "tolerance_means": "largest absolute difference of a value that other kernels (another processor, another "
        "version) may make, in the output's own type: steps of integers; the runtime that answered gives the very same",
        "pairs": listed,
    }
    return {INDEX: encoded(index)} | files


def tensor_file(pair: int, name: str) -> str:
    """Return what the raw tensor of an end is called."""
    return f"{pair}.{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.bin"


def little_endian(array: np.ndarray) -> bytes:
    """Return an array's values in C order."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _texts(one: Chosen, spec: Spec) -> dict[str, Any]:
    """Return the texts that the token ids were made of, for a test of the app's own."""
    texts = {
        each.name: [str(text) for text in one.given[each.name]]
        for each in spec.inputs
        if each.vectorizer is not None and one.given[each.name].dtype.kind in "OSU"
    }
    return {"texts": texts} if texts else {}


def _right(one: Chosen, spec: Spec) -> Mapping[str, Any]:
    """Return what the data says is right, where that is short: names of classes, labels, values."""
    found: dict[str, Any] = {}
    for head in spec.heads:
        wanted = one.wanted[head.name]
        if head.task == "classification":
            found[head.end] = [head.classes[int(place)] if head.classes else int(place) for place in wanted]
        elif head.task == "multilabel":
            found[head.end] = [[name for name, on in zip(head.classes, row, strict=True) if on] for row in wanted]
        elif head.task in ("regression", "anomaly"):
            found[head.answer] = wanted.tolist()
    return found
