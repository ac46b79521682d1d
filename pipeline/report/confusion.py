"""Which class was taken for which: as a matrix, or where there are many classes, as the most confused pairs."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.answers import Answers, SplitAnswers
from pipeline.report.document import Report

MOST_CLASSES = 20  # more of them make no readable matrix
MOST_PAIRS = 25
_SHADES = 5


@dataclass(frozen=True)
class Cell:
    """`shade` is 0 for none and up to 5 for all samples of the class."""

    count: int
    shade: int
    right: bool


@dataclass(frozen=True)
class Class:
    """A row of the matrix; `recall` and `precision` are None where nothing was to be found or was answered so."""

    name: str
    samples: int
    recall: float | None
    precision: float | None
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Pair:
    """`share` of the class's samples that were taken for the other."""

    name: str
    answer: str
    count: int
    share: float


@dataclass(frozen=True)
class Confusion:
    """What one model confused; `matrix` is empty where there are many classes.

    `more` counts the pairs that are not among `pairs`, `wrong` the samples that were answered wrongly.
    """

    answers: Answers
    wrong: int
    matrix: tuple[Class, ...]
    pairs: tuple[Pair, ...]
    more: int


def shown(report: Report) -> Answers | None:
    """Return the answers of the final model; where it gave none, those of the last stage's model that did."""
    if report.tested is None:
        return None
    names = [report.final, report.to_serve, *(model.key for model in reversed(report.models) if not model.variant)]
    return next((found for name in names if (found := report.tested.of(name)) and found.cells), None)


def confusion(answers: Answers, tested: SplitAnswers) -> Confusion:
    """Return what is shown of a model's answers."""
    of_class: dict[int, int] = {}
    answered: dict[int, int] = {}
    for label, answer, count in answers.cells:
        of_class[label] = of_class.get(label, 0) + count
        answered[answer] = answered.get(answer, 0) + count
    wrong = [cell for cell in answers.cells if cell[0] != cell[1]]
    pairs = [
        Pair(tested.classes[label], tested.classes[answer], count, count / of_class[label])
        for label, answer, count in sorted(wrong, key=lambda cell: (-cell[2], cell[0], cell[1]))
    ]
    counts = {(label, answer): count for label, answer, count in answers.cells}
    few = len(tested.classes) <= MOST_CLASSES
    matrix = tuple(
        _row(label, name, counts, of_class, answered, len(tested.classes))
        for label, name in enumerate(tested.classes if few else ())
    )
    return Confusion(
        answers, sum(count for *_, count in wrong), matrix, tuple(pairs[:MOST_PAIRS]), max(len(pairs) - MOST_PAIRS, 0)
    )


def _row(
    label: int, name: str, counts: dict[tuple[int, int], int], of_class: dict[int, int], answered: dict[int, int],
    classes: int,
) -> Class:  # fmt: skip
    samples, right = of_class.get(label, 0), counts.get((label, label), 0)
    found = [counts.get((label, answer), 0) for answer in range(classes)]
    cells = tuple(
        Cell(count, -(-_SHADES * count // samples) if samples else 0, answer == label)
        for answer, count in enumerate(found)
    )
    chosen = answered.get(label, 0)
    return Class(name, samples, right / samples if samples else None, right / chosen if chosen else None, cells)
