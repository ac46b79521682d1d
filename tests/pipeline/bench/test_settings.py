"""The command's options, and those that do not go together."""

from __future__ import annotations

import pytest

from pipeline.bench import settings
from pipeline.bench.settings import Settings
from pipeline.errors import InputError


def test_scenarios_come_in_their_own_order() -> None:
    assert settings.scenarios("offline, single-stream") == ("single-stream", "offline")


@pytest.mark.parametrize("text", ["", "offline,fast"])
def test_scenario_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="no such scenario"):
        settings.scenarios(text)


def test_scenario_with_a_slip_is_told_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        settings.scenarios("singel-stream,offline")
    assert caught.value.todo == "did you mean single-stream?"


def test_concurrency_is_from_1_to_64() -> None:
    assert settings.concurrency("16,1,4,4") == (1, 4, 16)
    for text in ("0", "65", "a", "", "-1"):
        with pytest.raises(InputError, match="numbers from 1 to 64"):
            settings.concurrency(text)


def test_shapes_are_read_and_others_refused() -> None:
    assert settings.shapes(["input:0=1,224,224,3"]) == {"input:0": (1, 224, 224, 3)}
    for text in ("1,2", "a=", "a=1,0", "a=1,-2"):
        with pytest.raises(InputError, match="--shape"):
            settings.shapes([text])


@pytest.mark.parametrize(
    ("scenarios", "changes", "words"),
    [
        (("server",), {}, "the server scenario needs a bound"),
        (("offline",), {"bound_ms": 5.0}, "are for the server scenario"),
        (("offline",), {"rate_per_s": 5.0}, "are for the server scenario"),
        (("single-stream",), {"concurrency": (4,)}, "one query at a time"),
    ],
)
def test_options_without_their_scenario_are_refused(
    scenarios: tuple[settings.ScenarioName, ...], changes: dict[str, object], words: str
) -> None:
    given: dict[str, object] = {
        "scenarios": scenarios, "batch": 8, "concurrency": (1,), "threads": 1, "blocks": 5, "duration_s": 0.1,
        "seed": 0,
    }  # fmt: skip
    with pytest.raises(InputError, match=words):
        settings.check(Settings(**given | changes))  # type: ignore[arg-type]
