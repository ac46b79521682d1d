"""The one face of everything that answers, and what goes into and comes out of it.

A Keras model, a SavedModel in process, a .tflite in LiteRT, an .onnx in ONNX Runtime and a served model are all
`Predictor`s: accuracy, parity and latency are measured through this face, by one piece of code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeGuard

from pipeline import metric as metrics
from pipeline.errors import InputError, RunError
from pipeline.vectorizer import Rules, Vectorizer

if TYPE_CHECKING:
    import numpy as np

    from pipeline.rows import Rows

LOGITS = "logits"
PROBABILITIES = "probabilities"
VALUE = "value"
RECONSTRUCTION = "reconstruction"
SCORE = "score"

Task = Literal["classification", "multilabel", "regression", "reconstruction", "anomaly"]
# what a head of each task ends in, which parity compares; and what is added at export
ENDS: Mapping[Task, str] = {
    "classification": LOGITS, "multilabel": LOGITS, "regression": VALUE, "reconstruction": RECONSTRUCTION,
    "anomaly": RECONSTRUCTION,
}  # fmt: skip
ADDED: Mapping[Task, tuple[str, ...]] = {
    "classification": (PROBABILITIES,), "multilabel": (PROBABILITIES,), "regression": (), "reconstruction": (SCORE,),
    "anomaly": (SCORE,),
}  # fmt: skip

# what learns to give its input back, whatever it is judged by
GIVING_BACK: frozenset[Task] = frozenset({"reconstruction", "anomaly"})

OUTPUTS = frozenset({*ENDS.values(), *(name for names in ADDED.values() for name in names)})

# some samples: [n, *shape] of the one input, or name -> that where there are several; texts are strings [n], or their
# token ids int32 [n, length]
Samples: TypeAlias = "np.ndarray | Mapping[str, np.ndarray]"
# the same, some of it on the disk where it is larger than memory; `rows` reads from it
Stored: TypeAlias = "np.ndarray | Rows | Mapping[str, np.ndarray | Rows]"


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: the data source's name for it; the same in every format and signature.
        shape: of one sample, without the batch dimension.
        value_range: lowest and highest raw value; the model scales it itself. Of a text, its token ids.
        vectorizer: of a text, which a SavedModel takes as a string; all else takes token ids, of the shape (length,).
        columns: what the numbers of a row are, of a table; else empty. COLUMN=CATEGORY is 1 in the rows of a category.
        column_ranges: lowest and highest raw value of each column, where the model scales each by its own; else empty.
    """

    name: str
    shape: tuple[int, ...]
    value_range: tuple[float, float]
    vectorizer: Vectorizer | None = None
    columns: tuple[str, ...] = ()
    column_ranges: tuple[tuple[float, float], ...] = ()

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The raw values that a model of ours scales to 0 and to 1: floats, or float64 [columns]."""
        if not self.column_ranges:
            return self.value_range
        import numpy as np

        low, high = np.array(self.column_ranges).T
        return low, high

    @property
    def raw_shape(self) -> tuple[int, ...]:
        """Shape of one sample as a SavedModel takes it: a text has none."""
        return self.shape if self.vectorizer is None else ()


@dataclass(frozen=True)
class Head:
    """One output of a Keras model, and what exports make of it.

    classification: logits [n, classes] -> `logits` and `probabilities`, their softmax.
    multilabel: logits [n, classes], each of a label of its own -> `logits` and `probabilities`, their sigmoid.
    regression: `value` [n, k] in the units of the data.
    reconstruction: the sample as the model would have it -> `reconstruction` [n, *shape] in raw values, and `score`
    [n], the mean squared difference to the sample in units of its value range: high for what is unlike the training
    data (an anomaly).
    anomaly: the same model; what it is judged by is how well `score` tells anomalies from normal samples.

    Attributes:
        name: of the output where a model has several, and then the prefix of the names above; else empty.
        shape: of one sample's output.
        classes: the label names, in the order of the logits; empty for other tasks.
        mean, deviation: of the values to predict in the training split, one for each; empty for other tasks.
        judged: the name of the metric that the recipe chose; empty: the task's own (`pipeline.metric.DEFAULTS`).
    """

    task: Task
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    name: str = ""
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    judged: str = ""

    @property
    def end(self) -> str:
        """The output of the Keras model, which parity compares."""
        return self._named(ENDS[self.task])

    @property
    def answer(self) -> str:
        """The output that metrics are computed from: the `end`, but of an anomaly its score."""
        return self._named(SCORE) if self.task == "anomaly" else self.end

    @property
    def outputs(self) -> tuple[str, ...]:
        """All outputs of an exported file that belong to this head."""
        return self.end, *(self._named(name) for name in ADDED[self.task])

    @property
    def metric(self) -> str:
        """The key of what it is judged by: the metric's name, after the head's where there are several."""
        return self._named(self.criterion.name)

    @property
    def criterion(self) -> metrics.Metric:
        """The metric that it is judged by."""
        name = self.judged or metrics.DEFAULTS[self.task]
        found = metrics.find(name)
        assert found is not None, name  # `data` takes no other
        return found

    def _named(self, what: str) -> str:
        return f"{self.name}_{what}" if self.name else what


@dataclass(frozen=True)
class Spec:
    """What goes into and comes out of a model, in the order in which the Keras model has it."""

    inputs: tuple[Input, ...]
    heads: tuple[Head, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(one.name for one in self.inputs)

    @property
    def input(self) -> Input:
        """The one input of a model that has one."""
        (only,) = self.inputs
        return only

    @property
    def head(self) -> Head:
        """The one head of a model that has one."""
        (only,) = self.heads
        return only

    @property
    def ends(self) -> tuple[str, ...]:
        """The outputs that parity compares, one a head."""
        return tuple(head.end for head in self.heads)

    @property
    def kept(self) -> tuple[str, ...]:
        """The outputs that are kept of each sample: what parity compares, and what metrics are computed from."""
        return tuple(dict.fromkeys(name for head in self.heads for name in (head.end, head.answer)))

    @property
    def outputs(self) -> tuple[str, ...]:
        """All outputs of an exported file."""
        return tuple(name for head in self.heads for name in head.outputs)

    def named(self, samples: Samples) -> dict[str, np.ndarray]:
        """Return samples by the names of their inputs."""
        return dict(samples) if isinstance(samples, Mapping) else {self.input.name: samples}

    @property
    def takes_text(self) -> bool:
        """Whether some input is a text."""
        return any(one.vectorizer is not None for one in self.inputs)

    def tokens(self, samples: Samples) -> Samples:
        """Return samples as the Keras model, a .tflite and an .onnx take them: token ids for texts, all else as it is.

        Token ids stay what they are.
        """
        found = self.named(samples)
        for one in self.inputs:
            array = found[one.name]
            if one.vectorizer is not None and array.dtype.kind in "OSU":
                found[one.name] = one.vectorizer.ids(array)
        return found if isinstance(samples, Mapping) else found[self.input.name]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        from dataclasses import asdict

        return asdict(self)

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Spec:
        """Return the spec that `to_json` gave, read from JSON."""
        inputs = [
            Input(
                one["name"],
                tuple(one["shape"]),
                tuple(one["value_range"]),
                _vectorizer(one.get("vectorizer")),
                tuple(one.get("columns", ())),
                tuple(map(tuple, one.get("column_ranges", ()))),
            )
            for one in fields["inputs"]
        ]
        listed = ("shape", "classes", "mean", "deviation")
        heads = [Head(**one | {key: tuple(one[key]) for key in listed}) for one in fields["heads"]]
        return Spec(tuple(inputs), tuple(heads))


def _vectorizer(fields: Mapping[str, Any] | None) -> Vectorizer | None:
    if fields is None:
        return None
    return Vectorizer(tuple(fields["words"]), fields["length"], Rules(**fields["rules"]))


def classifier(
    input_name: str, shape: tuple[int, ...], value_range: tuple[float, float], classes: Collection[str]
) -> Spec:
    """Return the spec of a model with one input that answers one of some classes."""
    return Spec((Input(input_name, shape, value_range),), (Head("classification", (len(classes),), tuple(classes)),))


def count(samples: Stored) -> int:
    """Return the number of samples."""
    return len(next(iter(samples.values())) if isinstance(samples, Mapping) else samples)


def rows(samples: Stored, index: Any) -> Samples:
    """Return some samples, in memory; `index` is a slice or an array of positions."""
    if isinstance(samples, Mapping):
        return {name: array[index] for name, array in samples.items()}
    found: np.ndarray = samples[index]
    return found


def in_memory(samples: Stored) -> TypeGuard[Samples]:
    """Return whether nothing of some samples is on the disk."""
    from pipeline.rows import Rows  # a recipe is checked without it

    every = samples.values() if isinstance(samples, Mapping) else [samples]
    return not any(isinstance(one, Rows) for one in every)


def heads(spec: Spec, wanted: Samples) -> list[tuple[Head, np.ndarray]]:
    """Return each head with what it has to answer (`data.Split.y`)."""
    by_name = dict(wanted) if isinstance(wanted, Mapping) else {spec.head.name: wanted}
    return [(head, by_name[head.name]) for head in spec.heads]


class Ends(Protocol):
    """What a predictor goes by: the `Spec` of a model of ours, or the `Signature` that a file or a server has."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the inputs, in their order."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """The outputs that are wanted."""
        ...

    def named(self, samples: Samples) -> dict[str, np.ndarray]:
        """Return samples by the names of their inputs."""
        ...


class Predictor(Protocol):
    """Answers for a batch of raw samples."""

    def predict(self, batch: Samples) -> dict[str, np.ndarray]:
        """Run the model once.

        Args:
            batch: float32 [n, *shape] of the one input, or of each by name; raw values, n >= 1. Of a text strings [n]
                where the model is a SavedModel, else token ids (`Spec.tokens`).

        Returns:
            the spec's `outputs`, float32 [n, ...] each.
        """
        ...

    def close(self) -> None:
        """Release the runtime's memory; the predictor is not used afterwards."""
        ...


class FormatError(RunError):
    """A file or a served model does not have the inputs and outputs that the spec promises."""


def require_numbers(spec: Spec) -> None:
    """Refuse texts for a model of the user's: it has a vocabulary of its own, which its file does not tell.

    Raises:
        InputError: an input is a text.
    """
    texts = [one.name for one in spec.inputs if one.vectorizer is not None]
    if texts:
        raise InputError(
            "a model file cannot be given texts: its vocabulary is not known",
            expected="numbers; token ids made with its own vocabulary are numbers too", found=f"texts in {texts[0]}",
            todo="make an .npz of token ids; or train a text_rnn or text_transformer on these texts",
        )  # fmt: skip


def require_ends(
    name: str, spec: Spec, *, inputs: Mapping[str, tuple[int | None, ...]], outputs: Collection[str],
    strings: bool = False,
) -> None:  # fmt: skip
    """Raise FormatError unless a model has the spec's inputs, with their sample shapes, and its outputs.

    Args:
        name: the file or the served model, for the message.
        spec: what the model promises.
        inputs: name to shape, with the batch dimension.
        outputs: the names.
        strings: whether texts go in as strings.
    """
    wanted_shapes = {one.name: one.raw_shape if strings else one.shape for one in spec.inputs}
    samples = {end: tuple(shape[1:]) for end, shape in inputs.items()}
    if samples != wanted_shapes or not set(spec.outputs) <= set(outputs):
        wanted = ", ".join(f"{end} {list(shape)}" for end, shape in wanted_shapes.items())
        inputs_text = ", ".join(f"{end} {list(shape)}" for end, shape in samples.items())
        raise FormatError(
            f"{name} is not a model for this data",
            expected=f"input {wanted} per sample, outputs {' and '.join(spec.outputs)}",
            found=f"input {inputs_text or 'none'} per sample, outputs {' and '.join(sorted(outputs)) or 'none'}",
            todo="export it again from the model that was trained on this data",
        )
