"""Measures a built image as `measure` does a SavedModel behind a server, and whether it starts warm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.attempt import Attempts
from pipeline.events import Emit
from pipeline.image import warm
from pipeline.image.context import VERSION
from pipeline.image.turns import Turns
from pipeline.measuring import runtimes
from pipeline.measuring.facts import Facts, Group, measure_all, put_to_the_test
from pipeline.measuring.quality import Qualities
from pipeline.measuring.runs import with_runs
from pipeline.measuring.runtimes import File
from pipeline.measuring.served import Served, Supply
from pipeline.predictor import rows
from pipeline.report.shipped import FirstRequest

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data import Splits
    from pipeline.isolate import Child
    from pipeline.measuring.measure_config import Config
    from pipeline.report.document import Artifact
    from serving.config import Protocol, ServingConfig, TargetName
    from serving.layout import Deployment
    from serving.target.interface import Server

NAME = "image"
PROTOCOLS: tuple[Protocol, ...] = ("grpc", "rest")


@dataclass(frozen=True)
class Started:
    """An image as a target that has its models already; see `serving.target.interface.Target`."""

    start_image: Callable[[Path], AbstractContextManager[Server]]
    name: TargetName = "docker"
    ours: bool = True

    def decisive(self) -> dict[str, str | None]:
        """Return nothing: no result is stored."""
        return {}

    def start(self, deployment: Deployment, work: Path) -> AbstractContextManager[Server]:  # noqa: ARG002
        """Start the image as it is; what is deployed is in it."""
        return self.start_image(work)


@dataclass(frozen=True)
class Question:
    """What is measured, and against what.

    Attributes:
        artifact: in the image; `file` is its SavedModel's folder, or its .tflite.
        reference: that drops and speed-ups are against; `reference_file` is its SavedModel's folder, above its version.
        keras: the folder of the artifact's stage.
        splits: the test split counts.
        config: the recipe's.
        serving: names the served model and the deadlines.
        work: folder for logs.
    """

    artifact: Artifact
    file: Path
    reference: Artifact
    reference_file: Path
    keras: Path
    splits: Splits
    config: Config
    serving: ServingConfig
    work: Path


def measured(
    asked: Question, image: Started, beside: Started | None, child: Child, emit: Emit
) -> tuple[Artifact, list[FirstRequest]]:
    """Return the artifact with the runs of the image, or an error, and the first request over each protocol.

    Args:
        beside: an image with the reference, for a speed-up against it; None where nothing asks for one.
    """
    return _Measuring(asked, image, beside, child, emit).all()


class _Measuring:
    def __init__(self, asked: Question, image: Started, beside: Started | None, child: Child, emit: Emit) -> None:
        self._asked, self._image, self._beside, self._child, self._emit = asked, image, beside, child, emit
        config, ids = asked.config, (asked.reference.id, asked.artifact.id) if beside else (asked.artifact.id,)
        self._how = (config.threads, config.batch_size)
        steps = 2 + len(PROTOCOLS) * (len(ids) + 2 + 1 + 1)
        self._facts = Facts(
            Attempts(NAME, "server", emit), asked.splits, config.batch_size, config.latency, steps
        )  # fmt: skip
        self._ids = ids
        self._starts = 0

    def all(self) -> tuple[Artifact, list[FirstRequest]]:
        asked, facts, name = self._asked, self._facts, self._asked.artifact.id
        tries: dict[Protocol, list[float]] = {protocol: [] for protocol in PROTOCOLS}
        with ExitStack() as held:
            supply = held.enter_context(self._supply())
            supply.launch()
            keras = self._expected()
            facts.step("first request over grpc")
            tries["grpc"] += self._first(supply, "grpc")
            groups = self._groups(supply, held)
            if name not in facts.attempts.errors:
                measure_all(groups, facts)
            for protocol in PROTOCOLS:
                guarded = asked.artifact.format == "saved_model"
                put_to_the_test(Served(supply, protocol), [name], facts, guarded=guarded)
        qualities = Qualities(asked.splits.spec, asked.splits.test.y, asked.config.resamples)
        item = with_runs(asked.artifact, asked.reference.id, groups, keras, facts, qualities)
        return item, self._warmth(item, tries)

    def _supply(self) -> Supply:
        return self._of(self._image, self._asked.artifact.id, self._asked.file)

    def _of(self, image: Started, name: str, file: Path) -> Supply:
        self._starts += 1
        work = self._asked.work / f"start-{self._starts}"
        return Supply(
            image, {name: file}, self._asked.serving, 0, self._child, work, self._emit, {name: VERSION}, stored=False
        )

    def _expected(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """Return the answers of the stage's Keras model, and keep those of the reference's file."""
        asked, facts = self._asked, self._facts
        spec, samples = asked.splits.spec, asked.splits.test.x
        facts.step(f"answers of {asked.artifact.stage}'s Keras model")
        keras = self._child.call(runtimes.answer_as_keras, asked.keras, samples, *self._how)
        facts.step(f"answers of {asked.reference.id}, in process")
        sources = {asked.reference.id: File("saved_model", asked.reference_file)}
        found = self._child.call(runtimes.answer, sources, spec, samples, *self._how)
        facts.answers[asked.reference.id, ""] = found[asked.reference.id]
        return {f"{asked.artifact.stage}.keras": keras}

    def _groups(self, supply: Supply, held: ExitStack) -> list[Group]:
        places = {protocol: Served(supply, protocol) for protocol in PROTOCOLS}
        if self._beside is None:
            return [Group(place, self._ids, None) for place in places.values()]
        other = self._asked.reference.id
        against = held.enter_context(self._of(self._beside, other, self._asked.reference_file))
        turns = [Turns(place, Served(against, protocol), other) for protocol, place in places.items()]
        return [Group(place, self._ids, other) for place in turns]

    def _first(self, supply: Supply, protocol: Protocol) -> list[float]:
        """Return the time of the first request to a fresh container, in ms; nothing where it failed."""
        name = self._asked.artifact.id
        if name in self._facts.attempts.errors:
            return []
        asked = partial(
            warm.first, spec=self._asked.splits.spec, sample=rows(self._asked.splits.test.x, slice(1))
        )  # fmt: skip
        found = self._facts.attempts.attempt(name, lambda: supply.call([name], protocol, asked))
        return [] if found is None else [found]

    def _warmth(self, item: Artifact, tries: dict[Protocol, list[float]]) -> list[FirstRequest]:
        """Return the first requests, each with as many fresh containers as it takes."""
        later = {run.protocol: single for run in item.runs if (single := run.single_stream()) and single.valid}
        if item.error or set(later) != set(PROTOCOLS):
            return []
        done = []
        for protocol in PROTOCOLS:
            if not tries[protocol]:
                self._facts.step(f"first request over {protocol}, of a fresh container")
            while True:
                if tries[protocol]:
                    single = later[protocol]
                    found = FirstRequest(
                        protocol=protocol, tries_ms=tries[protocol], p50_ms=single.p50_ms, p99_ms=single.p99_ms
                    )  # fmt: skip
                    if warm.is_known(found):
                        done.append(found)
                        break
                with self._supply() as supply:
                    more = self._first(supply, protocol)
                if not more:
                    return done
                tries[protocol] += more
        return done
