"""What a stage makes once more, on the same budget, to tell what a part of it was worth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A model beside a stage's own, which starts and learns like it but for one thing. What is said of it is elsewhere
    (`report/variants.py`), so that another word there trains nothing again.

    Attributes:
        name: of the recipe's switch, of the model in models.json, and of its folder beside the other.
        without: what it lacks, in words.
        change: what the metrics call the difference between both: METRIC_gain_by_teaching.
        costs: whether that is told as what the stage's own model lost; else as what it gained.
    """

    name: str
    without: str
    change: str
    costs: bool = False


ALONE = Variant("alone", without="a teacher", change="gain_by_teaching")
CONTROL = Variant("control", without="removing channels", change="loss_by_removal", costs=True)
VARIANTS = (ALONE, CONTROL)
