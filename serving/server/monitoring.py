"""Where Prometheus finds the metrics: MonitoringConfig in protobuf's text format (rule 4.10)."""

from __future__ import annotations

from typing import Any

from serving.server import text_format

DEFAULT_PATH = "/monitoring/prometheus/metrics"


def path(file: str) -> str | None:
    """Return the path of the metrics' page, or None where the config does not enable it.

    Raises:
        StatusError: the file cannot be read, or is no MonitoringConfig.
    """
    config = _message_class()()
    text_format.read(file, config)
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
