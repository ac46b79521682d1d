"""Which processes train together: by options, TF_CONFIG, Slurm and Kubernetes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.compute import cluster
from pipeline.compute.cluster import Workers, find, wanted
from pipeline.errors import InputError, MissingError

SLURM = {
    "SLURM_JOB_ID": "2003", "SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_NODELIST": "n[01-02]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1", "SLURM_PROCID": "2", "SLURM_NODEID": "1", "SLURM_LOCALID": "0",
}  # fmt: skip
KUBERNETES = {
    "MODELMILL_WORKERS": "2", "MODELMILL_SERVICE": "digits", "JOB_COMPLETION_INDEX": "1", "HOSTNAME": "digits-train-1"
}  # fmt: skip


def tf_config(cluster: dict[str, Any], kind: str, index: int) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_options_name_the_workers() -> None:
    found = find({}, "a:1, [::1]:2", 1)
    assert found == Workers(("a:1", "[::1]:2"), 1, cluster.OPTIONS)
    assert not found.first
    assert found.name(0) == "worker 0 (a:1)"


@pytest.mark.parametrize(
    ("environment", "addresses", "index"),
    [
        (tf_config({"worker": ["a:1", "b:1"]}, "worker", 1), ("a:1", "b:1"), 1),
        (tf_config({"chief": ["c:1"], "worker": ["a:1"]}, "worker", 0), ("c:1", "a:1"), 1),
        (tf_config({"chief": ["c:1"], "worker": ["a:1"], "evaluator": ["e:1"]}, "chief", 0), ("c:1", "a:1"), 0),
        (SLURM, ("n01:12030", "n01:12031", "n02:12030"), 2),
        (SLURM | {"MODELMILL_PORT": "5000"}, ("n01:5000", "n01:5001", "n02:5000"), 2),
        (KUBERNETES, ("digits-train-0.digits:12345", "digits-train-1.digits:12345"), 1),
    ],
    ids=["workers", "chief-and-worker", "chief", "slurm", "slurm-port", "kubernetes"],
)
def test_environment_names_the_workers(environment: dict[str, str], addresses: tuple[str, ...], index: int) -> None:
    found = find(environment)
    assert found is not None
    assert (found.addresses, found.index) == (addresses, index)


@pytest.mark.parametrize(
    "environment",
    [
        {}, {"TF_CONFIG": ""}, {"TF_CONFIG": "{}"}, tf_config({"worker": ["a:1"]}, "worker", 0),
        {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_JOB_NODELIST": "n[1-4]"},
        SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, {"JOB_COMPLETION_INDEX": "3", "HOSTNAME": "trials-3"},
    ],
    ids=["nothing", "empty", "empty-json", "one-worker", "slurm-batch-script", "slurm-one-task", "indexed-job"],
)  # fmt: skip
def test_process_trains_alone_when_nothing_names_others(environment: dict[str, str]) -> None:
    assert find(environment) is None


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("n1", ["n1"]),
        ("n[1-2],m5,o[3-4,6,07-9]", ["n1", "n2", "m5", "o3", "o4", "o6", "o07", "o08", "o09"]),
        ("r[0-1]n[8-9]x", ["r0n8x", "r0n9x", "r1n8x", "r1n9x"]),
    ],
)
def test_list_of_nodes_is_expanded(listed: str, names: list[str]) -> None:
    assert cluster.expanded(listed) == names


@pytest.mark.parametrize("listed", ["", "n[1-2", "n[a]", "n[5-3]", "n1,,n2", "n[0-999999999]"])
def test_what_is_no_list_of_nodes_is_refused(listed: str) -> None:
    with pytest.raises(InputError, match=r"SLURM_STEP_NODELIST is no list of nodes(.|\n)*such as node\[01-03,7\]"):
        cluster.expanded(listed)


@pytest.mark.parametrize(
    ("environment", "addresses", "index", "words"),
    [
        ({}, "a:1", None, "--workers alone"),
        ({}, None, 0, "--worker alone"),
        ({}, "a:1,b:2", 2, "there is no worker 2"),
        ({}, "a:1,b:2", -1, "0 to 1"),
        ({}, "a:1,a:1", 0, "names a:1 twice"),
        ({}, "a:1,b", 0, "b is no address"),
        ({}, "a:1,b:http", 0, "b:http is no address"),
        ({}, "a:1,b:65536", 0, "b:65536 is no address"),
        ({}, "a:1,,b:2", 0, "an empty one is no address"),
        ({}, "a:1", 0, "names one worker"),
        ({"TF_CONFIG": "worker 0"}, None, None, "TF_CONFIG is not JSON"),
        ({"TF_CONFIG": "[1]"}, None, None, "TF_CONFIG does not say"),
        ({"TF_CONFIG": '{"cluster": {"worker": "a:1"}}'}, None, None, "TF_CONFIG does not say"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}}'}, None, None, "task: null"),
        (tf_config({"worker": ["a:1", "b:1"]}, "worker", 2), None, None, "task.index 2, and cluster.worker has 2"),
        (tf_config({"worker": ["a:1"], "ps": ["b:1"]}, "worker", 0), None, None, "cluster.ps"),
        (tf_config({"worker": ["a:1", "a:1"]}, "worker", 0), None, None, "TF_CONFIG names a:1 twice"),
        (tf_config({"worker": ["a:x", "b:1"]}, "worker", 0), None, None, "a:x is no address"),
        (tf_config({"worker": ["a:1"], "evaluator": ["e:1"]}, "evaluator", 0), None, None, "an evaluator"),
        (tf_config({"worker": ["a:1", "b:1"]}, "worker", 1), "a:1,b:1", 0, "name different workers"),
        (SLURM | {"SLURM_PROCID": "3"}, None, None, "there is no worker 3"),
        (SLURM | {"SLURM_PROCID": "x"}, None, None, "SLURM_PROCID is no number"),
        (SLURM | {"SLURM_STEP_TASKS_PER_NODE": "1(x2)"}, None, None, "do not fit together"),
        (SLURM | {"SLURM_NODEID": "0"}, None, None, "--distribution=block"),
        (KUBERNETES | {"JOB_COMPLETION_INDEX": ""}, None, None, "JOB_COMPLETION_INDEX is not"),
        (KUBERNETES | {"HOSTNAME": "digits-train-x7"}, None, None, "does not end with its index"),
        (KUBERNETES | {"MODELMILL_WORKERS": "two"}, None, None, "MODELMILL_WORKERS is no number"),
        (KUBERNETES | {"MODELMILL_WORKERS": "3", "JOB_COMPLETION_INDEX": "3", "HOSTNAME": "t-3"}, None, None,
         "there is no worker 3"),
    ],
)  # fmt: skip
def test_workers_that_do_not_fit_are_one_message(
    environment: dict[str, str], addresses: str | None, index: int | None, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        find(environment, addresses, index)
    assert words in str(caught.value)
    assert caught.value.expected


def test_options_and_tf_config_may_say_the_same() -> None:
    found = find(tf_config({"worker": ["a:1", "b:1"]}, "worker", 1), "a:1,b:1", 1)
    assert found is not None
    assert found.index == 1


def test_strategy_of_the_recipe_decides_whether_workers_are_used() -> None:
    said, config = find({}, "a:1,b:1", 1), find(tf_config({"worker": ["a:1", "b:1"]}, "worker", 1))
    assert wanted("auto", said) is said
    assert wanted("multi_worker", config) is config
    assert wanted("one_device", None) is None
    assert wanted("one_device", config) is None
    with pytest.raises(InputError, match="names 2 workers, and the recipe's strategy is mirrored"):
        wanted("mirrored", said)
    with pytest.raises(MissingError, match="asks for several workers") as caught:
        wanted("multi_worker", None)
    assert caught.value.exit_code == 3
