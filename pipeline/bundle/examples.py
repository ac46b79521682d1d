"""Programs that run a bundled model and check it against the golden pairs: examples/ in the bundle.

Those that read JSON (Python, Kotlin) are the same in every bundle; C and C++ get what it says as golden.h, and C, which
may have no files, the tensors as golden_data.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.bundle.ends import tensor_file
from pipeline.bundle.golden import Answers, Pair
from pipeline.bundle.microcontroller import Micro
from pipeline.edge.c_source import string
from pipeline.errors import InputError
from pipeline.signature import End

_HERE = Path(__file__).parent / "examples"
_BOTH = {name: name for name in ("python/check.py", "python/values.py", "kotlin/Check.kt", "kotlin/Values.kt")}
# name in the bundle's examples/ -> in the folder of this package
_FILES = {
    "tflite": _BOTH | {"python/model.py": "python/model_tflite.py", "kotlin/Model.kt": "kotlin/model_tflite.kt"},
    "onnx": _BOTH
    | {
        "python/model.py": "python/model_onnx.py", "kotlin/Model.kt": "kotlin/model_onnx.kt",
        "cpp/check.cc": "cpp/check.cc", "cpp/model.h": "cpp/model_onnx.h", "raw_values.h": "c/raw_values.h",
    },
}  # fmt: skip
# by LiteRT's C API, and by TensorFlow Lite for Microcontrollers
_LITERT = {
    "cpp/check.cc": "cpp/check.cc", "cpp/model.h": "cpp/model_tflite.h", "litert_api.h": "c/litert_api.h",
    "c/run_litert.c": "c/run_litert.c", "raw_values.h": "c/raw_values.h",
}  # fmt: skip
_TFLM = {"c/run_tflm.c": "c/run_tflm.c"}
_C = {"c/check.c": "c/check.c", "c/run.h": "c/run.h", "raw_values.h": "c/raw_values.h"}
_MOST_RANK = 8
# type -> the number of TFLite's tensor type, which golden.h has too, and C's name
_TYPES = {
    "float32": (1, "float"), "int32": (2, "int32_t"), "uint8": (3, "uint8_t"), "int64": (4, "int64_t"),
    "int16": (7, "int16_t"), "int8": (9, "int8_t"),
}  # fmt: skip


def files(
    form: str, model: str, answers: Answers, micro: Micro | None, labels: Mapping[str, tuple[str, ...]]
) -> dict[str, bytes]:
    """Return the examples of a file by their names in the bundle.

    LiteRT's C API refuses files that keep a state in variable tensors, as of LiteRT 2.3: those have none that calls it.

    Args:
        form: "tflite" or "onnx".
        model: the file's name in the bundle.
        micro: what there is for a microcontroller; None: the file is none for it.
        labels: output -> the names of its classes, in the order of its values; of those that answer one class.
    """
    listed, more = dict(_FILES[form]), {}
    if form == "tflite" and not answers.stateful:
        listed |= _C | _LITERT
    if micro is not None and not micro.why:
        listed |= _C | _TFLM
        more = {f"c/{name}": content for name, content in micro.sources.items()}
    if _C.items() <= listed.items():
        more["c/golden_data.c"] = "\n".join(_data(answers.pairs)).encode() + b"\n"
    more["golden.h"] = "\n".join(_header(model, answers, labels)).encode() + b"\n"
    found = {name: (_HERE / file).read_bytes() for name, file in listed.items()} | more
    return {f"examples/{name}": content for name, content in found.items()}


def require_known(answers: Answers, file: str) -> None:
    """Check that the examples can say what a file takes and gives.

    Raises:
        InputError: they have no name for a type, or no room for so many dimensions.
    """
    ends = (*answers.signature.takes, *answers.signature.gives)
    if wrong := [str(end) for end in ends if end.dtype not in _TYPES or len(end.shape or ()) > _MOST_RANK]:
        raise InputError(
            f"{file} cannot be bundled: the examples have no words for what it takes or gives",
            expected=f"tensors of {_MOST_RANK} dimensions at most, of {', '.join(_TYPES)}", found=", ".join(wrong),
            todo="choose another artifact",
        )  # fmt: skip


def _header(model: str, answers: Answers, labels: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    takes, gives, first = answers.signature.takes, answers.signature.gives, answers.pairs[0]
    yield "/* The golden pairs for C and C++: what golden/index.json says of them. */"
    yield from ("#ifndef GOLDEN_H", "#define GOLDEN_H", "", "#include <stddef.h>", "#include <stdint.h>", "")
    yield f"#define GOLDEN_MODEL {string(model)}"
    counts = {"GOLDEN_PAIRS": len(answers.pairs), "GOLDEN_INPUTS": len(takes), "GOLDEN_OUTPUTS": len(gives)}
    yield f"enum {{ {', '.join(f'{name} = {count}' for name, count in counts.items())} }};"
    room = sum((first.outputs[end.name].nbytes + 7) // 8 * 8 for end in gives)
    yield f"enum {{ GOLDEN_OUTPUT_BYTES = {room} }}; /* of all outputs, each to a multiple of 8 */"
    yield "/* the numbers of TFLite's tensor types */"
    yield f"enum {{ {', '.join(f'GOLDEN_{name.upper()} = {number}' for name, (number, _) in _TYPES.items())} }};"
    yield from (
        "", "typedef struct {", "  const char* name;", "  int type;", "  int rank;", f"  int shape[{_MOST_RANK}];",
        "  size_t elements;", "  size_t bytes;",
        "  float scale; /* 0: it takes or gives values; else integers, for raw_values.h */",
        "  int zero_point;", "  int lowest, highest;",
        "  double tolerance; /* of an output: the largest difference that other kernels may make */",
        "  size_t label_count;", "  const char* const* labels;",
        "} golden_tensor;", "",
    )  # fmt: skip
    lists = {classes: f"golden_labels_{place}" for place, classes in enumerate(dict.fromkeys(labels.values()))}
    for classes, name in lists.items():
        yield f"static const char* const {name}[{len(classes)}] = {{"
        yield from (f"    {string(one)}," for one in classes)
        yield "};"
    named = {name: f"{len(classes)}, {lists[classes]}" for name, classes in labels.items()}
    yield from _tensors("golden_inputs", takes, first.inputs, {}, {})
    allowed = {end.name: answers.tolerance(end) for end in gives}
    yield from _tensors("golden_outputs", gives, first.outputs, allowed, named)
    for word, ends in (("input", takes), ("output", gives)):
        yield f"/* below golden/; golden_data.c has the same bytes as golden_{word}_data */"
        yield f"static const char* const golden_{word}_files[{len(answers.pairs)}][{len(ends)}] = {{"
        for number in range(len(answers.pairs)):
            yield f"    {{{', '.join(string(tensor_file(number, end.name)) for end in ends)}}},"
        yield "};"
    yield from (
        "", "#ifdef __cplusplus", 'extern "C" {', "#endif",
        f"extern const void* const golden_input_data[{len(answers.pairs)}][{len(takes)}];",
        f"extern const void* const golden_output_data[{len(answers.pairs)}][{len(gives)}];",
        "#ifdef __cplusplus", "}", "#endif", "",
        "static inline double golden_value(int type, const void* data, size_t place) {", "  switch (type) {",
    )  # fmt: skip
    for name, (_, kind) in _TYPES.items():
        yield f"    case GOLDEN_{name.upper()}: return (double)((const {kind}*)data)[place];"
    yield from ("    default: return 0.0;", "  }", "}", "", "#endif")


def _tensors(
    name: str, ends: Sequence[End], arrays: Mapping[str, np.ndarray], allowed: Mapping[str, float],
    labels: Mapping[str, str],
) -> Iterator[str]:  # fmt: skip
    yield f"static const golden_tensor {name}[{len(ends)}] = {{"
    for end in ends:
        array = arrays[end.name]
        shape = ", ".join(map(str, array.shape))
        scale, zero = end.quantization or (0.0, 0)
        limits = np.iinfo(array.dtype) if end.quantization else None
        low, high = (limits.min, limits.max) if limits else (0, 0)
        yield (
            f"    {{{string(end.name)}, {_TYPES[array.dtype.name][0]}, {array.ndim}, {{{shape}}}, {array.size}, "
            f"{array.nbytes}, {_number(float(np.float32(scale)))}, {zero}, {low}, {high}, "
            f"{allowed.get(end.name, 0.0)!r}, {labels.get(end.name, '0, 0')}}},"
        )
    yield "};"


def _data(pairs: Sequence[Pair]) -> Iterator[str]:
    yield "/* The golden pairs as arrays, for a program without files. */"
    yield from ('#include "golden.h"', "")
    names: dict[str, list[list[str]]] = {"input": [], "output": []}
    for number, pair in enumerate(pairs):
        for word, arrays in (("input", pair.inputs), ("output", pair.outputs)):
            names[word].append([])
            for place, array in enumerate(arrays.values()):
                name = f"{word}_{number}_{place}"
                names[word][-1].append(name)
                yield f"static const {_TYPES[array.dtype.name][1]} {name}[{array.size}] = {{"
                values = [_number(value) for value in array.ravel().tolist()]
                yield from ("    " + ", ".join(values[start : start + 12]) + "," for start in range(0, len(values), 12))
                yield "};"
    for word, rows in names.items():
        yield f"const void* const golden_{word}_data[{len(rows)}][{len(rows[0])}] = {{"
        yield from (f"    {{{', '.join(row)}}}," for row in rows)
        yield "};"


def _number(value: float) -> str:
    """Return a constant of C that is the very value; floats in hexadecimal digits, which loses nothing."""
    return f"{value.hex()}f" if isinstance(value, float) else str(value)
