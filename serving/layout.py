"""The files a server reads: versions, the model config, batching parameters and monitoring, in TF Serving's formats."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import link_or_copy
from serving.config import BatchingConfig
from serving.warmup import FILE

MODELS, BATCHING, MONITORING = "models.config", "batching_parameters.txt", "monitoring.config"
GRAPH = "saved_model.pb"
LITE = "model.tflite"  # a version that holds it is served from it, with --prefer_tflite_model
EXTRA = FILE.parent.as_posix()  # in a version: what servers leave alone, but for the requests that warm it up
FIRST_VERSION = 1
# in an image with TensorFlow Serving's conventions: where models are, and what its entrypoint opens
ROOT = "/models"
PORTS = {"grpc": 8500, "rest": 8501}

_MONITORING = 'prometheus_config { enable: true path: "/monitoring/prometheus/metrics" }\n'  # the server's own default
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Deployment:
    """What a server serves and how; the same for every target.

    Attributes:
        name: the served model's name.
        versions: version -> folder with saved_model.pb or model.tflite, or a .tflite.
        intra_op_threads, inter_op_threads: of TensorFlow in the server; 0: its own choice.
        batching: parameters, or a file with them, or None for no batching.
        flags: further flags, as --name=value.
        monitoring: whether its counters can be read at the REST port (`serving.client.monitoring`).
    """

    name: str
    versions: Mapping[int, Path]
    intra_op_threads: int
    inter_op_threads: int
    batching: BatchingConfig | Path | None = None
    flags: tuple[str, ...] = ()
    monitoring: bool = False


def number(name: str) -> int | None:
    """Return the version that a child of a base path is, told by its name; 007 is 7, None: it is none."""
    return int(name) if _NUMBER.fullmatch(name) else None


def newest(base: Path) -> Path | None:
    """Return the folder with saved_model.pb: this one, or a base path's version with the greatest number."""
    if (base / GRAPH).is_file():
        return base
    found = {
        version: one
        for one in (base.iterdir() if base.is_dir() else ())
        if (version := number(one.name)) is not None and (one / GRAPH).is_file()
    }
    return found[max(found)] if found else None


def write(deployment: Deployment, folder: Path, root: str) -> tuple[str, ...]:
    """Write the tree NAME/VERSION/..., models.config, and what else is asked for beside it.

    Args:
        deployment: what is served.
        folder: where it is written; made if missing.
        root: the absolute path under which the server sees the folder.

    Returns:
        The flags of tensorflow_model_server that serve it, without ports.
    """
    lite = False
    for version, source in deployment.versions.items():
        place = folder / deployment.name / str(version)
        if source.is_file():
            place.mkdir(parents=True)
            link_or_copy(str(source), str(place / LITE))
        else:
            shutil.copytree(source, place, copy_function=link_or_copy)
        lite = lite or (place / LITE).is_file()
    (folder / MODELS).write_text(_model_config(deployment, root), encoding="utf-8")
    flags = [
        f"--model_config_file={root}/{MODELS}",
        # a model that cannot be loaded is told at once, not after five more tries with a minute in between
        "--max_num_load_retries=0",
        f"--tensorflow_intra_op_parallelism={deployment.intra_op_threads}",
        f"--tensorflow_inter_op_parallelism={deployment.inter_op_threads}",
    ]
    if lite:
        flags.append("--prefer_tflite_model=true")
    if deployment.batching is not None:
        given = deployment.batching
        if isinstance(given, Path):
            shutil.copyfile(given, folder / BATCHING)
        else:
            (folder / BATCHING).write_text(batching_parameters(given), encoding="utf-8")
        flags += ["--enable_batching=true", f"--batching_parameters_file={root}/{BATCHING}"]
    if deployment.monitoring:
        (folder / MONITORING).write_text(_MONITORING, encoding="utf-8")
        flags.append(f"--monitoring_config_file={root}/{MONITORING}")
    return (*flags, *deployment.flags)


def _model_config(deployment: Deployment, root: str) -> str:
    """Return a ModelServerConfig in protobuf's text format; the messages themselves would import TensorFlow."""
    versions = " ".join(f"versions: {version}" for version in sorted(deployment.versions))
    return (
        "model_config_list {\n  config {\n"
        f'    name: "{deployment.name}"\n    base_path: "{_quoted(root)}/{deployment.name}"\n'
        '    model_platform: "tensorflow"\n'
        f"    model_version_policy {{ specific {{ {versions} }} }}\n"
        "  }\n}\n"
    )


def batching_parameters(batching: BatchingConfig) -> str:
    """Return BatchingParameters in protobuf's text format, as --batching_parameters_file has it."""
    plain = batching.model_dump(exclude={"allowed_batch_sizes", "pad_variable_length_inputs"})
    lines = [f"{name} {{ value: {value} }}" for name, value in plain.items() if value is not None]
    if batching.pad_variable_length_inputs:
        lines.append("pad_variable_length_inputs: true")
    lines += [f"allowed_batch_sizes: {size}" for size in batching.allowed_batch_sizes]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
