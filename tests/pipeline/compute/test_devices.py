"""What of the devices decides a result: as much as makes another one, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.compute import devices
from pipeline.compute.config import Compute


def _decisive(**keys: Any) -> dict[str, Any]:
    return devices.decisive(Compute.model_validate(keys))


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in range(2):
        (tmp_path / "gpus" / str(place)).mkdir(parents=True)
        text = "Model: \t\t NVIDIA A100\nIRQ:   \t\t 24\n"
        (tmp_path / "gpus" / str(place) / "information").write_text(text, encoding="utf-8")
    monkeypatch.setattr(devices, "_DRIVER", tmp_path / "gpus")
    monkeypatch.setattr(devices, "_NODES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("TPU_NAME", raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_which_gpu_a_scheduler_gives_decides_nothing_and_how_many_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _decisive() == {"gpus": ["NVIDIA A100"] * 2, "tpus": 0}
    given = []
    for name in ("0", "1", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", name)
        given.append(_decisive())
    assert given == [{"gpus": ["NVIDIA A100"], "tpus": 0}] * 3


@pytest.mark.usefixtures("two_gpus")
def test_accelerators_decide_nothing_when_the_recipe_asks_for_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPU_NAME", "mine")
    assert _decisive(accelerator="cpu") == {}


@pytest.mark.usefixtures("two_gpus")
def test_name_of_a_tpu_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for name in ("mine", "yours"):
        monkeypatch.setenv("TPU_NAME", name)
        found.append(_decisive())
    assert found[0] == found[1] == {"gpus": ["NVIDIA A100"] * 2, "tpus": 1}


def test_instructions_for_bfloat16_decide_when_the_precision_is_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "bfloat16", lambda: ("amx_bf16",))
    assert _decisive(accelerator="cpu", mixed_precision="auto") == {"bfloat16": ["amx_bf16"]}
    assert "bfloat16" not in _decisive(mixed_precision="off")


@pytest.mark.parametrize(
    ("wanted", "left"),
    [(None, ["A", "B", "B"]), ("", []), ("-1", []), ("2", ["B"]), ("2,0", ["B", "A"]), ("0, 1", ["A", "B"]),
     ("0,7,1", ["A"]), ("NoDevFiles", []), ("GPU-1,GPU-2", ["one of several models"] * 2)],
)  # fmt: skip
def test_gpus_that_a_variable_leaves_are_what_cuda_makes_of_it(wanted: str | None, left: list[str]) -> None:
    assert devices.visible(["A", "B", "B"], wanted) == left
