"""An int8 .tflite for a microcontroller: its source, the memory it needs, and how far its answers are from LiteRT's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.bundle.golden import Pair, apart
from pipeline.errors import InputError, MissingError

NAME = "model"  # of the files and of what is in them


@dataclass(frozen=True)
class Micro:
    """What is bundled for TensorFlow Lite for Microcontrollers (TFLM).

    Attributes:
        why: it is not; else empty.
        arena: bytes.
        sources: file name -> content.
        apart: output -> the largest difference to LiteRT's answers to the golden inputs, in the output's own type.
    """

    why: str = ""
    arena: int = 0
    sources: Mapping[str, bytes] = field(default_factory=dict)
    apart: Mapping[str, float] = field(default_factory=dict)


def made(
    path: Path, samples: Sequence[Mapping[str, np.ndarray]], pairs: Sequence[Pair], labels: Sequence[str]
) -> Micro:
    """Run a file in TFLM and write its source; what TFLM does not expect may end the process.

    Args:
        samples: raw values of each pair.
        pairs: what LiteRT answered.
        labels: of the classes, where there is one list of them.
    """
    from pipeline.edge import c_source, micro

    together = {name: np.concatenate([one[name] for one in samples]) for name in samples[0]}
    try:
        run = micro.run(path, together)
        sources = c_source.sources(path, name=NAME, arena=run.arena.size, labels=labels)
    except MissingError as error:
        return Micro(why=f"{error.what}: {error.todo}")
    except (micro.MicroError, InputError) as error:
        return Micro(why=error.what)
    answers = {name: np.concatenate([pair.outputs[name] for pair in pairs]) for name in pairs[0].outputs}
    return Micro("", run.arena.size, sources, {name: apart(array, run.raw[name]) for name, array in answers.items()})
