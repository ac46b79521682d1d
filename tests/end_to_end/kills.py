"""Kills one run again and again and shows that it ends with the same bytes as one that nobody touched.

    make kills                                            20 kills of the default recipe
    make kills ARGS="--kills 5 --seed 7 my.yaml --set train.epochs=3"

The moments are drawn uniformly over the wall time of the run that is left alone, so they fall within epochs, exports
and measurements. A moment is an event of that run and some time after it: the killed run gets its signal at the same
place of its own, however often it had to start again. After each kill no process may be left behind, and at the end
every file of every stage must be the same but for what holds times: of the measurements all but latencies and starts
is compared, and of a manifest nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.end_to_end.command import MODELMILL, NO_ENGINE

RUN, STORE = Path("run"), Path("store")
SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT}
_MARK = "MODELMILL_KILLS"
_GONE_S = 30.0
# random at each save (STACK: TensorFlow), and what holds durations
_DIFFER = {"fingerprint.pb", "manifest.json"}

Place = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Moment:
    """A moment of a run: `after_s` seconds after the event `place`, the start where that is empty."""

    place: Place
    after_s: float


@dataclasses.dataclass(frozen=True)
class Kill:
    """What came of one kill.

    Attributes:
        code: the exit code; not negative where the signal was handled, or came too late.
        last: the last event before it.
        left: command lines of processes that went on.
        stderr: what was said.
    """

    moment: Moment
    code: int
    last: Place
    left: tuple[str, ...]
    stderr: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The files of two runs: how many are equal, by suffix, and which are not."""

    equal: dict[str, int]
    different: tuple[str, ...]


class Timeline:
    """The events of a run that nobody touched, and when each came."""

    def __init__(self, events: Sequence[tuple[float, dict[str, Any]]], seconds: float) -> None:
        self.places: list[tuple[float, Place]] = [(0.0, ()), *((when, _place(event)) for when, event in events)]
        self.seconds = seconds

    def moment(self, seconds: float) -> Moment:
        """Return what a time of this run is in another one."""
        when, place = max((item for item in self.places if item[0] <= seconds), key=lambda item: item[0])
        return Moment(place, seconds - when)

    def position(self, place: Place) -> int:
        """Return the last place of this run that another has reached with an event; -1 where it is of none."""
        if place[:1] == ("stage_reused",):  # all of the stage has been done
            place = ("stage_finished", *place[1:2])
        found = [position for position, (_, known) in enumerate(self.places) if known[: len(place)] == place]
        return max(found, default=-1)


def _place(event: dict[str, Any]) -> Place:
    """Return what an event says of how far the run is: what is equal in two runs."""
    keys = ("event", "stage", "unit", "done", "item")
    # what a stage is done for, and how long it took, is not the same in each
    return tuple(str(event[key]) for key in keys if key in event)


def watch(recipe: Sequence[str], cwd: Path) -> tuple[Timeline, str]:
    """Run to the end and return the run's timeline and its verdict."""
    started = time.monotonic()
    with _begin(recipe, cwd) as process:
        told = [(time.monotonic() - started, event) for event in events(process)]
    if not told or told[-1][1].get("event") != "finished":
        raise SystemExit(f"the run that nobody touched failed: {(cwd / 'stderr').read_text(encoding='utf-8')}")
    return Timeline(told, time.monotonic() - started), told[-1][1]["verdict"]


def kill(recipe: Sequence[str], cwd: Path, at: Moment, timeline: Timeline, by: signal.Signals) -> Kill:
    """Start the run again, send it a signal at a moment, and look what it leaves behind."""
    mark, last = uuid.uuid4().hex, ()
    wanted = timeline.position(at.place)
    with _begin(recipe, cwd, {_MARK: mark}) as process:
        place: Place
        for place in _until(process, wanted, timeline, at):
            last = place
        process.send_signal(by)
        code = process.wait(120)
    return Kill(at, code, last, tuple(_left(mark)), (cwd / "stderr").read_text(encoding="utf-8"))


def _until(process: subprocess.Popen[str], wanted: int, timeline: Timeline, at: Moment) -> Iterator[Place]:
    """Yield the places up to the moment; sleeps for what is left of it."""
    if wanted > 0:
        for event in events(process):
            place = _place(event)
            yield place
            position = timeline.position(place)
            if position >= wanted:
                if position > wanted:  # it is past that moment
                    return
                break
    deadline = time.monotonic() + at.after_s
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)


def begin(
    arguments: Sequence[str], errors: Path, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start the command with its output in a pipe and its errors in a file."""
    with errors.open("w", encoding="utf-8") as file:
        return subprocess.Popen(
            [MODELMILL, *arguments], cwd=cwd, stdout=subprocess.PIPE, stderr=file, text=True,
            env=os.environ | NO_ENGINE | dict(environment or {}),
        )  # fmt: skip


def _begin(recipe: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    arguments = ["run", *recipe, "--json", "--out", str(RUN), "--store", str(STORE)]
    return begin(arguments, cwd / "stderr", cwd, environment)


def events(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield what a run with --json tells, until its end."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.endswith("\n"):  # the last one may be cut off
            yield json.loads(line)


def _left(mark: str) -> list[str]:
    """Return the command lines of what is still running of a killed run, after some patience."""
    deadline = time.monotonic() + _GONE_S
    while found := [process for process in psutil.process_iter() if _environment(process).get(_MARK) == mark]:
        if time.monotonic() > deadline:
            return [" ".join(process.cmdline()) for process in found]
        time.sleep(0.1)
    return []


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return {} if process.status() == psutil.STATUS_ZOMBIE else process.environ()
    except (psutil.Error, OSError):
        return {}


def files(cwd: Path) -> dict[str, str]:
    """Return STAGE/FILE -> sha256 of everything that a run made and that must not depend on when it was made."""
    found = {}
    for stage in sorted((cwd / RUN / "stages").iterdir()):
        for path in sorted(stage.resolve().rglob("*")):
            name = path.relative_to(stage.resolve())
            # the embedded server's folder and TensorBoard's logs have dates in them
            if path.is_file() and path.name not in _DIFFER and name.parts[0] not in ("serving", "tensorboard"):
                content = path.read_bytes()
                if (stage.name, name.as_posix()) == ("measure", "artifacts.json"):
                    content = _without_times(content)
                found[f"{stage.name}/{name}"] = hashlib.sha256(content).hexdigest()
    return found


def _without_times(content: bytes) -> bytes:
    artifacts = json.loads(content)
    for artifact in artifacts:
        for run in (*artifact["runs"], *artifact["at_other_threads"]):
            # how a file starts is told in times, and in pages that the system has read ahead or not
            del run["latency"], run["startup"]
    return json.dumps(artifacts, sort_keys=True).encode()


def compare(whole: dict[str, str], killed: dict[str, str]) -> Comparison:
    """Compare what two runs made, file by file."""
    equal: dict[str, int] = {}
    for name in whole.keys() & killed.keys():
        if whole[name] == killed[name]:
            kind = Path(name).suffix or Path(name).name
            kind = ".data (variables)" if kind.startswith(".data-") else kind
            equal[kind] = equal.get(kind, 0) + 1
    different = sorted({name for name, _ in whole.items() ^ killed.items()})
    return Comparison(dict(sorted(equal.items())), tuple(different))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit code: 0 if the bytes are equal and nothing was left behind."""
    parser = argparse.ArgumentParser(prog="kills", description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=20, help="how many moments are drawn (default: 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--signal", choices=SIGNALS, default="KILL", help="what is sent (default: KILL, as kill -9)")
    parser.add_argument("--folder", type=Path, help="where the two runs are kept; default: a temporary folder")
    options, rest = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory(prefix="modelmill-kills-") as temporary:
        return _show(options, rest, options.folder or Path(temporary))


def _show(options: argparse.Namespace, rest: Sequence[str], folder: Path) -> int:
    recipe = [str(Path(word).absolute()) if Path(word).is_file() else word for word in rest]
    whole, killed = folder / "whole", folder / "killed"
    for cwd in (whole, killed):
        cwd.mkdir(parents=True)
    _say(f"a run that nobody touches: modelmill run {' '.join(rest)}")
    timeline, verdict = watch(recipe, whole)
    _say(f"  verdict {verdict} after {timeline.seconds:.1f} s")
    # what a trial of settings finds fastest depends on the machine's mood, and weights are the same given it
    for outcome in (whole / "runs/.store").glob("performance-*"):
        copy = killed / "runs/.store" / outcome.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(outcome, copy) if outcome.is_dir() else shutil.copy(outcome, copy)
    by, bad, late = SIGNALS[options.signal], 0, 0
    chance = random.Random(options.seed)
    moments = sorted(chance.uniform(0, timeline.seconds) for _ in range(options.kills))
    for number, seconds in enumerate(moments, 1):
        done = kill(recipe, killed, timeline.moment(seconds), timeline, by)
        wrong = problems(done, by)
        bad += bool(wrong)
        late += done.code in (0, 1)
        place = " ".join(done.moment.place[1:]) or "the start"
        _say(f"{number:3} SIG{options.signal} {seconds:6.1f} s: {done.moment.after_s:.2f} s after {place}"
             f" -> {done.code}{': ' if wrong else ''}{'; '.join(wrong)}")  # fmt: skip
    _, last = watch(recipe, killed)
    compared = compare(files(whole), files(killed))
    _say(f"  verdict {last} in the end\nequal files: {', '.join(f'{n} {kind}' for kind, n in compared.equal.items())}")
    for name in compared.different:
        _say(f"DIFFERENT: {name}")
    good = not bad and not compared.different
    if late:
        _say(f"{late} of the signals came when the run had ended")
    _say(f"{options.kills - late} kills: {'the same bytes as without any' if good else 'NOT as it should be'}")
    return 0 if good else 1


def problems(done: Kill, by: signal.Signals) -> list[str]:
    """Return what is wrong with how a run ended."""
    # a moment close to the end may come too late: then the run had ended well
    fine = (0, 1, -by) if by == signal.SIGKILL else (0, 1, 130)
    found = [] if done.code in fine else [f"exit code {done.code}: {done.stderr.strip()[-500:]}"]
    if "Traceback" in done.stderr:
        found.append(f"a traceback: {done.stderr.strip()[-500:]}")
    return [*found, *(f"left behind: {line}" for line in done.left)]


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
