"""An operation in TensorFlow: copies that read one input, in a session, as a SavedModel is served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline import legacy_keras
from pipeline.measuring.layer_operations import Operation


def programs(
    operation: Operation, inputs: int, outputs: int, copies: Sequence[int], *, threads: int
) -> list[Callable[[], object]]:
    """Return what runs so many copies of an operation on one input, at these widths; one program for each number."""
    legacy_keras.load()
    import tensorflow as tf
    from tensorflow.core.protobuf import config_pb2

    v1 = tf.compat.v1
    dense = operation.kind == "dense"
    made = (operation.size[0], outputs) if dense else (1, *operation.sides, outputs)
    with tf.Graph().as_default() as graph:

        def variable(*shape: int, start: float | None = None) -> Any:
            # made in the session: a graph with all values in it would be as large as the weights
            values = 0.1 * tf.random.stateless_normal(shape, (0, 0)) if start is None else tf.fill(shape, start)
            # as in a served model: not a constant, which the graph's optimizers would fold
            return tf.Variable(values)

        x = variable(operation.size[0], inputs) if dense else variable(1, *operation.size, inputs)
        other = variable(*made) if operation.add else None
        ends = [_copy(operation, x, other, inputs, outputs, variable) for _ in range(max(copies))]
        config = v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
        session = v1.Session(graph=graph, config=config)
        session.run(v1.global_variables_initializer())
    return [
        # targets, not fetches: nothing is copied out
        session._make_callable_from_options(config_pb2.CallableOptions(target=[end.op.name for end in ends[:number]]))
        for number in copies
    ]


def _copy(operation: Operation, x: Any, other: Any, inputs: int, outputs: int, variable: Callable[..., Any]) -> Any:
    import tensorflow as tf

    padding = "SAME" if operation.same else "VALID"
    strides, dilation = [1, *operation.strides, 1], list(operation.dilation)
    match operation.kind:
        case "dense":
            y = tf.matmul(x, variable(inputs, outputs))
        case "conv":
            kernel = variable(*operation.kernel, inputs, outputs)
            y = tf.nn.conv2d(x, kernel, strides, padding, dilations=dilation)
        case "depthwise":
            y = tf.nn.depthwise_conv2d(x, variable(*operation.kernel, inputs, 1), strides, padding, dilations=dilation)
    if operation.bias:
        y = tf.nn.bias_add(y, variable(outputs))
    if operation.norm:
        one, zero = variable(outputs, start=1.0), variable(outputs, start=0.0)
        if operation.kind == "dense":
            y = tf.nn.batch_normalization(y, zero, one, zero, one, 1e-3)
        else:
            y, _, _ = tf.compat.v1.nn.fused_batch_norm(y, one, zero, zero, one, is_training=False)
    if other is not None:
        y = y + other
    match operation.activation:
        case "relu":
            y = tf.nn.relu(y)
        case "relu6":
            y = tf.nn.relu6(y)
        case "swish":
            y = y * tf.sigmoid(y)
    return y
