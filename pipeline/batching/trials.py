"""One search from its servers to its document."""

from __future__ import annotations

import importlib.metadata
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import data, machine
from pipeline.batching import document
from pipeline.batching.candidates import Candidate, padded, worth_a_try
from pipeline.batching.search import LAST, search
from pipeline.batching.servers import PERCENTILE, SAMPLES, Servers
from pipeline.batching.subject import Subject
from pipeline.bench.samples import RANDOM_SAID
from pipeline.events import Emit, Note, Progress
from pipeline.predictor import Samples, rows
from pipeline.report.model import Interval
from serving.client.endpoint import ENCODINGS
from serving.config import Protocol
from serving.target.choose import choose

if TYPE_CHECKING:
    from pipeline.measuring.load.plan import Load

_STAGE = "batching"
# of a rung, about: to meet the bound, to miss it, and what is between
_BLOCKS_A_SEARCH = 4
_LIBRARIES = ("tensorflow", "grpcio", "httpx", "mlcommons-loadgen")


def searched(
    subject: Subject, bound_ms: float, rate: float | None, protocol: Protocol, most: int, block_s: float, pairs: int,
    work: Path, emit: Emit,
) -> document.Search:  # fmt: skip
    """Search behind the subject's serving target.

    Args:
        bound_ms: of the p99.
        rate: arrivals per second that have to be met; None: as many as possible.
        most: candidates beside no batching.
        block_s: seconds of a block, at least.
        pairs: of searches in the end, >= 2.
        work: an empty folder for the servers' files.

    Raises:
        MissingError: there is no such target, or a port is taken.
        RunError: a server cannot load the model, or died.
    """
    begin = time.monotonic()
    target = choose(subject.serving, emit).target
    samples = _samples(subject)
    with Servers(
        target, subject.folder, subject.serving, protocol, samples, bound_ms, block_s, work / "servers", emit
    ) as servers:
        scaling = servers.scaling()
        single = scaling.at(1)
        some, left_out = worth_a_try(
            scaling, bound_ms / 1e3, rate, cores=machine.cores(), at_once=servers.at_once, most=most
        )
        if single * 1e3 > bound_ms:
            some, left_out = [], [f"a request that is alone takes {single * 1e3:.3g} ms already"]
        for line in left_out:
            emit(Note(_STAGE, f"not tried: {line}"))
        servers.tell_room(len(some) + 1)
        done, total = 0, _BLOCKS_A_SEARCH * (2 * len(some) + 2 * (pairs + 3))

        def measure(candidate: Candidate, rate_per_s: float, turn: int) -> Load:
            nonlocal done
            emit(Progress(_STAGE, "block", done, max(total, done + 1), item=f"{candidate.name} at {rate_per_s:.4g}/s"))
            done += 1
            return servers.measure(candidate, rate_per_s, turn)

        outcome = search(
            some, measure, start=rate or 0.5 / single, rate=rate, pairs=pairs, least=servers.least_rate_per_s,
            refine=padded if most > LAST else lambda _: (),
            tell=lambda text: emit(Note(_STAGE, text)),
        )  # fmt: skip
        facts = servers.described()
        cold = servers.left_out(outcome.finalist.candidate) if outcome.finalist else ()
    finalist, ratio = outcome.finalist, outcome.ratio
    return document.Search(
        modelmill=importlib.metadata.version("modelmill"), model=subject.name, rate_per_s=rate, bound_ms=bound_ms,
        percentile=PERCENTILE, protocol=protocol, concurrency=servers.concurrency, encoding=ENCODINGS[protocol],
        flags=subject.serving.flags,
        samples=RANDOM_SAID if samples is None else f"{SAMPLES} of the test split", target=target.name,
        server=facts["server"], threads=servers.threads, machine=machine.describe(_LIBRARIES),
        seconds=time.monotonic() - begin, scaling_ms={size: taken * 1e3 for size, taken in scaling.seconds},
        left_out=tuple(f"not tried: {line}" for line in left_out),
        trials=tuple(document.trial(one, rate) for one in outcome.arms), verdict=document.verdict(outcome, rate),
        finalist=finalist.candidate.name if finalist else None,
        max_rate_ratio=Interval(value=ratio[0], low=ratio[1], high=ratio[2]) if ratio else None, pairs=pairs,
        client_limited=document.client_limited([one for one in outcome.arms if one.finals]), warmup_left_out=cold,
    )  # fmt: skip


def _samples(subject: Subject) -> Samples | None:
    """Return raw samples of the run's test split, texts as strings; None where there is no run."""
    if subject.data is None:
        return None
    return rows(data.load(subject.data, subject.store, strings=True).test.x, slice(SAMPLES))
