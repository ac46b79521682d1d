"""How fast a model is after each step, in every runtime and behind the server.

    python -m tests.benchmarks.served_speed --work served-speed
    python -m tests.benchmarks.served_speed resnet8 --work served-speed --again --blocks 5 --duration 0.2

ResNet-8 at 32x32, ResNet-18 and MobileNetV2 at 96x96: the float teacher, the same pruned to 80 % zeros, with channels
taken out, and that in int8. Each is made by `modelmill run` (served_files.py) and timed by `modelmill bench`, all four
in alternating blocks: in LiteRT, in ONNX Runtime, and behind one server that has all of them, over gRPC and REST. The
server is what `serving.target: auto` finds: TensorFlow Serving in Docker or on PATH, else modelmill's own. The networks
are hardly trained: this is about speed alone.

What is known of a network in a runtime is kept in FOLDER/served_speed.json, so that a benchmark that was stopped goes
on; --again takes it anew. Prints tables in Markdown.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.events import Event, Note
from pipeline.isolate import Child
from pipeline.measuring.served import Supply
from serving.client.endpoint import Endpoint
from serving.config import ServingConfig
from serving.target.choose import choose
from tests.benchmarks import commands, served_files
from tests.benchmarks.findings import Findings, Side, bench, table, told_ratio
from tests.benchmarks.served_files import NETWORKS, SHRUNK, TEACHER, Network

# runtime -> form of the files that it runs, or the protocol of the server that has them
LOCAL = {"LiteRT": "tflite", "ONNX Runtime": "onnx"}
SERVED = {"served, gRPC": "grpc", "served, REST": "rest"}
BATCH = 32
HEAD = ("model", "MACs", "zeros", "p50 ms, one sample", "times as fast", f"samples/s, {BATCH} at once", "times as many")
GOALS = ("where", "goal", "found", "met")


@contextmanager
def served(files: Mapping[str, Path], protocol: str, work: Path) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Yield label -> TARGET of `modelmill bench`, and what the server is, while one server has all files."""
    config = ServingConfig()
    target = choose(config, _tell).target
    child = Child(deadline_s=config.ready_deadline_s, memory_mb=None, threads=1, log=work / "client.log")
    # one thread, as the runtimes beside it have
    with child, Supply(target, files, config, 1, child, work / "server", _tell) as supply:
        sources = supply.sources(list(files), protocol)
        yield {label: text(one) for label, one in sources.items() if isinstance(one, Endpoint)}, supply.described()


def _tell(event: Event) -> None:
    """Say what a reader should know: why a target was passed over, that a server was started again."""
    if isinstance(event, Note):
        print(event.text, file=sys.stderr, flush=True)


def text(one: Endpoint) -> str:
    """Return a served model as `modelmill bench` names it."""
    path = "/v1/models" if one.protocol == "rest" else ""
    return f"{one.address}{path}/{one.model}/versions/{one.version}"


def timed(name: str, network: Network, runtime: str, given: argparse.Namespace) -> Side:
    """Time the four models of a network in a runtime."""
    out = given.work / "bench" / f"{name}-{runtime.replace(', ', '-').replace(' ', '-')}"
    # pixels, as a client has them: random floats are three times as long in JSON
    options = ("--data", str(served_files.data(network, given.work)))

    def measured(targets: Mapping[str, Path | str]) -> dict[str, Side]:
        return bench(
            targets,
            out,
            against=TEACHER,
            batch=BATCH,
            blocks=given.blocks,
            duration=given.duration,
            options=options,
            failing=True,
        )

    if runtime in LOCAL:
        return {"models": measured(served_files.files(name, given.work, LOCAL[runtime]))}
    files = served_files.files(name, given.work, "saved_model")
    with (
        tempfile.TemporaryDirectory() as temporary,
        served(files, SERVED[runtime], Path(temporary)) as (targets, server),
    ):
        return {"models": measured(targets), "target": server["target"], "server": server["server"]}


def shown(runtime: str, facts: Mapping[str, Any], side: Side) -> str:
    """Return the table of a network in a runtime."""
    rows = [_row(label, facts[label], facts[TEACHER], found) for label, found in side["models"].items()]
    where = f"{runtime}, by {side['server']['implementation']} ({side['target']})" if "server" in side else runtime
    queries = min(found.get("p50_ms_n", 0) for found in side["models"].values())
    return f"{where}; each p50 from {queries} queries or more:\n\n{table(HEAD, rows)}\n"


def _row(label: str, facts: Mapping[str, Any], whole: Mapping[str, Any], found: Side) -> list[str]:
    about = [label, f"{facts['macs'] / whole['macs']:.1%}", f"{facts['sparsity']:.0%}"]
    if "error" in found:
        return [*about, f"failed: {found['error']}", "-", "-", "-"]
    p50, low, high = found["p50_ms"]
    return [
        *about, f"{p50:.3f} ({low:.3f} to {high:.3f})", told_ratio(found["ratio"]),
        f"{found['samples_per_s'][0]:,.0f}", told_ratio(found["throughput_ratio"]),
    ]  # fmt: skip


def judged(name: str, network: Network, findings: Findings) -> Iterator[list[str]]:
    """Yield a row for each goal: what the shrunk model was to gain in a runtime, and what it did."""
    for runtime, goal in network.goals.items():
        ratio = findings.sides[f"{name}, {runtime}"]["models"][SHRUNK].get("ratio")
        met = "not measured"
        if ratio is not None:
            value, low, high = ratio
            proven = low >= goal or high < goal
            met = ("yes" if value >= goal else "no") + ("" if proven else ", but not proven")
        yield [f"{name}, {runtime}", f"{goal:g}", told_ratio(ratio), met]


def main() -> None:
    """Make the files, time them, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(NETWORKS)}; none: all")
    parser.add_argument(
        "--work",
        type=commands.folder,
        required=True,
        help="folder of findings, images, runs and their store; it is kept",
    )
    parser.add_argument("--blocks", type=int, default=9, help="of each model in a runtime, 5 or more (default: 9)")
    parser.add_argument("--duration", type=float, default=0.5, help="least seconds of a block (default: 0.5)")
    commands.add_again(parser, "all findings on these networks")
    given = parser.parse_args()
    if unknown := [name for name in given.networks if name not in NETWORKS]:
        parser.error(f"expected networks of {', '.join(NETWORKS)}, found {', '.join(unknown)}")
    findings = Findings("served_speed", "python -m tests.benchmarks.served_speed --work served-speed", given.work)
    goals: list[list[str]] = []
    for name in given.networks or NETWORKS:
        network = NETWORKS[name]
        if given.again:
            findings.again(f"{name}, ")
        files = findings.once(
            f"{name}, files", partial(served_files.made, name, network, given.work), dataclasses.asdict(network)
        )
        widths = ", ".join(f"{before} to {after}" for before, after in files["widths"])
        print(f"**{name}**, {network.side}x{network.side} pixels, seed {files['seed']}; widths {widths}\n", flush=True)
        for runtime in (*LOCAL, *SERVED):
            asked = [dataclasses.asdict(network), given.blocks, given.duration]
            side = findings.once(f"{name}, {runtime}", partial(timed, name, network, runtime, given), asked)
            print(shown(runtime, files["models"], side), flush=True)
        goals += judged(name, network, findings)
    print(f"How many times as fast the model with fewer channels answers one sample:\n\n{table(GOALS, goals)}\n")
    loads = " ".join(f"{name}: {findings.told(f'{name}, ')}" for name in given.networks or NETWORKS)
    print(f"The networks learned for one epoch from few images: this is about speed alone. {loads}")


if __name__ == "__main__":
    commands.ended(main)
