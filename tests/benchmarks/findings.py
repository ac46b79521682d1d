"""What the benchmarks share: findings that are kept as they come, runs of a recipe, and files timed in turns.

A benchmark is a command that can be stopped and given again: what it has found stands in NAME.json of its work folder,
side by side, and beside it what the sides were made of, with a store of modelmill's. What this project publishes was
copied from there to results/.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline import machine
from pipeline.files import canonical, hashes, write_json
from tests.benchmarks.commands import modelmill

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("tensorflow", "tf_keras", "ai-edge-litert", "onnxruntime", "tensorflow-model-optimization")
Side = dict[str, Any]


class Findings:
    """NAME.json: the sides of a comparison, each written when it is known.

    Args:
        name: of the benchmark.
        command: what makes it again, as a user types it.
        folder: where the file is: that of the work, or RESULTS.

    Raises:
        SystemExit: the file is broken.
    """

    def __init__(self, name: str, command: str, folder: Path) -> None:
        self.path = folder / f"{name}.json"
        self._content: dict[str, Any] = {"benchmark": name, "command": command, "sides": {}}
        if self.path.exists():
            try:
                known = json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError:
                raise SystemExit(f"{self.path} is no JSON; without it, all is measured again: remove it") from None
            self._content |= known | {"command": command}

    @property
    def sides(self) -> dict[str, Side]:
        """Name -> what was found, in the order in which it was."""
        sides: dict[str, Side] = self._content["sides"]
        return sides

    def once(self, name: str, make: Callable[[], Side], of: object = None) -> Side:
        """Return a side; it is made only where it is not known, and then kept, with the machine and its load.

        Args:
            make: finds it out.
            of: what it is found of, as JSON: options, hashes of files. A side that was found of something else is made
                again, so that no figure stands beside what it does not belong to.
        """
        if not self.knows(name, of):
            if name in self.sides:
                print(f"{name}: what is known was found of something else (options, data, files): again", flush=True)
            load = os.getloadavg()[0]
            found = {"of": _digest(of), "load": round(load, 2), "machine": machine.describe(LIBRARIES)}
            self.sides[name] = {**make(), **found}
            self.path.parent.mkdir(exist_ok=True)
            write_json(self.path, self._content)
        return self.sides[name]

    def knows(self, name: str, of: object) -> bool:
        """Return whether a side is known, and was found of just this; see `once`."""
        return name in self.sides and self.sides[name]["of"] == _digest(of)

    def again(self, prefix: str) -> None:
        """Forget the sides whose names begin so."""
        for name in [one for one in self.sides if one.startswith(prefix)]:
            del self.sides[name]

    def told(self, prefix: str = "") -> str:
        """Return a line on the machine and the load under which the sides were found whose names begin so."""
        sides = [side for name, side in self.sides.items() if name.startswith(prefix)]
        where = sorted({f"{side['machine']['cores']} cores, {side['machine']['cpu']}" for side in sides})
        loads = [side["load"] for side in sides]
        warned = "Sides are of DIFFERENT machines: " if len(where) > 1 else ""
        return f"{warned}{' and '.join(where)}; load {min(loads):.1f} to {max(loads):.1f} as sides began."


def _digest(of: object) -> str:
    return hashlib.sha256(canonical(of).encode()).hexdigest()[:16]


def ran(recipe: str, overrides: Iterable[str], out: Path, store: Path, until: str = "export") -> Side:
    """Run a recipe up to a stage and return report.json; what the store has is not made again.

    Raises:
        SystemExit: it failed, and has said why.
    """
    options = [part for one in overrides for part in ("--set", one)]
    # a gate that is missed ends with 1, and leaves a report all the same
    modelmill(["run", recipe, *options, "--out", str(out), "--store", str(store), "--until", until], fine=(0, 1))
    report: Side = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return report


def bench(
    targets: Mapping[str, Path | str], work: Path, *, against: str | None = None, batch: int = 32, blocks: int = 15,
    duration: float = 0.5, threads: int = 1, scenarios: Sequence[str] = ("single-stream", "offline"),
    options: Sequence[str] = (), failing: bool = False,
) -> dict[str, Side]:  # fmt: skip
    """Time targets of `modelmill bench` in alternating blocks.

    Args:
        targets: label -> file, folder or address.
        work: an empty folder, or that of an earlier call.
        against: the label that ratios are to; None: the first.
        batch: samples of a request, in Offline.
        blocks: of each target.
        duration: least seconds of a block.
        threads: of a runtime in this process.
        scenarios: of the command.
        options: more of the command's.
        failing: whether a target may fail.

    Returns:
        Label -> p50 of one sample in ms with its 95 % interval, queries behind it, samples a second in Offline, and how
        many times as fast as `against`, with the interval over pairs of blocks that ran next to each other. What
        failed has `error` instead.

    Raises:
        SystemExit: a target failed that may not.
    """
    names = {label: str(target) for label, target in targets.items()}
    reference = names[against] if against else next(iter(names.values()))
    code = modelmill([
        "bench", *names.values(), "--against", reference, "--scenario", ",".join(scenarios), "--batch", str(batch),
        "--blocks", str(blocks), "--duration", str(duration), "--threads", str(threads), "--out", str(work),
        *options,
    ], fine=(0, 4))  # fmt: skip
    if not (found := work / "bench.json").exists():  # it failed before it could measure, and has said why
        raise SystemExit(code)
    told = json.loads(found.read_text(encoding="utf-8"))["targets"]
    sides = {label: _side(target) for label, target in zip(names, told, strict=True)}
    failed = [f"{label}: {side['error']}" for label, side in sides.items() if "error" in side]
    if failed and not failing:
        raise SystemExit("\n".join(failed))
    return sides


def contents(files: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Return label -> sha256 of a file, or of each file of a folder, to say what was measured (`Findings.once`)."""
    return {label: hashes(path, path.parent) for label, path in files.items()}


def _side(target: Mapping[str, Any]) -> Side:
    if target["error"]:
        return {"error": target["error"]}
    side: Side = {"place": target["runtime"]}
    for result in target["results"]:
        alone = result["scenario"] == "SingleStream"
        name, what, ratio = ("p50_ms", "p50_ms", "latency_speedup") if alone else (
            "samples_per_s", "throughput_per_s", "throughput_ratio"
        )  # fmt: skip
        side[name] = _interval(result[what])
        side[f"{name}_n"] = result["queries"]
        side["ratio" if alone else "throughput_ratio"] = _interval(result[ratio])
    return side


def _interval(found: Mapping[str, float] | None) -> list[float] | None:
    """Return value, lower and upper end of a 95 % interval."""
    return None if found is None else [round(found[key], 5) for key in ("value", "low", "high")]


def told_ratio(found: Sequence[float] | None) -> str:
    """Return a ratio with its interval in words."""
    return "-" if found is None else f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"


def told_gain(points_lost: Sequence[float]) -> str:
    """Return what is gained, where `answers.compared` says what is lost with its interval, in points."""
    lost, low, high = points_lost
    return f"{-lost:+.2f} ({-high:+.2f} to {-low:+.2f})"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown: the first column is text, the others are numbers."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(str(cell) for cell in row)} |" for row in rows)])
