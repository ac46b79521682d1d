"""TensorFlow's own part of training with several workers: its servers, connected, and the strategy over them."""

from __future__ import annotations

import signal
import threading
from typing import Any

from pipeline.compute.choose import Choice
from pipeline.compute.meeting import LostError, Meeting
from pipeline.errors import MissingError, RunError
from pipeline.legacy_keras import load as load_keras
from pipeline.stopping import SIGNALS

# all are there, so this only ends a start that one of them does not survive
_REGISTER_MS = 60_000
# only a fallback: a connection that breaks is noticed at once
_HEARTBEAT_MS = 30_000


def strategy(choice: Choice, meeting: Meeting) -> Any:
    """Return a MultiWorkerMirroredStrategy, its servers connected; all workers must call it.

    Raises:
        LostError: a worker has ended.
        MissingError: this worker's port was taken meanwhile.
        RunError: the workers have different devices or precisions, or TensorFlow could not connect them.
    """
    load_keras()
    import tensorflow as tf
    from tensorflow.python.eager import context

    require_alike(choice, meeting)
    _coordinate(context, meeting)
    distribute, gpus = tf.distribute, len(choice.devices) if choice.accelerator == "gpu" else 0
    means = distribute.experimental.CommunicationImplementation
    resolver = distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(meeting.workers.addresses)}), task_type="worker",
        task_id=meeting.workers.index, rpc_layer="grpc", num_accelerators={"GPU": gpus},
    )  # fmt: skip
    options = distribute.experimental.CommunicationOptions(implementation=means.AUTO if gpus else means.RING)
    try:
        made = distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver, communication_options=options)
    except tf.errors.OpError as error:
        if meeting.lost:
            raise meeting.lost from error
        if "Could not start gRPC server" in str(error):
            raise MissingError(
                f"TensorFlow on {meeting.workers.name(meeting.workers.index)} cannot listen on its port",
                expected="a free port", found=str(error), todo="end who has it, or give this worker another address",
            ) from error  # fmt: skip
        raise RunError(
            "TensorFlow could not connect the workers", expected=f"{meeting.count} servers that reach each other",
            found=str(error).splitlines()[0],
            todo="every worker must be reachable from every other one, at its address: look at names and firewalls",
        ) from error  # fmt: skip
    finally:
        _keep_our_signals()
    # what waits for a worker that is gone ends with an error instead of never
    meeting.watch(lambda lost: _abort(context, lost))
    return made


def require_alike(choice: Choice, meeting: Meeting) -> None:
    """Hold the workers to one choice of devices, and of what they compute in; all must call it.

    Raises:
        RunError: they differ.
    """
    everyone = meeting.gather([choice.accelerator, len(choice.devices), choice.policy])
    if any(one != everyone[0] for one in everyone):
        raise RunError(
            "the workers have different devices, or compute in different precisions",
            expected="the same kind, number and precision on each",
            found=", ".join(
                f"{meeting.workers.name(at)}: {count} x {kind} in {policy}"
                for at, (kind, count, policy) in enumerate(everyone)
            ),
            todo="machines of one kind; or --set devices=N, --set accelerator=cpu, --set mixed_precision=off",
        )  # fmt: skip


def _coordinate(context: Any, meeting: Meeting) -> None:
    """Let TensorFlow's servers wait for each other, but not for ever."""
    context.context().configure_coordination_service(
        service_type="standalone", service_leader="/job:worker/replica:0/task:0",
        cluster_register_timeout_in_ms=_REGISTER_MS, heartbeat_timeout_in_ms=_HEARTBEAT_MS,
        coordinated_jobs=[context.coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=meeting.count)],
    )  # fmt: skip


def _keep_our_signals() -> None:
    """TensorFlow takes SIGTERM for itself, to save and go on: for us it is a signal to stop."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler is not None:
                signal.signal(number, handler)


def _abort(context: Any, lost: LostError) -> None:
    import tensorflow as tf

    context.context().abort_collective_ops(tf.errors.UNAVAILABLE, lost.what)
