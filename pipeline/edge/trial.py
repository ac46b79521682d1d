"""A .tflite in TensorFlow Lite Micro over a whole split, and the same file in LiteRT: what each answers, and keeps.

Each runtime has a call of its own in a child process, with a deadline of its own, and what it answered is kept as a
part of the stage's unfinished work: an interrupted call goes on after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from pipeline.edge import micro, parity
from pipeline.edge.ends import dequantized, signature
from pipeline.isolate import Child, CrashError
from pipeline.parts import Parts
from pipeline.predictor import Stored, rows
from pipeline.report.edge import Agreement

P = ParamSpec("P")
T = TypeVar("T")
KERNELS: tuple[parity.Kernels, ...] = ("default", "reference")
_MICRO = "tflite-micro"


class Trial:
    """The calls.

    Args:
        file: the .tflite.
        samples: of the split: raw values, or token ids of texts, n >= 1.
        child: ends each call at the deadline.
        deadline_s: which that is.
        parts: of the stage's work.
    """

    def __init__(self, file: Path, samples: Stored, child: Child, deadline_s: float, parts: Parts) -> None:
        self._file, self._samples, self._parts = file, samples, parts
        self._child, self._deadline_s = child, deadline_s

    def in_micro(self) -> micro.Run:
        """Answer every sample in TensorFlow Lite Micro.

        Raises:
            MissingError, MicroError: as `micro.run`.
            CrashError: it died, or was not done by the deadline.
        """
        kept = self._parts.find(_MICRO)
        if kept is None:
            ran = self._call(in_micro, self._file, self._samples)
            self._keep(_MICRO, ran.raw, {"arena": asdict(ran.arena)})
            return ran
        raw = self._kept(_MICRO, kept)
        answers = {end.name: dequantized(raw[end.name], end) for end in signature(self._file).gives}
        return micro.Run(answers, raw, micro.Arena(**kept["arena"]))

    def beside_litert(self, ran: micro.Run, kernels: parity.Kernels) -> list[Agreement]:
        """Answer every sample in LiteRT, and compare each output.

        Args:
            ran: what TensorFlow Lite Micro answered.

        Raises:
            CrashError: it died, or was not done by the deadline.
        """
        name = f"litert-{kernels}"
        kept = self._parts.find(name)
        if kept is None:
            raw = self._call(in_litert, self._file, self._samples, kernels)
            self._keep(name, raw, {})
        else:
            raw = self._kept(name, kept)
        samples = len(next(iter(raw.values())))
        return [
            Agreement(
                kernels=kernels, output=one.output, samples=samples, values=one.values, equal_share=one.equal_share,
                max_steps=one.max_steps, max_abs_error=one.max_difference, top1_agreement=one.same_decision_share,
            )
            for one in parity.compare(self._file, ran.raw, raw)
        ]  # fmt: skip

    def _call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        started = time.monotonic()
        try:
            return self._child.call(function, *args, **kwargs)
        except CrashError as crash:
            if time.monotonic() - started < self._deadline_s:
                raise
            todo = f"give it longer than edge.deadline_s ({self._deadline_s:g}): --set edge.deadline_s=SECONDS"
            raise CrashError(f"{crash.reason}\n  what to do: {todo}", True) from None

    def _keep(self, name: str, raw: Mapping[str, np.ndarray], more: Mapping[str, Any]) -> None:
        path = self._parts.folder / f"{name}.npz"
        # numbered, because an output's name need not be one that a file in an archive can have
        np.savez(path, allow_pickle=False, **{str(place): array for place, array in enumerate(raw.values())})
        self._parts.keep(name, {"outputs": list(raw), **more}, [path])

    def _kept(self, name: str, kept: Mapping[str, Any]) -> dict[str, np.ndarray]:
        with np.load(self._parts.folder / f"{name}.npz", allow_pickle=False) as stored:
            return {output: stored[str(place)] for place, output in enumerate(kept["outputs"])}


def in_micro(file: Path, samples: Stored) -> micro.Run:
    """Answer every sample in TensorFlow Lite Micro; in a child process."""
    return micro.run(file, rows(samples, slice(None)))


def in_litert(file: Path, samples: Stored, kernels: parity.Kernels) -> dict[str, np.ndarray]:
    """Answer every sample in LiteRT, one by one; in a child process."""
    return parity.in_litert(file, rows(samples, slice(None)), kernels)
