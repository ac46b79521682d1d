from __future__ import annotations

from typing import Any

import pytest

from pipeline import recipe as recipes
from pipeline.compute.choose import choose
from pipeline.compute.config import Compute
from pipeline.compute.devices import Device, Found
from pipeline.errors import InputError, MissingError

CPU = Device("cpu", "a processor", "CPU:0", 16000)
V100 = tuple(Device("gpu", "V100", f"GPU:{place}", 16000, (7, 0)) for place in range(4))
K80 = Device("gpu", "K80", "GPU:0", 12000, (3, 7))
TPU = Device("tpu", "v4", "TPU:0")
NOTHING = Found(CPU, evidence={"gpus": [], "visible": None, "tpus": []})


def _choice(found: Found, **keys: Any) -> tuple[str, str, int, str]:
    choice = choose(Compute.model_validate(keys), found)
    return choice.accelerator, choice.strategy, len(choice.devices), choice.policy


@pytest.mark.parametrize(
    ("found", "keys", "wanted"),
    [
        (NOTHING, {}, ("cpu", "one_device", 1, "float32")),
        (NOTHING, {"strategy": "mirrored", "devices": 2}, ("cpu", "mirrored", 2, "float32")),
        (NOTHING, {"mixed_precision": "auto"}, ("cpu", "one_device", 1, "float32")),
        (Found(CPU, bfloat16=("amx_bf16",)), {"mixed_precision": "auto"}, ("cpu", "one_device", 1, "mixed_bfloat16")),
        (Found(CPU, V100[:1]), {}, ("gpu", "one_device", 1, "float32")),
        (Found(CPU, V100), {"mixed_precision": "auto"}, ("gpu", "mirrored", 4, "mixed_float16")),
        (Found(CPU, V100), {"devices": 2}, ("gpu", "mirrored", 2, "float32")),
        (Found(CPU, V100), {"accelerator": "cpu"}, ("cpu", "one_device", 1, "float32")),
        (Found(CPU, V100), {"strategy": "one_device"}, ("gpu", "one_device", 1, "float32")),
        (Found(CPU, (K80,)), {"mixed_precision": "auto"}, ("gpu", "one_device", 1, "float32")),
        (Found(CPU, V100, (TPU,)), {"mixed_precision": "auto"}, ("tpu", "tpu", 1, "mixed_bfloat16")),
    ],
)
def test_choice_is_what_is_there_when_the_recipe_says_auto_and_what_it_names_otherwise(
    found: Found, keys: dict[str, Any], wanted: tuple[str, str, int, str]
) -> None:
    assert _choice(found, **keys) == wanted


@pytest.mark.parametrize(
    ("found", "keys", "says"),
    [
        (NOTHING, {"accelerator": "gpu"}, "no GPU and no TPU is there"),
        (NOTHING, {"accelerator": "tpu"}, "neither /dev/accel"),
        (NOTHING, {"strategy": "tpu"}, "strategy: tpu"),
        (NOTHING, {"strategy": "tpu"}, "or strategy: auto"),
        (NOTHING, {"devices": 7}, "strategy: mirrored, which cuts"),
        (Found(CPU, evidence={"gpus": ["A100"], "visible": None}), {"accelerator": "gpu"}, "cannot use it"),
        (Found(CPU, evidence={"gpus": ["A100"], "visible": ""}), {"accelerator": "gpu"}, "CUDA_VISIBLE_DEVICES"),
        (Found(CPU, V100), {"devices": 8}, "devices: 4"),
        (NOTHING, {"mixed_precision": "float16"}, "needs a GPU"),
    ],
)
def test_choice_ends_with_exit_code_3_when_what_is_asked_for_is_not_there(
    found: Found, keys: dict[str, Any], says: str
) -> None:
    with pytest.raises(MissingError, match=says) as caught:
        choose(Compute.model_validate(keys), found)
    assert caught.value.exit_code == 3


def test_choice_says_why() -> None:
    said = choose(Compute(mixed_precision="auto"), Found(CPU, V100)).said
    assert said == (
        "trains on 4 x GPU (V100), mirrored, mixed_float16: 4 GPUs are there; the GPUs have units for float16"
    )


@pytest.mark.parametrize(
    ("assignments", "says"),
    [
        (["accelerator=cpu", "devices=2"], "the CPU is one device"),
        (["strategy=one_device", "devices=2"], "devices is 2, but strategy one_device"),
        (["learning_rate_scaling=linear"], "batch_sizes is global"),
        (["accelerator=cpu", "mixed_precision=float16"], "float16 is for GPUs"),
        (["accelerator=gpu", "mixed_precision=bfloat16"], "bfloat16 is for the CPU"),
        (["accelerator=gpu", "strategy=tpu"], "a TPU has the strategy tpu"),
    ],
)
def test_recipe_is_refused_when_its_keys_exclude_each_other(assignments: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        recipes.load("digits", assignments)


def test_off_without_quotes_is_off_in_a_recipe() -> None:
    assert recipes.load("digits", ["mixed_precision=off"]).compute.mixed_precision == "off"


@pytest.mark.parametrize(("keys", "workers"), [({"strategy": "mirrored", "devices": 2}, 1), ({}, 2)])
def test_xla_is_refused_before_anything_is_trained_when_replicas_share_steps_on_processors(
    keys: dict[str, Any], workers: int
) -> None:
    wanted = Compute.model_validate({**keys, "performance": {"xla": "on"}})
    with pytest.raises(InputError) as caught:
        choose(wanted, NOTHING, workers)
    assert "--set performance.xla=off on every process" in str(caught.value)
    assert "2 replicas" in str(caught.value)
    assert choose(Compute.model_validate({"performance": {"xla": "on"}}), NOTHING).strategy == "one_device"
