"""What every model and every file answered to the test split, as the report tells it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.isolate import Child
from pipeline.measuring import answers, pictures
from pipeline.measuring.facts import Facts
from pipeline.measuring.quality import Qualities
from pipeline.measuring.runs import Answers
from pipeline.predictor import rows
from pipeline.report.answers import SplitAnswers

EXAMPLES = "examples"


def split_answers(
    keras: Mapping[str, Answers], facts: Facts, child: Child, folder: Path, qualities: Qualities
) -> SplitAnswers:
    """Return what every model and every artifact that did not fail answered, and keep pictures of the hardest samples.

    An artifact that is measured in several places is told once.

    Args:
        keras: key of a stage's model -> its answers.
        child: draws the pictures.
        folder: of the stage, for them.
    """
    test, spec = facts.splits.test, facts.splits.spec
    head, wanted = spec.head, np.asarray(test.y)
    answered = {name: found[head.answer] for name, found in (dict(keras) | facts.told()).items()}
    told = [answers.of_head(name, head, wanted, found) for name, found in answered.items()]
    shown = sorted({example.index for one in told for example in one.hardest})
    drawn: dict[int, str] = {}
    if shown and len(spec.inputs) == 1 and pictures.are_images(spec.input.shape):
        (folder / EXAMPLES).mkdir()
        images = child.call(pictures.png, np.asarray(rows(test.x, np.array(shown))), spec.input.value_range)
        for index, image in zip(shown, images, strict=True):
            (folder / EXAMPLES / f"{index}.png").write_bytes(image)
            drawn[index] = f"stages/{facts.attempts.stage}/{EXAMPLES}/{index}.png"
    return SplitAnswers(
        samples=len(test), classes=list(head.classes), answers=[answers.pictured(one, drawn) for one in told],
        support=answers.support(head, wanted), undefined=qualities.undefined(),
    )  # fmt: skip
