"""What runs in the measuring process: a target's model is loaded once, and each block is one call."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.bench import samples as sampling
from pipeline.bench.samples import Given
from pipeline.errors import RejectedError, ServerError
from pipeline.measuring import conditions, latency, runtimes, turns
from pipeline.measuring.block import Plan as Block
from pipeline.measuring.latency_config import LatencyConfig
from pipeline.measuring.load import run as loading
from pipeline.measuring.load import search as searching
from pipeline.measuring.load.plan import Load, Plan
from pipeline.measuring.load.workers import Workers
from pipeline.measuring.source import File, Source
from pipeline.predictor import Predictor, Samples, count, rows
from pipeline.signature import Signature
from serving.client import endpoint
from serving.client.endpoint import Endpoint
from serving.client.monitoring import Watch


@dataclass(frozen=True)
class Subject:
    """What a target is to the measuring process; hashable and picklable.

    Attributes:
        metrics: address of the Prometheus page of the server that is asked; None: there is none.
        data: as --data; None: random values.
        shapes: (input, whole shape) for what the signature leaves open.
    """

    name: str
    source: Source
    threads: int
    seed: int
    metrics: str | None = None
    data: str | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True)
class Introduction:
    """What a model says of itself, and what is asked of it.

    Attributes:
        one_by_one: it takes no batch: one is asked as so many requests, one after the other.
        version: of a served model, the one that answers; None: of a file, or the server does not say.
    """

    signature: Signature
    samples: str
    one_by_one: bool
    version: int | None = None


class OneByOne:
    """Asks a model that takes one sample at a time, or one whole set of inputs, for each sample of a batch.

    Args:
        predictor: the model.
        whole: its inputs have no batch dimension of their own.
    """

    def __init__(self, predictor: Predictor, *, whole: bool) -> None:
        self._predictor, self._whole = predictor, whole

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """See `Predictor.predict`; of a model without a batch dimension the outputs get one in front."""
        answers = [self._one(batch, place) for place in range(count(batch))]
        if len(answers) == 1:
            return answers[0]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _one(self, batch: Samples, place: int) -> dict[str, np.ndarray]:
        if not self._whole:
            return self._predictor.predict(rows(batch, slice(place, place + 1)))
        given = (
            {name: one[place, ...] for name, one in batch.items()} if isinstance(batch, Mapping) else batch[place, ...]
        )
        return {name: np.asarray(answer)[None] for name, answer in self._predictor.predict(given).items()}

    def close(self) -> None:
        """Close the model."""
        self._predictor.close()


_signatures: dict[Source, Signature] = {}
_given: dict[Subject, Given] = {}
_predictors: dict[Subject, Predictor] = {}
_one_by_one: dict[Subject, bool] = {}
_watches: dict[Subject, Watch] = {}
_workers: dict[tuple[Subject, int], Workers] = {}


def introduce(subject: Subject) -> Introduction:
    """Load the model, choose its samples and ask it once.

    Raises:
        InputError: no samples can be had for it.
        ModelmillError: as the runtime's `load` and the client's `connect`; and whatever the model raises.
    """
    signature, given = _signature(subject), _samples(subject)
    _predictor(subject).predict(rows(given.samples, slice(1)))
    return Introduction(signature, given.said, one_by_one(subject), version(subject))


def version(subject: Subject) -> int | None:
    """Return which version of a served model answers now, None of a file or where the server does not say."""
    return endpoint.version(subject.source) if isinstance(subject.source, Endpoint) else None


def plan(subject: Subject, config: LatencyConfig, batch: int) -> Block:
    """Warm a model up, and return its blocks' plan."""
    stop = threading.Event()

    def warm_up() -> int:
        return turns.warm_up(
            subject.name, _predictor(subject), _samples(subject).samples, batch, config.warmup_queries, stop, ends=()
        )

    return latency.plan(config, batch, conditions.in_thread(warm_up, stop))


def turn(subject: Subject, block: Block, warmup: int) -> turns.Turn:
    """Run one block of SingleStream or MultiStream."""
    generate, _ = latency.generator()
    stop, predictor, given, watch = threading.Event(), _predictor(subject), _samples(subject).samples, _watch(subject)
    return conditions.in_thread(
        lambda: turns.run(subject.name, predictor, given, block, generate, stop, warmup=warmup, watch=watch), stop
    )


def load(subject: Subject, block: Plan) -> Load:
    """Run one block of Server or Offline."""
    return loading.block(workers(subject, block.concurrency), block)


def trial(subject: Subject, block: Plan) -> Load:
    """Run one block of a search for the highest rate."""
    return searching.trial(workers(subject, block.concurrency), block)


def a_start(subject: Subject, concurrency: int) -> float:
    """Return a rate that a search begins with."""
    return searching.a_start(workers(subject, concurrency))


def workers(subject: Subject, concurrency: int) -> Workers:
    """Return the workers of a target; those of another number are ended, as they hold its memory."""
    key = subject, concurrency
    if key not in _workers:
        for other in [other for other in _workers if other[0] == subject]:
            _workers.pop(other).close()
        _workers[key] = Workers(
            subject.name,
            lambda: _fresh(subject),
            concurrency,
            _samples(subject).samples,
            ends=(),
            watch=_watch(subject),
        )
    return _workers[key]


def close_workers() -> None:
    """End all workers: what is measured next is measured without them."""
    while _workers:
        _workers.popitem()[1].close()


def disconnect() -> None:
    """End the workers and the clients of servers, which are about to end."""
    close_workers()
    for subject in [subject for subject in _predictors if isinstance(subject.source, Endpoint)]:
        _predictors.pop(subject)
    runtimes.hang_up()


def _samples(subject: Subject) -> Given:
    if subject not in _given:
        signature, shapes = _signature(subject), dict(subject.shapes)
        named = {name: shape for name, shape in shapes.items() if name in signature.names}
        _given[subject] = (
            sampling.random(signature, named, subject.seed)
            if subject.data is None
            else sampling.of_data(subject.data, signature, named)
        )
    return _given[subject]


def _signature(subject: Subject) -> Signature:
    if subject.source not in _signatures:
        _signatures[subject.source] = runtimes.signature(subject.source, subject.threads)
    return _signatures[subject.source]


def _predictor(subject: Subject) -> Predictor:
    if subject not in _predictors:
        _predictors[subject] = _by_itself(subject, runtimes.load(subject.source, None, subject.threads))
    return _predictors[subject]


def _fresh(subject: Subject) -> Predictor:
    return _by_itself(subject, runtimes.fresh(subject.source, None, subject.threads))


def _watch(subject: Subject) -> Watch | None:
    if subject.metrics is None or not isinstance(subject.source, Endpoint):
        return None
    if subject not in _watches:
        _watches[subject] = Watch(subject.metrics, subject.source.model, subject.source.protocol)
    return _watches[subject]


def _by_itself(subject: Subject, predictor: Predictor) -> Predictor:
    batch = _signature(subject).batch
    tflite = isinstance(subject.source, File) and subject.source.form == "tflite"
    if not one_by_one(subject) or (batch == 1 and tflite):  # which does so by itself
        return predictor
    return OneByOne(predictor, whole=batch != 1)


def one_by_one(subject: Subject) -> bool:
    """Return whether a batch has to be asked as so many requests."""
    if subject not in _one_by_one:
        batch = _signature(subject).batch
        _one_by_one[subject] = batch is not None and not (batch == 1 and _takes_two(subject))
    return _one_by_one[subject]


def _takes_two(subject: Subject) -> bool:
    """Return whether a server that tells a batch of one takes more.

    TF Serving tells the batch that a .tflite has, and resizes it to any.
    """
    if not isinstance(subject.source, Endpoint):
        return False
    samples = _samples(subject).samples
    two = turns.take(samples, [0, min(1, count(samples) - 1)])
    try:
        answers = runtimes.load(subject.source, None, subject.threads).predict(two)
    except (RejectedError, ServerError):
        return False
    return bool(answers) and all(answer.ndim > 0 and len(answer) == 2 for answer in answers.values())
