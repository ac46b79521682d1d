"""Predictors that answer known logits after a known time, by counting and not by sleeping."""

from __future__ import annotations

import time

import numpy as np


class Busy:
    """Answers ones after `microseconds` of work, for the whole batch; counts its calls."""

    def __init__(self, microseconds: float) -> None:
        self.nanoseconds = int(microseconds * 1000)
        self.calls = 0
        self.batches: set[int] = set()

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        end = time.perf_counter_ns() + self.nanoseconds
        self.calls += 1
        self.batches.add(len(batch))
        while time.perf_counter_ns() < end:
            pass
        return {"logits": np.ones((len(batch), 3), np.float32)}

    def close(self) -> None:
        pass


class Fixed(Busy):
    """Answers the outputs it was given."""

    def __init__(self, outputs: dict[str, np.ndarray]) -> None:
        super().__init__(0)
        self.outputs = outputs

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        super().predict(batch)
        return self.outputs


class Failing(Busy):
    """Raises `error` at its n-th call."""

    def __init__(self, error: BaseException, call: int) -> None:
        super().__init__(20)
        self.error, self.call = error, call

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        outputs = super().predict(batch)
        if self.calls == self.call:
            raise self.error
        return outputs
