"""What is to be predicted, from the feature of the records that says so."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.data.sources import labels, layout, stored
from pipeline.data.sources.tfrecord import records
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.data.config import DataConfig
    from pipeline.data.sources.tfrecord.config import Config


class Answers:
    """What the label of each record so far says; the first one tells of what kind all are."""

    def __init__(self, data: DataConfig, section: Config) -> None:
        self._data, self._name = data, section.label
        self._kind: str | None = None
        self._width = 0
        self._numbers = array("d")
        self._names: dict[bytes, int] = {}

    def add(self, example: Any, where: str) -> None:
        """Take the label of one more record.

        Raises:
            InputError: it has none, or one of another kind than the first.
        """
        if self._name is None:
            return
        kind = records.kind(example, self._name)
        values = [] if kind is None else list(getattr(example.features.feature[self._name], kind).value)
        if self._kind is None:
            self._kind, self._width = kind, len(values)
        if kind is None or not values or (kind, len(values)) != (self._kind, self._width):
            raise InputError(
                f"the label {self._name} of {where} is not like the others",
                expected=f"{self._width or 'some'} values ({self._kind or 'of one kind'})",
                found=f"{len(values)} values ({kind or 'no such feature'}); features "
                + ", ".join(sorted(example.features.feature)),
                todo="correct data.tfrecord.label, or the file",
            )  # fmt: skip
        if kind == "bytes_list":
            self._numbers.append(self._names.setdefault(values[0], len(self._names)))
        else:
            self._numbers.extend(map(float, values))

    def write(self, folder: Path) -> dict[str, tuple[str, ...] | None]:
        """Write what is to be answered into a prepared folder; return head name -> classes.

        Raises:
            InputError: labels do not fit the task.
        """
        import numpy as np

        if self._name is None:
            return {}
        task, classes = self._data.task, self._data.classes
        y = np.frombuffer(self._numbers).reshape(-1, self._width)
        if self._kind == "bytes_list" and task not in ("regression", "multilabel") and self._width == 1:
            found, classes = self._named(y[:, 0].astype(np.int64))
        elif task == "regression" and self._kind != "bytes_list":
            found, classes = y, None
        elif task == "multilabel" and self._width > 1 and np.isin(y, (0, 1)).all():
            found, classes = y.astype(np.float32), classes or tuple(map(str, range(self._width)))
        elif self._kind == "int64_list" and task != "multilabel" and self._width == 1:
            found = y[:, 0].astype(np.int64)
            classes = layout.classes(found, self._data, f"label {self._name} of the records")
        else:
            raise self._refused(y)
        if classes is not None and found.ndim > 1 and len(classes) != self._width:
            raise self._refused(y)
        stored.answers(folder, found.shape, found.dtype)[:] = found
        return {"": classes}

    def _named(self, positions: Any) -> tuple[Any, tuple[str, ...]]:
        import numpy as np

        names = [name.decode(errors="replace") for name in self._names]
        classes, strange = labels.chosen(names, self._data.classes)
        if strange:
            raise InputError(
                f"the label {self._name} of the records has names that data.classes has not",
                expected=", ".join(classes), found=", ".join(strange[:5]), todo="complete data.classes",
            )  # fmt: skip
        where = labels.positions(names, classes)
        return np.array([where[name] for name in names])[positions], classes

    def _refused(self, y: Any) -> InputError:
        return InputError(
            f"the label {self._name} of the records does not fit the task {self._data.task or 'classification'}",
            expected="one integer or name (classification), several of 0 and 1, as many as data.classes (multilabel), "
            "or numbers (regression)",
            found=f"{self._width} values ({self._kind}) in each record, such as {y[0].tolist()}",
            todo="correct data.task or data.tfrecord.label",
        )  # fmt: skip
