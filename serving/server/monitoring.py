"""Where Prometheus finds the metrics: MonitoringConfig in protobuf's text format (rule 4.10)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from serving.server.status import invalid, not_found

DEFAULT_PATH = "/monitoring/prometheus/metrics"


def path(file: str) -> str | None:
    """Return the path of the metrics' page, or None where the config does not enable it.

    Raises:
        StatusError: the file cannot be read, or is no MonitoringConfig.
    """
    from google.protobuf import text_format

    try:
        text = Path(file).read_bytes()
    except OSError as error:
        raise not_found(f"{file}; {error.strerror}") from None
    config = _message_class()()
    try:
        text_format.Parse(text, config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        print(f"Error parsing text-format tensorflow.serving.MonitoringConfig: {error}", file=sys.stderr, flush=True)
        raise invalid(f"Invalid protobuf file: '{file}'") from None
    prometheus = config.prometheus_config
    return (prometheus.path or DEFAULT_PATH) if prometheus.enable else None


def _message_class() -> Any:
    """Return the class of MonitoringConfig, which the package of TensorFlow Serving's API leaves out."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="modelmill/monitoring_config.proto", package="tensorflow.serving", syntax="proto3"
    )
    inner, outer = file.message_type.add(name="PrometheusConfig"), file.message_type.add(name="MonitoringConfig")
    inner.field.add(name="enable", number=1, type=field.TYPE_BOOL, label=field.LABEL_OPTIONAL)
    inner.field.add(name="path", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    outer.field.add(
        name="prometheus_config", number=1, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL,
        type_name=".tensorflow.serving.PrometheusConfig",
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.MonitoringConfig"))
