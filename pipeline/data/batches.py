"""tf.data pipelines over a split: shuffled and augmented for training, plain for evaluation.

The order of an epoch and what happens to its samples are functions of (seed, epoch) alone; so a run that goes on at
epoch 7 sees what a run that was never interrupted saw, and parallel threads change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.data import augment
from pipeline.predictor import GIVING_BACK, count, in_memory, rows

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.divide import Split
    from pipeline.predictor import Spec, Stored


# more epochs than there will ever be
ENDLESS = 2**40


@dataclass(frozen=True)
class Parts:
    """Which consecutive parts of each batch a dataset gives, one after the other; the others are for other workers.

    Attributes:
        first, count: of these parts, counted from 0.
        of: into how many parts a batch is cut; they differ by one sample at most.
    """

    first: int
    count: int
    of: int

    def uneven(self, samples: int, batch_size: int) -> bool:
        """Return whether parts of some batch differ in size."""
        last = samples % batch_size
        return last % self.of > 0 or (samples >= batch_size and batch_size % self.of > 0)

    def cut(self, batches: Any, *, weighed: bool = False) -> Any:
        """Return a dataset of the parts of the batches of another, which are tuples of tensors [n, ...].

        An empty part is one sample of the batch again: not every kernel of TensorFlow's computes with none.

        Args:
            weighed: add a tensor, float32 [m], to each part of m samples: how much larger it is than their mean, which
                is what the part's mean weighs in the batch's; 0 where the part is empty.
        """
        import tensorflow as tf

        def parts(*batch: Any) -> Any:
            size = tf.shape(tf.nest.flatten(batch)[0], out_type=tf.int64)[0]

            def part(place: Any) -> Any:
                low, high = size * place // self.of, size * (place + 1) // self.of
                first = tf.minimum(low, size - 1)
                some = tf.nest.map_structure(lambda whole: whole[first : tf.maximum(high, first + 1)], batch)
                if not weighed:
                    return some
                weight = tf.cast((high - low) * self.of, tf.float32) / tf.cast(size, tf.float32)
                return (*some, tf.fill([tf.maximum(high - low, 1)], weight))

            return tf.data.Dataset.range(self.first, self.first + self.count).map(part)

        return batches.flat_map(parts)


@dataclass(frozen=True)
class Feeding:
    """How batches are made while a model works on others; none of it changes what is in them.

    Attributes:
        ahead: whether several batches are made at once, beside the steps; else each when a step asks for it.
        memory: whether samples that lie on the disk are read into memory before the first epoch.
    """

    ahead: bool = True
    memory: bool = False

    def __str__(self) -> str:
        where = ", samples read into memory" if self.memory else ""
        return ("batches made ahead" if self.ahead else "batches made in line") + where


def epoch_order(count: int, seed: int, epoch: int, shuffle_buffer: int | None) -> np.ndarray:
    """Return the order of `count` samples in one epoch: a permutation, int64 [count].

    A buffer smaller than the split keeps neighbours near each other, for arrays that are read from a disk.
    """
    import numpy as np

    random = np.random.default_rng((seed, epoch, 0))
    if shuffle_buffer is None or shuffle_buffer >= count:
        return random.permutation(count)
    return np.argsort(np.arange(count) + random.uniform(0, shuffle_buffer, count), kind="stable")


def epoch_maps(count: int, seed: int, epoch: int, config: augment.AugmentConfig, size: tuple[int, int]) -> np.ndarray:
    """Return what augmentation does in one epoch to each sample, by its position in the split: float32 [count, 8]."""
    import numpy as np

    draws = np.random.default_rng((seed, epoch, 1)).random((count, augment.DRAWS))
    return augment.transforms(draws, config, *size)


def training(
    part: Split, spec: Spec, config: DataConfig, *, batch_size: int, seed: int, first_epoch: int, last_epoch: int,
    parts: Parts | None = None, feeding: Feeding = Feeding(),
) -> Any:  # fmt: skip
    """Return one dataset of (x, y) batches that runs through the epochs first_epoch..last_epoch - 1 in turn.

    One dataset for all epochs, so that no epoch waits for an iterator to start. The last batch of each epoch is smaller
    where the batch size does not divide the split. Where the model is to give its input back, y is made of x, batch by
    batch: x scaled to [0, 1], so that no second copy of the samples is held.

    Args:
        parts: of each batch, where it is divided among replicas; the dataset does not end then. Where they differ in
            size there is a third tensor, see `Parts.cut`.

    Raises:
        InputError: augmentation that is impossible for these inputs.
    """
    import numpy as np
    import tensorflow as tf

    total = len(part)
    if config.augment is not None:
        augment.check(config.augment, spec.input.shape)

    def plan(epoch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order = epoch_order(total, seed, int(epoch), config.shuffle_buffer)
        if config.augment is None:
            return order, np.zeros((total, 0), np.float32)
        height, width = spec.input.shape[:2]
        return order, epoch_maps(total, seed, int(epoch), config.augment, (height, width))[order]

    def one_epoch(epoch: Any) -> Any:
        order, maps = tf.numpy_function(plan, [epoch], (tf.int64, tf.float32), stateful=False)
        order, maps = tf.ensure_shape(order, [total]), tf.ensure_shape(maps, [total, 8 if config.augment else 0])
        return tf.data.Dataset.from_tensor_slices((order, maps)).batch(batch_size)

    def gather(order: Any, maps: Any, *weights: Any) -> Any:
        x, *y = samples(order)
        if config.augment is not None:
            x = augment.apply(x, maps, spec.input.value_range[0])
        return (x, *y, *weights) if again is None else (x, again(x), *weights)

    again = rebuilt(spec)
    sides = (part.x, part.y) if again is None else (part.x,)
    held = config.cache and (in_memory(part.x) or feeding.memory)
    samples = _cached(sides) if held else _uncached(sides)
    epochs = tf.data.Dataset.range(first_epoch, last_epoch if parts is None else ENDLESS).flat_map(one_epoch)
    if parts is not None:
        epochs = parts.cut(epochs, weighed=parts.uneven(total, batch_size))
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True} if feeding.ahead else {}
    return _prefetched(epochs.map(gather, **parallel), config, ahead=feeding.ahead)


def feedings(part: Split, config: DataConfig, free_bytes: int) -> tuple[Feeding, ...]:
    """Return the ways to make batches that are worth a trial, the usual one first.

    Args:
        free_bytes: of memory; samples on the disk are read into it where they take a quarter of it at most.
    """
    found = [Feeding()]
    if config.prefetch is None:  # who sets it has chosen
        found.append(Feeding(ahead=False))
    if config.cache and not in_memory(part.x) and size(part) * 4 <= free_bytes:
        found.append(Feeding(memory=True))
    return tuple(found)


def size(part: Split) -> int:
    """Return the bytes of a split's samples and labels, wherever they lie."""
    import numpy as np

    sides = [array for side in (part.x, part.y) for array in _flat(side)]
    return sum(np.dtype(array.dtype).itemsize * int(np.prod(array.shape)) for array in sides)


def _flat(samples: Stored) -> Sequence[Any]:
    return tuple(samples.values()) if isinstance(samples, Mapping) else (samples,)


def _prefetched(batches: Any, config: DataConfig, *, ahead: bool = True) -> Any:
    import tensorflow as tf

    if config.prefetch != 0 and (ahead or config.prefetch is not None):
        batches = batches.prefetch(tf.data.AUTOTUNE if config.prefetch is None else config.prefetch)
    options = tf.data.Options()
    # the thread that tunes parallelism sleeps longer and longer, and the end of a fit would wait until it wakes
    options.autotune.enabled = False
    return batches.with_options(options)


def arrays(samples: Stored) -> Any:
    """Return samples as Keras takes them: an array, or a tuple in the order of the model's inputs or outputs."""
    return tuple(samples.values()) if isinstance(samples, Mapping) else samples


def rebuilt(spec: Spec) -> Callable[[Any], Any] | None:
    """Return what makes of a batch of samples what is to be learned of them; None: they come with it."""
    if spec.heads[0].task not in GIVING_BACK:
        return None
    import tensorflow as tf

    low, high = (tf.constant(end, tf.float32) if spec.input.column_ranges else end for end in spec.input.bounds)
    return lambda x: (x - low) / (high - low)


def _cached(sides: Sequence[Stored]) -> Any:
    import tensorflow as tf

    tensors = tf.nest.map_structure(tf.constant, tuple(map(arrays, sides)))
    return lambda order: tf.nest.map_structure(lambda tensor: tf.gather(tensor, order), tensors)


def _uncached(sides: Sequence[Stored]) -> Any:
    import tensorflow as tf

    held = tuple(map(arrays, sides))
    flat = tf.nest.flatten(held)

    def read(order: Any) -> Any:
        types = [array.dtype for array in flat]
        found = tf.numpy_function(lambda at: [array[at] for array in flat], [order], types, stateful=False)
        shaped = [tf.ensure_shape(one, [None, *array.shape[1:]]) for one, array in zip(found, flat, strict=True)]
        return tf.nest.pack_sequence_as(held, shaped)

    return read


def evaluated(part: Split, spec: Spec) -> np.ndarray:
    """Return which samples of a split a loss is computed of, int64 [n].

    Of anomalies nothing is learned, so a loss says something of normal samples alone: the others are left out.
    """
    import numpy as np

    if spec.heads[0].task == "anomaly":
        return np.flatnonzero(np.asarray(part.y) == 0)
    return np.arange(len(part))


def evaluation(part: Split, spec: Spec, config: DataConfig, *, batch_size: int, parts: Parts | None = None) -> Any:
    """Return a dataset of (x, y) batches in the split's own order, never augmented; y as in `training`.

    Args:
        parts: of each batch, where it is divided among replicas; the dataset begins anew then where it ends.
    """
    import tensorflow as tf

    again = rebuilt(spec)
    sides = (part.x, part.y) if again is None else (part.x,)
    wanted = evaluated(part, spec)
    if parts is not None:
        read = _cached(sides) if in_memory(part.x) else _uncached(sides)
        batches = parts.cut(tf.data.Dataset.from_tensor_slices((wanted,)).batch(batch_size)).map(read)
    elif in_memory(part.x):
        some = sides if len(wanted) == len(part) else tuple(rows(side, wanted) for side in sides)
        batches = tf.data.Dataset.from_tensor_slices(tuple(map(arrays, some))).batch(batch_size)
    else:
        batches = tf.data.Dataset.from_tensor_slices(wanted).batch(batch_size).map(_uncached(sides))
    if again is not None:
        batches = batches.map(lambda x: (x, again(x)))
    if in_memory(part.x) and config.cache:
        batches = batches.cache()
    return _prefetched(batches if parts is None else batches.repeat(), config)


def predict(model: Any, samples: Stored, *, batch_size: int) -> Any:
    """Return what a Keras model answers, float32 [n, ...], or a list of that where it has several outputs.

    Of several replicas the first answers, so that no other worker is waited for.
    """
    # a tuple of one, as Keras takes a tuple of two for samples and labels
    if hasattr(model, "distribute_strategy") and model.distribute_strategy.num_replicas_in_sync > 1:
        return _first_replica(model, _in_order(count(samples), batch_size).map(_reading(samples)))
    if in_memory(samples):
        return model.predict(arrays(samples), batch_size=batch_size, verbose=0)
    given = _in_order(count(samples), batch_size).map(_uncached((samples,)))
    return model.predict(given, verbose=0)


def _reading(samples: Stored) -> Any:
    return _cached((samples,)) if in_memory(samples) else _uncached((samples,))


def _first_replica(model: Any, batches: Any) -> Any:
    import numpy as np
    import tensorflow as tf

    # kept with the model, whose weights change from call to call: tracing takes longer than answering
    answer = vars(model).get("_answer")
    if answer is None:
        answer = vars(model)["_answer"] = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    found = [answer(x) for (x,) in batches]
    whole = [
        np.concatenate([np.asarray(one) for one in ends]) for ends in zip(*map(tf.nest.flatten, found), strict=True)
    ]
    return whole if isinstance(found[0], (list, tuple)) else whole[0]


def _in_order(samples: int, batch_size: int) -> Any:
    import tensorflow as tf

    return tf.data.Dataset.range(samples).batch(batch_size)
