"""Anomaly detection: what is learned are normal samples alone, what is judged is how anomalies are told from them.

No anomaly is in the training and calibration splits, some are in validation and some in test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.data.sources.source import Target
from pipeline.data.split import Name, stratify
from pipeline.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pipeline.data.config import DataConfig
    from pipeline.data.sources.source import Source

_TODO = "data.anomaly: [NAME, ...], classes of the data that count as anomalies; or labels 0 (normal) and 1 (anomaly)"


def labelled(target: Target, config: DataConfig) -> np.ndarray:
    """Return which samples are anomalies, bool [n].

    Raises:
        InputError: the data's classes do not tell.
    """
    import numpy as np

    classes = target.classes
    if classes is None or target.y.ndim != 1:
        raise InputError(
            "data.task is anomaly, and the data has no classes", expected="labels that are classes",
            found="numbers to predict" if classes is None else "several labels a sample", todo=_TODO,
        )  # fmt: skip
    if config.anomaly is None:
        if len(classes) != 2:
            raise InputError(
                "data.task is anomaly, and nothing says which classes are anomalies",
                expected="two classes, of which the second is the anomaly, or data.anomaly",
                found=f"the classes {', '.join(classes)}", todo=_TODO,
            )  # fmt: skip
        second: np.ndarray = target.y.astype(np.int64) == 1
        return second
    unknown = [name for name in config.anomaly if name not in classes]
    if unknown or set(classes) <= set(config.anomaly):
        raise InputError(
            "data.anomaly names " + ("classes that the data has not" if unknown else "all classes"),
            expected=f"some of {', '.join(classes)}", found=", ".join(unknown or config.anomaly),
            todo="correct data.anomaly; a class that is not named is normal",
        )  # fmt: skip
    found: np.ndarray = np.isin(target.y, [classes.index(name) for name in config.anomaly])
    return found


def strata(target: Target, anomaly: np.ndarray) -> np.ndarray:
    """Return what to stratify by, int64 [n]: the normal classes, and all anomalies together."""
    import numpy as np

    return np.where(anomaly, -1, target.y.astype(np.int64))


def apart(
    positions: Mapping[Name, np.ndarray], anomaly: np.ndarray, source: Source, config: DataConfig
) -> tuple[dict[Name, np.ndarray], tuple[str, ...]]:
    """Return positions with the anomalies out of training and calibration, and what to say of it.

    They go to validation and test, in the proportion of the shares; not into a test split of the source's own or a fold
    of a cross-validation. Where groups stay together they are left out. Where a test split that came with the data has
    all anomalies, validation gets its share of these.

    Args:
        positions: of all samples, by split. anomaly: bool [n].

    Raises:
        InputError: validation or test would have no anomalies, or no normal samples.
    """
    import numpy as np

    parts: dict[Name, np.ndarray] = {name: here[~anomaly[here]] for name, here in positions.items()}
    found: dict[Name, np.ndarray] = {name: here[anomaly[here]] for name, here in positions.items()}
    loose = np.concatenate([found.pop("train"), found.pop("calibration")])
    notes = []
    fixed = {*source.given, *(["test"] if config.split.fold else [])}
    places: list[Name] = [name for name in ("validation", "test") if name not in fixed]
    if config.split.by in ("group", "content") or not places:
        if len(loose):
            notes.append(f"{len(loose)} anomalies that were to be trained with are left out")
    elif len(loose):
        for name, more in _dealt(loose, places, config).items():
            found[name] = np.concatenate([found[name], more])
    if len(found["validation"]) == 0 and len(found["test"]) > 1:
        taken = _dealt(found["test"], ["validation", "test"], config)
        notes.append(
            f"{len(taken['validation'])} of the {len(found['test'])} anomalies of the test split are validated with "
            "instead: there were no others"
        )
        found |= taken
    for name, here in found.items():
        if len(here) == 0 or len(parts[name]) == 0:
            raise InputError(
                f"the {name} split cannot tell how anomalies are found", expected="anomalies and normal samples in it",
                found=f"{len(here)} anomalies, {len(parts[name])} normal samples", todo="add samples of both kinds",
            )  # fmt: skip
        parts[name] = np.sort(np.concatenate([parts[name], here]))
    sides = ", ".join(f"{len(found[name])} of {len(parts[name])} {name} samples" for name in ("validation", "test"))
    notes.append(f"anomalies: {sides}; {len(parts['train'])} normal samples are learned from")
    return parts, tuple(notes)


def _dealt(anomalies: np.ndarray, places: list[Name], config: DataConfig) -> dict[Name, np.ndarray]:
    import numpy as np

    if len(anomalies) < len(places):
        return {places[0]: anomalies}
    shares = config.split.shares()
    whole = sum(shares[name] for name in places)
    alike = np.zeros(int(anomalies.max()) + 1, np.int64)
    return stratify(alike, anomalies, {name: shares[name] / whole for name in places}, config.split_seed)
