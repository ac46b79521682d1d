"""What models answered to the test split, as types: which class was taken for which, and the hardest samples."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pipeline.config import Frozen
from pipeline.files import write_json

ANSWERS = "answers.json"


class Example(Frozen):
    """A test sample that a model got wrong, or nearly.

    `index` counts within the test split; `label` and `answer` are numbers of classes. `probability` is the answer's and
    `probability_of_label` the label's own, both of the softmax of the logits. `picture` is a PNG in the run's folder,
    null where samples are no images.
    """

    index: int
    label: int
    answer: int
    probability: float
    probability_of_label: float
    picture: str | None = None

    @property
    def right(self) -> bool:
        return self.label == self.answer


class Answers(Frozen):
    """What one model answered to the whole test split.

    `of` is an artifact's id, or STAGE.keras for a stage's Keras model. `cells` is its confusion matrix, as (class,
    answer, samples) for every cell that is not zero, by class and answer. `hardest` are the samples with the smallest
    margin between the label's probability and the best other one's: the most confidently wrong first. `reliability` has
    (mean confidence, accuracy, samples) of each of 15 bins of equal width that has samples. `roc` is the ROC curve of a
    model of two classes, or of an anomaly score: (false positive rate, true positive rate) from (0, 0) to (1, 1). What
    the task has not is empty.
    """

    of: str
    cells: list[tuple[int, int, int]] = Field(default_factory=list)
    hardest: list[Example] = Field(default_factory=list)
    reliability: list[tuple[float, float, int]] = Field(default_factory=list)
    roc: list[tuple[float, float]] = Field(default_factory=list)


class SplitAnswers(Frozen):
    """The test split's number of samples and names of classes, and what each model answered to it.

    `support` counts the samples of each class, or with each label; of an anomaly score those that are normal and those
    that are not. `undefined` says of the metrics that these samples leave undefined why; no model has them.
    """

    samples: int
    classes: list[str]
    answers: list[Answers]
    support: list[int] = Field(default_factory=list)
    undefined: dict[str, str] = Field(default_factory=dict)

    def of(self, name: str | None) -> Answers | None:
        """Return what an artifact or a stage's model answered; None where it is not known."""
        return next((one for one in self.answers if one.of == name), None)


def write_answers(tested: SplitAnswers, folder: Path) -> None:
    """Write what is known of the answers into a stage's folder."""
    write_json(folder / ANSWERS, tested.model_dump(mode="json"))


def read_answers(folder: Path) -> SplitAnswers | None:
    """Return what a stage's folder knows of the answers; None where it asked nobody."""
    path = folder / ANSWERS
    return SplitAnswers.model_validate_json(path.read_bytes()) if path.exists() else None
