"""How the steps of a fit are carried out: many in one call of a graph, timed, watched, and perhaps with XLA.

How many run at once changes no bit of the weights: the loop's body is the same, whichever calls it is cut into.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from pipeline.compute import agreement
from pipeline.errors import InputError

# what Ctrl+C waits for, and how far apart lines of progress are at least
EXECUTION_S = 0.25
# timed steps before a profile is taken: the first ones allocate
_BEFORE_PROFILE = 2

# told(first, last, logs) after each execution; steps of the epoch, counted from 1
Told = Callable[[int, int, Mapping[str, float]], None]


class Execution:
    """The function that Keras calls for a whole epoch of a compiled model; it cuts it into executions of the graph.

    Attributes:
        steps, seconds: of all executions that traced nothing.
        waited_s: what `next(iterator)` took inside the graph, in those executions.
        step_s: duration of the last step that was timed; None before the second execution.
        first, ended: whether nothing was executed yet since the graph was traced, and whether an epoch has ended.
    """

    def __init__(self, model: Any, *, wanted: int | Literal["auto"], told: Told, xla: bool = False) -> None:
        self.model, self.wanted, self.told = model, wanted, told
        self.steps, self.seconds, self.waited_s = 0, 0.0, 0.0
        self.step_s: float | None = None
        self.first, self.ended = True, False
        self.xla = xla
        self.profile: Path | None = None
        self.retrace()

    def take_over(self, wanted: int | Literal["auto"], told: Told, profile: Path | None) -> None:
        """Begin a fit, counting from 0: after a trial the graph and what it knows of a step's duration are kept.

        Args:
            profile: folder that takes a TensorBoard profile of one execution, later than the first ones.
        """
        self.wanted, self.told, self.profile = wanted, told, profile
        self.steps, self.seconds, self.waited_s = 0, 0.0, 0.0
        self._install()

    def _install(self) -> None:
        self.model.train_function = self
        self.model.make_train_function = self._made

    def _made(self, force: bool = False) -> Execution:
        """Stand for Keras' method: a callback that changes what a step does has it traced anew."""
        if force:
            self.retrace()
        return self

    def leave(self) -> None:
        """Give the model its own method back."""
        del self.model.make_train_function
        self.model.train_function = None

    def retrace(self) -> None:
        """Have the steps traced anew, as when the random operations in them are to be others."""
        import tensorflow as tf

        model, xla = self.model, self.xla
        alone = {"trainable": False, "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA}
        self._count = count = tf.Variable(1, dtype=tf.int64, **alone)
        self._waited = waited = tf.Variable(0.0, dtype=tf.float64, **alone)

        def step(data: Any) -> Any:
            outputs = model.train_step(data)
            # as Keras does it: the counter tells of steps that were carried out
            with tf.control_dependencies([one for one in tf.nest.flatten(outputs) if tf.is_tensor(one)]):
                model._train_counter.assign_add(1)
            return outputs

        compiled = tf.function(step, jit_compile=True, reduce_retracing=True) if xla else step

        def one(iterator: Any) -> None:
            # the counter is read after the step before has written it
            with tf.control_dependencies([model._train_counter.read_value()]):
                before = tf.timestamp()
            with tf.control_dependencies([before]):
                data = next(iterator)
            parts = [part for part in tf.nest.flatten(data, expand_composites=True) if tf.is_tensor(part)]
            with tf.control_dependencies(parts):
                waited.assign_add(tf.timestamp() - before)
            model.distribute_strategy.run(compiled, args=(data,))

        @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
        def several(iterator: Any) -> Any:
            # a loop that carries what a step returns would be traced twice, to know its shapes
            for _ in tf.range(count):
                one(iterator)
            return model.get_metrics_result()

        self._several = several
        self.first = True
        self._install()

    def __call__(self, iterator: Any) -> Mapping[str, Any]:
        """Carry out as many steps as Keras has set, an epoch's."""
        epoch, done = int(self.model._steps_per_execution.numpy()), 0
        logs: Mapping[str, Any] = {}
        while done < epoch:
            # each worker's clock says another number, and the metrics are summed over all at each execution's end
            count = agreement.of_first(min(self.chunk(), epoch - done))
            # XLA compiles again for the smaller batch at the end of the first epoch
            logs = self.run(iterator, count, timed=self.ended or not self.xla or done + count < epoch)
            self.told(done + 1, done + count, {name: float(value) for name, value in logs.items()})
            done += count
        self.ended = True
        return logs

    def run(self, iterator: Any, count: int, *, timed: bool = True) -> Mapping[str, Any]:
        """Carry out `count` steps at once and return Keras' logs of the epoch so far.

        Raises:
            InputError: XLA cannot compile the steps.
        """
        import tensorflow as tf

        self._count.assign(count)
        profiled = self.profile is not None and self.steps >= _BEFORE_PROFILE
        before, started = float(self._waited.numpy()), time.perf_counter()
        try:
            with self._profiling() if profiled else nullcontext():
                logs: Mapping[str, Any] = tf.nest.map_structure(lambda value: value.numpy(), self._several(iterator))
        except tf.errors.OpError as error:
            # it compiles again for batches of another size
            if self.xla and ("XLA" in str(error) or "ompil" in str(error)):
                raise cannot_compile(error) from error
            raise
        seconds = time.perf_counter() - started
        if self.first:
            self.first = False
        elif timed and not profiled:
            self.steps, self.seconds = self.steps + count, self.seconds + seconds
            self.waited_s += float(self._waited.numpy()) - before
            self.step_s = seconds / count
        return logs

    @contextmanager
    def _profiling(self) -> Iterator[None]:
        import tensorflow as tf

        tf.profiler.experimental.start(str(self.profile))
        try:
            yield
        finally:
            tf.profiler.experimental.stop()
            self.profile = None

    def chunk(self) -> int:
        """Return how many steps the next execution has at most."""
        if self.wanted != "auto":
            return self.wanted
        # tracing says nothing of a step, and the step after it little
        return 1 if self.first or self.step_s is None else max(1, math.floor(EXECUTION_S / self.step_s))


def cannot_compile(error: Exception) -> InputError:
    """Return what is said where XLA refuses a model's steps."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = next((line for line in lines if "XLA" in line or "nsupported" in line or "ompil" in line), lines[0])
    return InputError(
        "XLA cannot compile the steps of this model", expected="operations that XLA has", found=found[:300],
        todo="performance.xla: off",
    )  # fmt: skip
