"""Which processes train together, and which of them this one is: from options or the environment, without TensorFlow.

Four ways to say it, of which the first is asked first:

    --workers HOST:PORT,... --worker INDEX
    TF_CONFIG                              {"cluster": {"worker": [...]}, "task": {"type": "worker", "index": 0}}
    a step of Slurm (srun)                 SLURM_STEP_NODELIST, SLURM_STEP_TASKS_PER_NODE, SLURM_PROCID
    an Indexed Job of Kubernetes           JOB_COMPLETION_INDEX, MODELMILL_WORKERS (how many), MODELMILL_SERVICE
                                           (the headless service that its pods have as their subdomain)

MODELMILL_PORT is the port of Slurm's and Kubernetes' workers. A job of one process has no workers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import InputError, MissingError

OPTIONS = "--workers and --worker"
PORT = 12345
WAIT_S = 300.0

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+):(\d+)")
# a node of Slurm's lists: a name, in which a group of numbers may stand in brackets
_NODE = re.compile(r"(?:[^,\[\]]|\[[^\[\]]*\])+")
# below the ports that Linux gives to whoever asks for any
_SLURM_PORTS = range(12000, 32000, 10)


@dataclass(frozen=True)
class Workers:
    """The processes that train together.

    Attributes:
        addresses: HOST:PORT of each, at which the others reach it; at least two, worker 0 first.
        index: which of them this process is.
        source: who says so.
    """

    addresses: tuple[str, ...]
    index: int
    source: str

    @property
    def first(self) -> bool:
        """Whether this is worker 0, which exports, measures and reports."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Return what a worker is called in messages."""
        return f"worker {index} ({self.addresses[index]})"


def find(environment: Mapping[str, str], addresses: str | None = None, index: int | None = None) -> Workers | None:
    """Return the workers of a job; None: this process trains alone.

    Args:
        environment: the process's.
        addresses: what --workers says: HOST:PORT,...
        index: what --worker says.

    Raises:
        InputError: what says it is wrong in itself, or two that say it differ.
    """
    said = _options(addresses, index)
    config = _tf_config(environment)
    if said and config and (said.addresses, said.index) != (config.addresses, config.index):
        raise InputError(
            f"{OPTIONS} and TF_CONFIG name different workers",
            expected=f"one of them, or both the same: {', '.join(config.addresses)}, this one being {config.index}",
            found=f"{', '.join(said.addresses)}, this one being {said.index}",
            todo="leave the options out, or unset TF_CONFIG",
        )
    return said or config or _slurm(environment) or _kubernetes(environment)


def wanted(strategy: str, found: Workers | None) -> Workers | None:
    """Return the workers that a recipe trains with, by its key strategy.

    Raises:
        InputError: the options name workers, and the recipe has another strategy.
        MissingError: the recipe asks for several workers, and nobody names them.
    """
    if strategy == "multi_worker" and found is None:
        raise MissingError(
            "the recipe asks for several workers (strategy: multi_worker), and nothing names them",
            expected="--workers HOST:PORT,... and --worker INDEX, TF_CONFIG, a step of Slurm with several tasks, or "
            "MODELMILL_WORKERS in an Indexed Job of Kubernetes",
            found="none of them",
            todo="name them; in a batch script of Slurm start the command with srun",
        )
    if found is None or strategy in ("auto", "multi_worker"):
        return found
    if found.source == OPTIONS:
        raise InputError(
            f"--workers names {len(found.addresses)} workers, and the recipe's strategy is {strategy}",
            expected="strategy: auto or multi_worker", found=strategy, todo="--set strategy=auto, or no --workers",
        )  # fmt: skip
    return None


def _options(addresses: str | None, index: int | None) -> Workers | None:
    if addresses is None and index is None:
        return None
    if addresses is None or index is None:
        raise InputError(
            "several workers need both options", expected="--workers HOST:PORT,... and --worker INDEX",
            found="--workers alone" if index is None else "--worker alone",
            todo="give every worker the same --workers, and each its own --worker, counted from 0",
        )  # fmt: skip
    return _checked([one.strip() for one in addresses.split(",")], index, OPTIONS, "--workers", "--worker")


def _checked(addresses: Sequence[str], index: int, source: str, listed: str, chosen: str) -> Workers:
    """Return the workers; `listed` and `chosen` are what the messages call the list and the index."""
    for one in addresses:
        match = _ADDRESS.fullmatch(one)
        if not match or not 0 < int(match.group(2)) < 65536:
            raise InputError(
                f"{listed}: {one or 'an empty one'} is no address", expected="HOST:PORT, the port from 1 to 65535",
                found=one or "nothing", todo="for example 10.0.0.5:12345; IPv6 in brackets: [fd00::5]:12345",
            )  # fmt: skip
    twice = sorted({one for one in addresses if addresses.count(one) > 1})
    if twice:
        raise InputError(
            f"{listed} names {', '.join(twice)} twice", expected="another address for each worker",
            found=", ".join(addresses), todo="two workers on one machine need two ports",
        )  # fmt: skip
    if len(addresses) < 2 and source == OPTIONS:
        raise InputError(
            f"{listed} names one worker", expected="two or more addresses", found=", ".join(addresses),
            todo=f"leave {OPTIONS} out to train with this process alone",
        )  # fmt: skip
    if not 0 <= index < len(addresses):
        raise InputError(
            f"{chosen}: there is no worker {index}",
            expected=f"0 to {len(addresses) - 1}, a place in {listed}, which names {len(addresses)}", found=str(index),
        )  # fmt: skip
    return Workers(tuple(addresses), index, source)


def _several(workers: Workers) -> Workers | None:
    return workers if len(workers.addresses) > 1 else None


def _tf_config(environment: Mapping[str, str]) -> Workers | None:
    text = environment.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise InputError(
            "TF_CONFIG is not JSON", expected=_TF_CONFIG, found=str(error), todo="correct it, or unset TF_CONFIG"
        ) from None
    cluster = config.get("cluster", {}) if isinstance(config, dict) else None
    if not isinstance(cluster, dict) or not all(_is_list(group) for group in cluster.values()):
        raise _wrong(f"cluster: {json.dumps(cluster)}")
    if not cluster:
        return None
    strange = sorted(set(cluster) - {"chief", "master", "worker", "evaluator"})
    if strange:
        raise _wrong(
            f"cluster.{strange[0]}: this trains by MultiWorkerMirroredStrategy, whose jobs are chief and worker"
        )
    chiefs = [*cluster.get("chief", ()), *cluster.get("master", ())]
    addresses = [*chiefs, *cluster.get("worker", ())]
    task = config.get("task")
    kind, index = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    if kind == "evaluator":
        raise InputError(
            "TF_CONFIG makes this process an evaluator, and there is nothing for it to do",
            expected="chief or worker: worker 0 measures what was trained", found="task.type evaluator",
            todo="start no evaluator",
        )  # fmt: skip
    if kind not in ("chief", "master", "worker") or not isinstance(index, int) or isinstance(index, bool):
        raise _wrong(f"task: {json.dumps(task)}")
    members = cluster.get(kind, ())
    if not 0 <= index < len(members):
        raise _wrong(f"task.index {index}, and cluster.{kind} has {len(members)}")
    place = index + (len(chiefs) if kind == "worker" else 0)
    return _several(_checked(addresses, place, "TF_CONFIG", "TF_CONFIG", "TF_CONFIG's task.index"))


_TF_CONFIG = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'


def _wrong(found: str) -> InputError:
    return InputError(
        "TF_CONFIG does not say which workers there are", expected=_TF_CONFIG, found=found,
        todo="correct it, or unset TF_CONFIG to train with this process alone",
    )  # fmt: skip


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _slurm(environment: Mapping[str, str]) -> Workers | None:
    """Return the tasks of a step of Slurm; a batch script itself is no step, and one task is no job of several."""
    if "SLURM_STEP_NUM_TASKS" not in environment:
        return None
    count = _number(environment, "SLURM_STEP_NUM_TASKS")
    if count < 2:
        return None
    listed = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    nodes = expanded(listed)
    tasks = _tasks(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    if len(tasks) != len(nodes) or sum(tasks) != count:
        raise InputError(
            "Slurm's variables do not fit together",
            expected=f"{count} tasks (SLURM_STEP_NUM_TASKS) on {', '.join(nodes) or 'some nodes'}",
            found=f"SLURM_STEP_TASKS_PER_NODE={environment.get('SLURM_STEP_TASKS_PER_NODE', 'unset')}",
            todo="start the command with srun, or name the workers by --workers and --worker",
        )
    job = _number(environment, "SLURM_JOB_ID") if "SLURM_JOB_ID" in environment else 0
    derived = _SLURM_PORTS[job % len(_SLURM_PORTS)]
    port = _number(environment, "MODELMILL_PORT") if "MODELMILL_PORT" in environment else derived
    places = [(node, local) for node, held in enumerate(tasks) for local in range(held)]
    index = _number(environment, "SLURM_PROCID")
    workers = _checked(
        [f"{nodes[node]}:{port + local}" for node, local in places], index, "Slurm", "SLURM_STEP_NODELIST",
        "SLURM_PROCID",
    )  # fmt: skip
    mine = tuple(_number(environment, key) for key in ("SLURM_NODEID", "SLURM_LOCALID") if key in environment)
    if len(mine) == 2 and mine != places[index]:
        raise InputError(
            "Slurm numbers the tasks across the nodes, and not node by node",
            expected=f"task {index} as number {places[index][1]} on node {places[index][0]}",
            found=f"number {mine[1]} on node {mine[0]}", todo="srun --distribution=block",
        )  # fmt: skip
    return workers


def expanded(listed: str) -> list[str]:
    """Return the names in a list of Slurm's such as "n[1-2],m5,o[03-04,7]b[0-1]", in its order.

    Raises:
        InputError: it is no such list.
    """
    if not re.fullmatch(rf"{_NODE.pattern}(,{_NODE.pattern})*", listed):
        raise _no_list(listed)
    return [name for one in _NODE.findall(listed) for name in _names(one, listed)]


def _names(one: str, listed: str) -> list[str]:
    match = re.search(r"\[([^\]]*)\]", one)
    if not match:
        return [one]
    found = []
    for part in match.group(1).split(","):
        low, dash, high = part.partition("-")
        if not low.isdigit() or (dash and not high.isdigit()) or int(high or low) - int(low) not in range(100_000):
            raise _no_list(listed)
        numbers = range(int(low), int(high or low) + 1)
        rest = _names(one[match.end() :], listed)
        found += [f"{one[: match.start()]}{number:0{len(low)}d}{more}" for number in numbers for more in rest]
    return found


def _no_list(listed: str) -> InputError:
    return InputError(
        "SLURM_STEP_NODELIST is no list of nodes", expected="such as node[01-03,7],other",
        found=listed or "nothing", todo="start the command with srun, or name the workers by --workers and --worker",
    )  # fmt: skip


def _tasks(text: str) -> list[int]:
    """Return the tasks of each node of Slurm's "2(x3),1"; empty where it is something else."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:\(x(\d{1,6})\))?", part)
        if not match:
            return []
        found += [int(match.group(1))] * int(match.group(2) or 1)
    return found


def _kubernetes(environment: Mapping[str, str]) -> Workers | None:
    if "MODELMILL_WORKERS" not in environment:
        return None
    count = _number(environment, "MODELMILL_WORKERS")
    absent = [key for key in ("JOB_COMPLETION_INDEX", "MODELMILL_SERVICE", "HOSTNAME") if not environment.get(key)]
    if absent:
        raise InputError(
            f"MODELMILL_WORKERS is set, and {', '.join(absent)} is not",
            expected="a pod of an Indexed Job (which has JOB_COMPLETION_INDEX and HOSTNAME), and in MODELMILL_SERVICE "
            "the name of the headless service that is its subdomain",
            found=f"MODELMILL_WORKERS={count} alone",
            todo="docs/training.md has a complete Job; or unset MODELMILL_WORKERS",
        )  # fmt: skip
    index, host = _number(environment, "JOB_COMPLETION_INDEX"), environment["HOSTNAME"]
    job, dash, ending = host.rpartition("-")
    if not dash or ending != str(index):
        raise InputError(
            "this pod's name does not end with its index", expected=f"JOB-{index}, as an Indexed Job names its pods",
            found=f"HOSTNAME={host}", todo="completionMode: Indexed; or name the workers by --workers and --worker",
        )  # fmt: skip
    port = _number(environment, "MODELMILL_PORT") if "MODELMILL_PORT" in environment else PORT
    addresses = [f"{job}-{place}.{environment['MODELMILL_SERVICE']}:{port}" for place in range(count)]
    return _several(_checked(addresses, index, "Kubernetes", "MODELMILL_WORKERS", "JOB_COMPLETION_INDEX"))


def _number(environment: Mapping[str, str], key: str) -> int:
    text = environment.get(key, "")
    if not re.fullmatch(r"\d{1,9}", text):
        raise InputError(f"{key} is no number", expected="a number from 0", found=text or "nothing")
    return int(text)
