"""A .tflite as C source that is compiled into a program for a microcontroller.

What comes from a user (the name, the labels, the names of tensors) reaches the source as an identifier made of letters,
digits and underscores, or as an escaped string: it cannot become code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np

from pipeline.edge import resolver
from pipeline.edge.c_templates import (
    ARENA_ESTIMATED,
    ARENA_MEASURED,
    DATA,
    HEADER,
    NEEDS_CPU,
    NEEDS_NPU,
    OPERATORS,
    RUNTIME,
    RUNTIME_HEADER,
)
from pipeline.edge.ends import signature
from pipeline.errors import InputError
from pipeline.signature import End

ALIGNMENT = 16
"""Bytes that an arena is a multiple of."""
_BYTES_A_LINE = 12
_MAX_RANK = 8
_TYPES = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")  # enum NAME_type
_LONGEST = 48  # of an identifier's root: C promises to tell names apart by their first 31 or 63 characters
# a header of ours must not hide one of C's, or be hidden by it
_TAKEN = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg stdatomic
    stdbool stdckdint stdbit stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar unistd wchar wctype
    """


def sources(path: Path, *, name: str, arena: int, labels: Sequence[str] = ()) -> dict[str, bytes]:
    """Return the source files of a model by their names; NAME is `identifier(name)`.

    Of a file that Vela compiled, all of them say so: what they need is the NPU.

    NAME.h             what the program needs to know, in C: the model's bytes, NAME_ARENA_BYTES, name, type, shape and
                       quantization of each input and output (struct NAME_tensor), the labels
    NAME.c             its data; C11 and C++, with no other header than C's own
    NAME_operators.h   C++: NAME_register_operators(resolver), for a MicroMutableOpResolver<NAME_OPERATORS>
    NAME_runtime.h     in C: NAME_start(), NAME_reset(), NAME_input(i), NAME_invoke(), NAME_output(i)
    NAME_runtime.cc    C++: those, over TensorFlow Lite for Microcontrollers (TFLM)

    Args:
        path: the .tflite, with a batch of one or a dynamic one, which becomes one.
        name: of files and identifiers: "digits int8" makes digits_int8.h and digits_int8_model.
        arena: bytes of the tensor arena, as measured (`micro.Arena.size`); of a file that Vela compiled, as estimated.
        labels: of the classes, in the order of the values of an output; any text.

    Returns:
        the same bytes for the same arguments.

    Raises:
        InputError: the name has no letter or digit.
        MicroError: TFLM has no kernel for an operator, or is known to compute it wrongly; or an input or output has a
            type or rank that C has no name for.
    """
    model = path.read_bytes()
    root = identifier(name)
    resolver.require(path)
    operators = resolver.operators(path)
    on_npu = any(one.kind == resolver.ETHOS_U for one in operators)
    ends = signature(path)
    _require_types(path, (*ends.takes, *ends.gives))
    words = {
        "name": root,
        "NAME": root.upper(),
        "file": _comment(path.name),
        "needs": NEEDS_NPU if on_npu else NEEDS_CPU,
        "arena_is": ARENA_ESTIMATED if on_npu else ARENA_MEASURED,
        "model_bytes": str(len(model)),
        "arena_bytes": str(arena),
        "max_rank": str(_MAX_RANK),
        "operator_count": str(len(operators)),
        "input_count": str(len(ends.takes)),
        "output_count": str(len(ends.gives)),
        "label_count": str(len(labels)),
        "operator_list": "\n".join(f"     {_comment(one.kind)} {one.count}x: {one.method}" for one in operators),
        "registrations": "\n".join(f"  registered = registered && resolver.{one.method}() == 0;" for one in operators),
        "model": _array(model),
        "inputs": _tensors(ends.takes, root.upper()),
        "outputs": _tensors(ends.gives, root.upper()),
        # an array has at least one element in C
        "labels": "\n".join(f"  {string(label)}," for label in labels) or "  0,",
        "label_room": str(max(1, len(labels))),
    }
    templates = {
        f"{root}.h": HEADER,
        f"{root}.c": DATA,
        f"{root}_operators.h": OPERATORS,
        f"{root}_runtime.h": RUNTIME_HEADER,
        f"{root}_runtime.cc": RUNTIME,
    }
    return {file: Template(text).substitute(words).encode("ascii") for file, text in templates.items()}


def identifier(name: str) -> str:
    """Return a C identifier for a name, which is also the root of its files: "3 digits: int8" -> m_3_digits_int8.

    Raises:
        InputError: it has no letter or digit of ASCII to make one from.
    """
    found = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:_LONGEST].strip("_")
    if not found:
        raise InputError(
            "the name of a C source has nothing that C can call it", expected="a letter from a to z or a digit in it",
            found=repr(name), todo="give it another name",
        )  # fmt: skip
    return f"m_{found}" if found[0].isdigit() or found in _TAKEN.split() else found


def string(text: str) -> str:
    r"""Return a C string literal that holds a text in UTF-8; what is not plain ASCII is in octal: "\303\244".

    Octal escapes end after three digits, so that no digit behind them is swallowed. A question mark is escaped, because
    two of them begin a trigraph in C.
    """
    plain = [
        chr(byte) if 0x20 <= byte < 0x7F and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    ]
    return f'"{"".join(plain)}"'


def _require_types(path: Path, ends: Sequence[End]) -> None:
    wrong = [end for end in ends if end.dtype not in _TYPES or len(end.shape or ()) > _MAX_RANK]
    if wrong:
        raise resolver.MicroError(
            f"{path.name} cannot become source for a microcontroller: it takes or gives what C cannot say",
            expected=f"inputs and outputs of {_MAX_RANK} dimensions at most, of {', '.join(_TYPES)}",
            found=", ".join(map(str, wrong)), todo="export it as int8",
        )  # fmt: skip


def _comment(text: str) -> str:
    """Return a name of an operator as it may stand in a comment."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)


def _array(content: bytes) -> str:
    lines = (content[place : place + _BYTES_A_LINE] for place in range(0, len(content), _BYTES_A_LINE))
    return "\n".join("  " + " ".join(f"0x{byte:02x}," for byte in line) for line in lines)


def _tensors(ends: Sequence[End], prefix: str) -> str:
    return "\n".join(_tensor(end, prefix) for end in ends)


def _tensor(end: End, prefix: str) -> str:
    shape = [1 if size is None else size for size in end.shape or ()]
    elements = int(np.prod(shape, dtype=np.int64))
    scale, zero = end.quantization or (0.0, 0)
    sizes = ", ".join(str(size) for size in shape) or "0"
    return (
        f"  {{{string(end.name)}, {prefix}_{end.dtype.upper()}, {len(shape)}, {{{sizes}}}, {elements}u, "
        f"{elements * np.dtype(end.dtype).itemsize}u, {_float(scale)}, {zero}}},"
    )


def _float(value: float) -> str:
    """Return a C literal of the same float32."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"
