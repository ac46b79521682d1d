"""A gate as report.json has it."""

from __future__ import annotations

from pipeline.config import Frozen


class Gate(Frozen):
    """A limit, what was found, and what to try where it was missed.

    `upper`: the limit is the highest value that is allowed, else the lowest. `message` says all in a line; `todo` is
    its last part, what to try, and empty where the gate passed.
    """

    name: str
    artifact: str
    limit: float
    value: float | None
    low: float | None
    high: float | None
    passed: bool
    message: str
    upper: bool = False
    unit: str = ""
    todo: str = ""

    @property
    def word(self) -> str:
        """What it is called: "pass", "fail", or "not measured" where nothing was found that could be compared."""
        return "pass" if self.passed else "fail" if self.value is not None else "not measured"
