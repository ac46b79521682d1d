"""The rules of TensorFlow Serving's public API that a client can see, and which of them have a test.

A test bears its rules: `@pytest.mark.rule("3.4", "3.5")`. `python -m tests.serving.server.rules` lists what has none.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

RULES = {
    "1.1": "syntax of the flags, unknown and wrong ones, --version",
    "1.2": "the flags and their defaults",
    "1.3": "every configured model is loaded before a port answers; the log's words",
    "1.4": "a failed start: its words on stdout, exit status 255",
    "1.5": "a base path without a version is waited for",
    "1.6": "the container's entry point",
    "2.1": "a request without a model or a name",
    "2.2": "no version: the highest that is AVAILABLE",
    "2.3": "a version that is named, 0 too",
    "2.4": "a version label, unknown or not loaded",
    "2.5": "an unload waits for the requests that run",
    "2.6": "long texts are cut; large messages pass",
    "3.1": "the services that there are, and no others",
    "3.2": "the model spec that is echoed",
    "3.3": "the checks of Predict, in their order",
    "3.4": "shapes are the kernels' matter; a wrong rank kills nothing",
    "3.5": "every way in which an input may come",
    "3.6": "typed outputs, the output filter",
    "3.7": "the deadline of a call ends its run",
    "3.8": "Classify and Regress",
    "3.9": "MultiInference",
    "3.10": "GetModelMetadata",
    "3.11": "GetModelStatus",
    "3.12": "HandleReloadConfigRequest",
    "4.1": "paths outside of /v1/",
    "4.2": "routes",
    "4.3": "errors",
    "4.4": "status",
    "4.5": "metadata",
    "4.6": "requests of :predict",
    "4.7": "answers, of :classify and :regress too",
    "4.8": "CORS",
    "4.9": "compressed requests",
    "4.10": "Prometheus",
    "5.1": "what is a version on disk",
    "5.2": "version policies",
    "5.3": "attempts to load",
    "6.1": "a new version is found and served",
    "6.2": "the new version is ready before the old one goes",
    "6.3": "a version that cannot be loaded leaves the old one",
    "6.4": "removed versions and base paths",
    "6.5": "requests that run on an old version end",
    "6.6": "a polled config that is wrong changes nothing",
    "6.7": "labels only for what is AVAILABLE",
    "7": "batching",
    "8": "warm-up",
    "9.1": "the first call of a set of inputs and outputs is slow, so warm-up uses the clients' sets",
    "9.2": "requests run at the same time, the interpreter's lock is not held in the run",
    "9.2b": "calls beyond grpc_max_threads are refused",
    "9.3": "equal answers in every encoding",
    "9.4": "no wait without batching",
    "9.5": "a load blocks no request",
    "9.6": "one write an answer, time linear in the elements",
    "9.7": "figures of this server are never told as TensorFlow Serving's",
}
# what has no test, and why
EXPLAINED = {
    "1.6": "the entry point is the image's; tests/serving/target runs images with these conventions",
}
HERE = Path(__file__).parent


def tested(folder: Path = HERE.parent.parent) -> Iterator[tuple[str, str]]:
    """Yield (rule, test) for every test below a folder that bears a rule's number."""
    for path in sorted(folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.rule":
                        for number in mark.args:
                            yield ast.literal_eval(number), f"{path.name}::{node.name}"


def untested() -> list[str]:
    """Return the rules that have neither a test nor an explanation."""
    known = {rule for rule, _ in tested()} | EXPLAINED.keys()
    return [rule for rule in RULES if rule not in known]


if __name__ == "__main__":
    missing = untested()
    for rule in missing:
        print(rule, RULES[rule])
    for rule, why in EXPLAINED.items():
        print(f"{rule} {RULES[rule]}: no test, because {why}")
    sys.exit(bool(missing))
