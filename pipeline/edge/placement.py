"""Where a file's own operators run once Vela has compiled it: read from the compiled file, not from Vela's counts.

Vela counts operators after it has lowered them: a SOFTMAX becomes 25. What stays on the CPU is in the compiled file as
it was, with the same output tensor; all else has become part of an `ethos-u` operator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ETHOS_U = "ethos-u"
# Warning (supported operators) operator: SIN, ofm: 'model/tf.math.sin/Sin'
# Reason: Unsupported opType
_REFUSAL = re.compile(r"^Warning \([^)]*\) operator: \S+, ofm: '(?P<tensor>.*)'$")
_REASON = "Reason: "


@dataclass(frozen=True)
class Operator:
    """One operator of a file.

    Attributes:
        kind: TFLite's name, CONV_2D; of a custom operator its own.
        output: name of its first output tensor.
    """

    kind: str
    output: str


@dataclass(frozen=True)
class OnCpu:
    """An operator that stays on the CPU; `reasons` are Vela's words, empty where it gives none."""

    operator: Operator
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """Where a file's operators run; `npu` holds those too that were folded into another."""

    npu: tuple[Operator, ...]
    cpu: tuple[OnCpu, ...]


def placement(file: Path, compiled: Path, report: str) -> Placement:
    """Return where the operators of a file run.

    Args:
        file: before Vela.
        compiled: by Vela.
        report: what Vela printed.
    """
    left = {one.output for one in operators(compiled) if one.kind != ETHOS_U}
    every, said = operators(file), refusals(report)
    return Placement(
        tuple(one for one in every if one.output not in left),
        tuple(OnCpu(one, said.get(one.output, ())) for one in every if one.output in left),
    )


def operators(file: Path) -> list[Operator]:
    """Return the operators of all graphs in a .tflite, in the order in which they run."""
    from pipeline.formats.tflite.read import kind, tree

    model = tree(file)
    return [
        Operator(kind(model, operator), graph.tensors[operator.outputs[0]].name.decode())
        for graph in model.subgraphs
        for operator in graph.operators
    ]


def refusals(report: str) -> Mapping[str, tuple[str, ...]]:
    """Return why Vela leaves operators to the CPU, from what it printed: output tensor -> its reasons."""
    found: dict[str, list[str]] = {}
    tensor, telling = None, False
    for line in report.splitlines():
        if match := _REFUSAL.match(line):
            tensor, telling = match["tensor"], False
        elif tensor is not None and line.startswith(_REASON):
            found.setdefault(tensor, []).append(line.removeprefix(_REASON).strip())
            telling = True
        elif telling and tensor is not None and line.strip():
            found[tensor][-1] += f"; {line.strip()}"  # a reason of several lines
        elif not line.strip():
            tensor, telling = None, False
    return {name: tuple(reasons) for name, reasons in found.items()}
