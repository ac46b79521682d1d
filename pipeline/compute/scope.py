"""What was chosen, carried out: TensorFlow's devices before its runtime starts, and the strategy around a stage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from pipeline.compute import agreement, multi_worker, precision
from pipeline.compute.choose import Choice, choose
from pipeline.compute.config import Compute
from pipeline.compute.devices import look
from pipeline.compute.meeting import Meeting
from pipeline.errors import RunError
from pipeline.fit.config import FitConfig
from pipeline.legacy_keras import load as load_keras


class Scope:
    """The devices of a run, found and started once, before TensorFlow is used for anything."""

    def __init__(self, compute: Compute, meeting: Meeting | None = None) -> None:
        self._compute, self._meeting = compute, meeting
        self._choice: Choice | None = None
        self._strategy: Any = None

    @property
    def choice(self) -> Choice:
        """What models are trained on.

        Raises:
            MissingError: a device that was asked for is not there.
        """
        if self._choice is None:
            self._choice = choose(self._compute, look(), self._meeting.count if self._meeting else 1)
        return self._choice

    def start(self) -> None:
        """Make TensorFlow's devices what was chosen: it must not have computed anything before.

        With several workers all must call it: it returns when TensorFlow is connected on all of them.

        Raises:
            LostError: another worker has ended.
            MissingError: see `choice`.
            RunError: TensorFlow's runtime was started before, with other devices.
        """
        if self._strategy is None:
            _configure(self.choice)
            if self._meeting is not None:
                self._strategy = multi_worker.strategy(self.choice, self._meeting)
            else:
                self._strategy = _strategy(self.choice)

    @contextmanager
    def entered(self, *, exact: bool = False) -> Iterator[None]:
        """Let what is built inside the block have a replica on each device; one device: as TensorFlow does by itself.

        Args:
            exact: whether fits are in float32, whatever the recipe's precision is.

        Raises:
            as `start`.
        """
        self.start()
        alone = self._strategy == "default"
        with (
            precision.asked("float32" if exact else self.choice.policy),
            nullcontext() if alone else self._strategy.scope(),
            agreement.entered(self._meeting),
        ):
            yield

    def sections(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sections of a stage, with the batch and the learning rate that the number of replicas makes of
        them where the recipe says so."""
        compute, count = self._compute, self.replicas
        if compute.batch_sizes == "global" or count == 1:
            return dict(chosen)
        factor = {"none": 1.0, "linear": float(count), "sqrt": math.sqrt(count)}[compute.learning_rate_scaling]

        def larger(section: FitConfig) -> FitConfig:
            rate = section.optimizer.learning_rate * factor
            return section.model_copy(
                update={
                    "batch_size": section.batch_size * count,
                    "optimizer": section.optimizer.model_copy(update={"learning_rate": rate}),
                }
            )

        return {name: larger(one) if isinstance(one, FitConfig) else one for name, one in chosen.items()}

    @property
    def replicas(self) -> int:
        """Return how many replicas a model has, on all workers together."""
        self.start()
        return 1 if self._strategy == "default" else int(self._strategy.num_replicas_in_sync)


def _configure(choice: Choice) -> None:
    """Hide the devices that are not used, let GPUs' memory grow, and cut the processor into logical devices."""
    load_keras()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    try:
        if choice.accelerator == "gpu":
            used = [gpus[int(device.place.partition(":")[2])] for device in choice.devices]
            tf.config.set_visible_devices(used, "GPU")
            for gpu in used:
                # all memory at once, which is the default, leaves none to another process
                tf.config.experimental.set_memory_growth(gpu, True)
        elif gpus:
            tf.config.set_visible_devices([], "GPU")
        if choice.accelerator == "cpu" and len(choice.devices) > 1:
            (cpu,) = tf.config.list_physical_devices("CPU")
            logical = [tf.config.LogicalDeviceConfiguration() for _ in choice.devices]
            if tf.config.get_logical_device_configuration(cpu) != logical:
                tf.config.set_logical_device_configuration(cpu, logical)
    except RuntimeError as error:
        # the runtime cannot be started twice in a process
        counts = {kind: len(tf.config.list_logical_devices(kind.upper())) for kind in ("cpu", "gpu")}
        if counts[choice.accelerator if choice.accelerator != "tpu" else "cpu"] >= len(choice.devices):
            return
        raise RunError(
            "TensorFlow was started in this process before, with other devices",
            expected=f"{len(choice.devices)} x {choice.accelerator.upper()}",
            found=", ".join(f"{count} x {kind.upper()}" for kind, count in counts.items()),
            todo="use a process of its own for each choice of devices",
        ) from error


def _strategy(choice: Choice) -> Any:
    """Return the strategy of `tf.distribute`; "default": TensorFlow's own, which has one device and costs nothing."""
    import tensorflow as tf

    match choice.strategy:
        case "one_device":
            return "default"
        case "mirrored":
            places = [f"/{choice.accelerator.upper()}:{index}" for index in range(len(choice.devices))]
            return tf.distribute.MirroredStrategy(places)
        case "tpu":
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
            tf.config.experimental_connect_to_cluster(resolver)
            tf.tpu.experimental.initialize_tpu_system(resolver)
            return tf.distribute.TPUStrategy(resolver)
