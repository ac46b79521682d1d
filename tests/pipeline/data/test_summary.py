from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline import data
from pipeline.data import DataConfig
from pipeline.data.divide import divide
from pipeline.data.sources.source import Source, Target
from pipeline.data.summary import summary
from pipeline.report.data import Data, read_data, write_data


def test_summary_tells_inputs_outputs_sizes_and_notes() -> None:
    config = DataConfig()
    found = summary(data.load(config), config)
    assert found.inputs == {"image": [8, 8, 1]}
    (output,) = found.outputs
    assert (output.task, output.metric, output.classes) == ("classification", "accuracy", list("0123456789"))
    assert {name: split.samples for name, split in found.splits.items()} == {
        "train": 1078, "validation": 270, "calibration": 90, "test": 359,
    }  # fmt: skip
    assert all(sum(split.of_classes or []) == split.samples for split in found.splits.values())
    assert found.by == "stratified"
    assert any("data.value_range is not given" in note for note in found.notes)


def test_values_have_no_classes() -> None:
    x = np.random.default_rng(0).random((100, 3))
    splits = divide(Source({"features": x}, {"": Target(x[:, :1], None)}), DataConfig())
    found = summary(splits, DataConfig())
    assert [split.of_classes for split in found.splits.values()] == [None] * 4
    assert found.classes() == []


def test_of_many_classes_the_fewest_and_the_most_are_listed() -> None:
    y = np.repeat(np.arange(30), np.arange(10, 40))
    x = np.random.default_rng(0).random((len(y), 3))
    splits = divide(Source({"features": x}, {"": Target(y, tuple(f"c{k}" for k in range(30)))}), DataConfig())
    assert [name for name, _ in summary(splits, DataConfig()).classes()] == ["c0 (fewest)", "c29 (most)"]


def test_data_is_read_as_written(tmp_path: Path) -> None:
    config = DataConfig()
    found: Data = summary(data.load(config), config)
    assert read_data(tmp_path) is None
    write_data(found, tmp_path)
    assert read_data(tmp_path) == found


def test_anomalies_are_counted_in_each_split() -> None:
    config = DataConfig(task="anomaly", anomaly=("4",))
    found = summary(data.load(config), config)
    counts = dict(found.classes())
    assert list(counts) == ["normal", "anomaly"]
    assert counts["anomaly"][0] == counts["anomaly"][2] == 0  # none in training and calibration
    assert min(counts["anomaly"][1], counts["anomaly"][3]) > 0


def test_labels_are_counted_each_by_itself() -> None:
    y = np.stack([np.arange(100) % 2, np.arange(100) % 4 == 0], axis=1).astype(np.float32)
    x = np.random.default_rng(0).random((100, 3))
    config = DataConfig(task="multilabel", source="npz", path="x.npz")
    found = summary(divide(Source({"features": x}, {"": Target(y, ("odd", "fourth"))}), config), config)
    odd, fourth = (sum(counts) for _, counts in found.classes())
    assert (odd, fourth) == (50, 25)
