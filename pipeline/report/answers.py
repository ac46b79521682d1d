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
    margin between the label's probability and the best other one's: the most confidently wrong first.
    """

    of: str
    cells: list[tuple[int, int, int]]
    hardest: list[Example] = Field(default_factory=list)


class SplitAnswers(Frozen):
    """The test split's number of samples and names of classes, and what each model answered to it."""

    samples: int
    classes: list[str]
    answers: list[Answers]

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
