"""Two jobs of two workers over the same stores, in threads: one makes what both want, and none waits for ever."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.again import Again
from pipeline.artifact import Artifact, Basis, Store, fingerprint
from pipeline.claim import claim
from pipeline.compute.cluster import Workers
from pipeline.compute.meeting import join
from pipeline.walk import Walk
from tests.pipeline.compute.ports import free

BASIS: Basis = {"settings": {}, "inputs": {}, "code": {}, "versions": {}, "surroundings": {}}
KEY = fingerprint(BASIS)


class Late(Store):
    """A store that its run looks into late."""

    def find_or_own(self, *arguments: Any, **options: Any) -> Any:
        time.sleep(0.3)
        return super().find_or_own(*arguments, **options)


def make(store: Store) -> None:
    made, _ = store.begin("train", KEY, afresh=False)
    (made / "model").write_text("weights", encoding="utf-8")
    store.commit({"stage": "train", "fingerprint": KEY, "basis": BASIS, "seconds": 0, "metrics": {}}, made)


@pytest.mark.parametrize("stored", [False, True], ids=["nobody has it", "worker 0 alone has it"])
def test_two_jobs_over_the_same_stores_end_and_only_one_of_them_makes_it(tmp_path: Path, stored: bool) -> None:
    folders = (tmp_path / "store", tmp_path / "store" / "worker-1")
    if stored:
        make(Store(folders[0]))
    told = queue.SimpleQueue[tuple[int, int, bool]]()

    def work(job: int, index: int, addresses: tuple[str, ...]) -> None:
        # the first job takes worker 0's lock first, the second job that of worker 1
        store = (Store if job == index else Late)(folders[index])
        walk = Walk(store, Again(tmp_path / f"again-{job}-{index}", None))
        walk.meeting = join(Workers(addresses, index, "test"), wait_s=20)
        ready.wait(20)
        with walk.held:
            ours = claim("train", BASIS, {}, walk, lambda _: None, anew=False, forced=False)
            makes = not isinstance(ours.found, Artifact)
            if makes:
                assert ours.lacking == (stored and index == 0)
                make(store)
                ours.lock.share(ours.waiting)
            # as the stages that come after it
            walk.meeting.gather(None)
        told.put((job, index, makes))

    ready = threading.Barrier(4)
    for job in range(2):
        addresses = free(2)
        for index in range(2):
            threading.Thread(target=work, args=(job, index, addresses), daemon=True).start()
    done = sorted(told.get(timeout=20) for _ in range(4))
    makers = {job for job, _, makes in done if makes}
    assert len(makers) == 1
    assert [makes for _, _, makes in done] == [job in makers for job in (0, 0, 1, 1)]
