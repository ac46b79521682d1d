"""The files a server reads: version folders, the model config and the batching parameters, in TF Serving's formats."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import link_or_copy
from serving.config import BatchingConfig

MODELS, BATCHING = "models.config", "batching.config"


@dataclass(frozen=True)
class Deployment:
    """What a server serves and how; the same for every target.

    Attributes:
        name: the served model's name.
        versions: version -> folder with saved_model.pb.
        intra_op_threads, inter_op_threads: of TensorFlow in the server.
        batching: parameters, or None for no batching.
        flags: further flags, as --name=value.
    """

    name: str
    versions: Mapping[int, Path]
    intra_op_threads: int
    inter_op_threads: int
    batching: BatchingConfig | None = None
    flags: tuple[str, ...] = ()


def write(deployment: Deployment, folder: Path, root: str) -> tuple[str, ...]:
    """Write the tree NAME/VERSION/..., models.config and batching.config.

    Args:
        deployment: what is served.
        folder: where it is written; made if missing.
        root: the absolute path under which the server sees the folder.

    Returns:
        The flags of tensorflow_model_server that serve it, without ports.
    """
    for version, source in deployment.versions.items():
        shutil.copytree(source, folder / deployment.name / str(version), copy_function=link_or_copy)
    (folder / MODELS).write_text(_model_config(deployment, root), encoding="utf-8")
    flags = [
        f"--model_config_file={root}/{MODELS}",
        # a model that cannot be loaded is told at once, not after five more tries with a minute in between
        "--max_num_load_retries=0",
        f"--tensorflow_intra_op_parallelism={deployment.intra_op_threads}",
        f"--tensorflow_inter_op_parallelism={deployment.inter_op_threads}",
    ]
    if deployment.batching is not None:
        (folder / BATCHING).write_text(_batching_config(deployment.batching), encoding="utf-8")
        flags += ["--enable_batching=true", f"--batching_parameters_file={root}/{BATCHING}"]
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


def _batching_config(batching: BatchingConfig) -> str:
    """Return BatchingParameters in protobuf's text format."""
    plain = batching.model_dump(exclude={"allowed_batch_sizes", "pad_variable_length_inputs"})
    lines = [f"{name} {{ value: {value} }}" for name, value in plain.items() if value is not None]
    if batching.pad_variable_length_inputs:
        lines.append("pad_variable_length_inputs: true")
    lines += [f"allowed_batch_sizes: {size}" for size in batching.allowed_batch_sizes]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
