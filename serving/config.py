"""How the SavedModels of a run, and some .tflite files, are served: the recipe's section `serving`.

Imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config import NEUTRAL, Frozen
from serving.images import IMAGES as IMAGES

TargetName = Literal["docker", "binary", "embedded", "remote"]
LitePrecision = Literal["float32", "sparse-float32", "float16", "dynamic-int8", "int8"]
Protocol = Literal["grpc", "rest"]

BINARY = "tensorflow_model_server"
OFFICIAL_IMAGE = re.compile(r"(docker\.io/)?tensorflow/serving(:[A-Za-z0-9_.-]+)?(@sha256:[0-9a-f]{64})?")
LOOPBACK_ADDRESS = re.compile(r"[a-z]+://(localhost|127(\.[0-9]+){3}|\[::1\])(:|/|$)")
SCHEMES: dict[str, Protocol] = {"grpc": "grpc", "grpcs": "grpc", "http": "rest", "https": "rest"}

# what we set ourselves, for every target alike
_OURS = frozenset(
    {"port", "rest_api_port", "bind_address", "model_name", "model_base_path", "model_config_file", "enable_batching",
     "batching_parameters_file", "tensorflow_session_parallelism", "tensorflow_intra_op_parallelism",
     "tensorflow_inter_op_parallelism", "max_num_load_retries", "prefer_tflite_model", "version", "help"}
)  # fmt: skip
# on one line: an image has its flags in a file, one a line
_FLAG = re.compile(r"--([a-z0-9_]+)(=[^\x00-\x1f\x7f-\x9f\u2028\u2029]*)?")
_ADDRESS = re.compile(r"(grpcs?|https?)://(\[[0-9a-fA-F:]+\]|[^\s/:\[\]]+):([0-9]{1,5})(/[^\s]*)?")


class BatchingConfig(Frozen):
    """TF Serving's batching parameters; what is null is the server's own default."""

    max_batch_size: int | None = Field(default=None, ge=1, description="most samples in one execution")
    batch_timeout_micros: int | None = Field(default=None, ge=0, description="longest wait for a batch to fill, in us")
    max_enqueued_batches: int | None = Field(default=None, ge=1, description="batches that may wait")
    num_batch_threads: int | None = Field(default=None, ge=1, description="batches executed at the same time")
    allowed_batch_sizes: tuple[int, ...] = Field(
        default=(), description="batches are padded to one of these; the last is max_batch_size"
    )
    pad_variable_length_inputs: bool = Field(default=False, description="pad samples of unequal shapes")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        sizes = self.allowed_batch_sizes
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1 or sizes[-1] != self.max_batch_size):
            raise ValueError("allowed_batch_sizes must grow, and the last must be max_batch_size")
        return self


class RemoteConfig(Frozen):
    """A server that is already running, with the model in it."""

    addresses: tuple[str, ...] = Field(
        min_length=1, max_length=2, description="grpc://HOST:PORT and/or http://HOST:PORT; grpcs and https with TLS"
    )
    version: int | None = Field(default=None, ge=0, description="version to ask; null: the newest that is loaded")
    label: str | None = Field(default=None, min_length=1, description="version label to ask, instead of a version")

    @model_validator(mode="after")
    def _addresses_fit(self) -> Self:
        for address in self.addresses:
            match = _ADDRESS.fullmatch(address)
            if not match or not 0 < int(match[3]) < 65536 or (match[4] and match[1].startswith("grpc")):
                raise ValueError(f"expected grpc://HOST:PORT or http://HOST:PORT, found {address!r}")
        if len(self.by_protocol()) < len(self.addresses):
            raise ValueError("expected one address per protocol, found two of the same")
        if self.version is not None and self.label is not None:
            raise ValueError("a request names a version or a label: leave one of them out")
        return self

    def by_protocol(self) -> dict[Protocol, str]:
        """Return protocol -> address."""
        return {SCHEMES[address.partition("://")[0]]: address for address in self.addresses}


class ServingConfig(Frozen):
    """Where the SavedModels, and some .tflite files, are served while they are measured."""

    # What decides a result is the target that is found in the end; that is named in the fingerprint by itself.
    target: Annotated[Literal["auto", "docker", "binary", "embedded", "remote"], NEUTRAL] = Field(
        default="auto",
        description="docker (a TF Serving container), binary (tensorflow_model_server), embedded (our own server), "
        "remote (one that is already running), or auto: the first of docker, binary, embedded that is there",
    )
    protocols: tuple[Protocol, ...] = Field(default=("grpc", "rest"), min_length=1, description="measured over these")
    tflite: tuple[LitePrecision, ...] | None = Field(
        default=None,
        description="precisions of .tflite files that are served too, as model.tflite with --prefer_tflite_model, and "
        "measured beside the SavedModels; null: int8, where export.tflite has it and the server can; []: none",
    )
    model_name: Annotated[str, NEUTRAL] = Field(
        default="model", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="name in requests"
    )
    image: Annotated[str | None, NEUTRAL] = Field(
        default=None,
        description=f"container image with TF Serving's conventions; null: {IMAGES['cpu']}, on a GPU {IMAGES['gpu']}",
    )
    device: Annotated[Literal["cpu", "gpu"], NEUTRAL] = Field(default="cpu", description="what the container gets")
    binary: Annotated[str, NEUTRAL] = Field(
        default=BINARY, min_length=1, description="program on PATH, or its path; anything that takes TF Serving's flags"
    )
    remote: Annotated[RemoteConfig | None, NEUTRAL] = Field(
        default=None,
        description="the server that is already running, for target: remote; {addresses: [grpc://HOST:PORT, "
        "http://HOST:PORT]} and, where it is not the newest version, version: NUMBER or label: NAME",
    )
    grpc_port: Annotated[int | None, NEUTRAL] = Field(
        default=None, ge=1, lt=65536, description="on 127.0.0.1; null: a free one"
    )
    rest_port: Annotated[int | None, NEUTRAL] = Field(
        default=None, ge=1, lt=65536, description="on 127.0.0.1; null: a free one"
    )
    batching: BatchingConfig | None = Field(
        default=None,
        description="null: requests are not batched; else TF Serving's parameters, such as "
        "{max_batch_size: 256, batch_timeout_micros: 1000}",
    )
    intra_op_threads: int | None = Field(
        default=None, ge=1, le=1024, description="threads inside an operation; null: measure.threads"
    )
    inter_op_threads: int | None = Field(
        default=None, ge=1, le=1024, description="threads between operations; null: measure.threads"
    )
    flags: tuple[str, ...] = Field(
        default=(), description="further flags of tensorflow_model_server, each as --name=value"
    )
    ready_deadline_s: Annotated[float, NEUTRAL] = Field(
        default=120, gt=0, le=3600, description="time for a server to start and to load the models"
    )
    request_deadline_s: Annotated[float, NEUTRAL] = Field(default=30, gt=0, le=3600, description="time for one request")
    lookup_deadline_s: Annotated[float, NEUTRAL] = Field(
        default=10,
        gt=0,
        le=600,
        description="time to find out whether there is an engine and the image",
    )
    pull_deadline_s: Annotated[float, NEUTRAL] = Field(default=900, gt=0, description="time to pull an absent image")

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        for name, listed in (("protocols", self.protocols), ("tflite", self.tflite or ())):
            if len(set(listed)) != len(listed):
                yield f"{name} names one twice: {', '.join(listed)}"
        for flag in self.flags:
            match = _FLAG.fullmatch(flag)
            if not match:
                yield f"flags: expected --name=value, on one line, found {flag!r}"
            elif match[1] in _OURS:
                yield f"flags: {match[1]} is not for a recipe to set; use the keys of this section"
        if self.grpc_port is not None and self.grpc_port == self.rest_port:
            yield f"grpc_port and rest_port are both {self.grpc_port}: choose two"
        for key, target in (("image", "docker"), ("device", "docker"), ("binary", "binary")):
            default = type(self).model_fields[key].default
            if self.target not in ("auto", target) and getattr(self, key) != default:
                yield f"{key} is for target: {target}, but target is {self.target}"
        yield from self._remote_problems()

    def _remote_problems(self) -> Iterator[str]:
        if (self.target == "remote") != (self.remote is not None):
            yield "target: remote and a section remote go together: give both or none"
        if self.target != "remote" or self.remote is None:
            return
        if not set(self.protocols) & set(self.remote.by_protocol()):
            yield f"remote has no address for protocols {', '.join(self.protocols)}"
        ours = {"tflite": None, "batching": None, "intra_op_threads": None, "inter_op_threads": None, "flags": (),
                "grpc_port": None, "rest_port": None}  # fmt: skip
        for name, default in ours.items():
            if getattr(self, name) != default:
                yield f"{name} is for a server that modelmill starts; a remote one is taken as it is"

    def on_free_ports(self) -> Self:
        """Return the section for servers of our own beside others: it names no ports, so that each finds free ones."""
        return self.model_copy(update={"grpc_port": None, "rest_port": None})

    @property
    def image_name(self) -> str:
        """The image to run: the one named, else the pinned one for the device."""
        return self.image or IMAGES[self.device]
