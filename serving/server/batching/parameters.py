"""TF Serving's BatchingParameters: read from protobuf's text format, and checked as it checks them (rule 7)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from serving.server import text_format
from serving.server.flags import Values, cpus
from serving.server.status import invalid

PER_MODEL = "batching_params.pbtxt"  # in the version's folder


@dataclass(frozen=True)
class Parameters:
    """How requests are batched; the names and the defaults are TF Serving's.

    Attributes:
        max_batch_size: most rows of a request, and of a batch where large requests are not split.
        batch_timeout_micros: longest wait of an open batch for more rows, while a thread is free.
        max_enqueued_batches: batches that may wait in one queue.
        num_batch_threads: batches that run at the same time, of all models together.
        allowed_batch_sizes: a batch is padded to the next of these; the last is max_batch_size.
        pad_variable_length_inputs: pad unequal inner shapes to the largest, with each tensor's first value.
        enable_large_batch_splitting: split a request that does not fit into a batch.
        max_execution_batch_size: most rows of a batch where large requests are split; None: max_batch_size.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = cpus()
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    @property
    def execution_size(self) -> int:
        """Most rows of a batch."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    def check(self) -> None:
        """Refuse what no queue can follow.

        Raises:
            StatusError: INVALID_ARGUMENT.
        """
        if self.allowed_batch_sizes and self.allowed_batch_sizes[-1] != self.max_batch_size:
            raise invalid(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{self.allowed_batch_sizes[-1]}; expected {self.max_batch_size}"
            )
        if self.max_batch_size < 1:
            raise invalid(f"input_batch_size_limit must be positive; was {self.max_batch_size}")
        if self.batch_timeout_micros < 0:
            raise invalid(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if self.enable_large_batch_splitting and self.max_enqueued_batches < 1:
            raise invalid(f"max_enqueued_batches must be positive; was {self.max_enqueued_batches}")
        if not 1 <= self.execution_size <= self.max_batch_size:
            raise invalid(
                "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to "
                "max_execution_batch_size."
            )


def of(values: Values) -> Parameters | None:
    """Return the parameters for every model that the flags give, or None: requests are not batched.

    Raises:
        StatusError: the file cannot be read or parsed.
    """
    if not values.enable_batching:
        return None
    return read(Path(values.batching_parameters_file)) if values.batching_parameters_file else Parameters()


def read(path: Path) -> Parameters:
    """Return the parameters in a file; what it leaves out has its default.

    Raises:
        StatusError: it cannot be read or parsed.
    """
    message = _message()()
    text_format.read(path, message)
    names = {field.name for field in fields(Parameters)}
    given = {descriptor.name: _plain(value) for descriptor, value in message.ListFields() if descriptor.name in names}
    return Parameters(**given)


def _plain(value: Any) -> Any:
    """Return the value of a field: of a wrapper, a list, or itself."""
    if hasattr(value, "DESCRIPTOR"):
        return value.value
    return value if isinstance(value, bool) else tuple(value)


@cache
def _message() -> Any:
    """Return the message's class; tensorflow-serving-api does not bring it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

    proto = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="batching_parameters.proto", package="tensorflow.serving", syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )  # fmt: skip
    message = file.message_type.add(name="BatchingParameters")
    wrapped = {
        "max_batch_size": "Int64Value", "batch_timeout_micros": "Int64Value", "max_enqueued_batches": "Int64Value",
        "num_batch_threads": "Int64Value", "thread_pool_name": "StringValue",
        "enable_large_batch_splitting": "BoolValue", "max_execution_batch_size": "Int64Value",
    }  # fmt: skip
    for number, (name, kind) in enumerate(wrapped.items(), 1):
        message.field.add(
            name=name, number=number, label=proto.LABEL_OPTIONAL, type=proto.TYPE_MESSAGE,
            type_name=f".google.protobuf.{kind}",
        )  # fmt: skip
    message.field.add(name="allowed_batch_sizes", number=8, label=proto.LABEL_REPEATED, type=proto.TYPE_INT64)
    message.field.add(name="pad_variable_length_inputs", number=9, label=proto.LABEL_OPTIONAL, type=proto.TYPE_BOOL)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters"))
