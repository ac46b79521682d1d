from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline import data
from pipeline.data import DataConfig, Splits, sources
from pipeline.data.divide import divide
from pipeline.data.sources import bundled, keras_datasets
from pipeline.data.sources.source import Source, Target
from pipeline.data.split import NAMES
from pipeline.errors import InputError, MissingError
from tests.pipeline.data.sources.preparing import no_need


@pytest.fixture(scope="module")
def splits() -> Splits:
    return data.load(DataConfig())


def test_digits_have_raw_pixels_ten_classes_and_default_sizes(splits: Splits) -> None:
    assert splits.spec.input.name == "image"
    assert splits.spec.input.shape == (8, 8, 1) == data.input_shapes(DataConfig())["image"]
    assert splits.spec.head.classes == tuple("0123456789")
    assert [len(getattr(splits, name).y) for name in NAMES] == [1078, 270, 90, 359]
    assert splits.train.x.dtype == np.float32
    assert splits.train.y.dtype == np.int64
    assert (splits.train.x.min(), splits.train.x.max()) == (0, 16)


def test_digits_are_those_that_scikit_learn_gives() -> None:
    from sklearn.datasets import load_digits

    found, wanted = bundled.load(DataConfig(), no_need), load_digits()
    target = found.targets[""]
    assert np.array_equal(found.x["image"], wanted.images[..., None])
    assert np.array_equal(target.y, wanted.target)
    assert target.y.dtype == wanted.target.dtype
    assert target.classes == tuple(map(str, wanted.target_names))


def test_no_digit_is_in_two_splits() -> None:
    from pipeline.data.split import split

    parts = split(bundled.load(DataConfig(), no_need).targets[""].y, DataConfig().split.shares(), 0)
    assert len(np.unique(np.concatenate(list(parts.values())))) == 1797


def test_inferred_range_is_said(splits: Splits) -> None:
    assert splits.spec.input.value_range == (0, 16)
    assert splits.notes == ("data.value_range is not given: 0..16 is taken, the training split's range",)


def test_range_of_the_recipe_is_taken_without_a_note() -> None:
    splits = data.load(DataConfig(value_range=(0, 20)))
    assert splits.spec.input.value_range == (0, 20)
    assert splits.notes == ()


def test_range_of_the_recipe_is_doubted_when_values_lie_outside() -> None:
    note = "data.value_range is 0..1, but training values reach 0..16"
    assert data.load(DataConfig(value_range=(0, 1))).notes == (note,)


def test_range_is_refused_when_it_has_no_width() -> None:
    with pytest.raises(ValidationError, match=r"lowest < highest, but is \[5, 5\]"):
        DataConfig(value_range=(5, 5))


def _source(x: np.ndarray) -> Source:
    return Source({"image": x}, {"": Target(np.arange(len(x)) % 2, ("a", "b"))}, given={"test": np.arange(90, 100)})


def test_range_of_bytes_is_0_to_255() -> None:
    splits = divide(_source(np.full((100, 2, 2, 1), 7, np.uint8)), DataConfig())
    assert splits.spec.input.value_range == (0, 255)
    assert splits.notes == ("data.value_range is not given: 0..255 is taken, because the values are uint8",)
    assert len(splits.test.y) == 10


def test_range_is_not_inferred_when_all_values_are_equal() -> None:
    with pytest.raises(InputError, match="cannot be inferred") as refused:
        divide(_source(np.full((100, 2), 7.0)), DataConfig())
    assert refused.value.found == "the value 7 everywhere"


def test_values_that_are_not_finite_are_refused_with_their_split() -> None:
    x = np.random.default_rng(0).random((100, 2))
    x[95, 1] = np.nan
    with pytest.raises(InputError, match="not finite") as refused:
        divide(_source(x), DataConfig())
    assert refused.value.found == (
        "1 such values in the test split, in the input image, first in sample 95 of the data (counted from 0)"
    )


def test_content_hash_is_that_of_the_file_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pipeline import data; print(data.content_hash(data.DataConfig())); "
        "sys.exit(bool({'sklearn', 'numpy', 'tensorflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(bundled.files(DataConfig())[0].read_bytes()).hexdigest()


def test_digits_are_missing_with_advice_when_scikit_learn_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingError, match="part of scikit-learn") as missing:
        bundled.files(DataConfig())
    assert (missing.value.found, missing.value.todo) == ("no scikit-learn", "pip install scikit-learn")


def test_data_config_survives_a_round_trip() -> None:
    config = DataConfig(split_seed=3, value_range=(0, 9), augment={"flip": "both"}, shuffle_buffer=7)
    assert DataConfig.model_validate(config.model_dump(mode="json")) == config


def test_sources_of_the_registry_are_those_of_a_recipe() -> None:
    assert set(get_args(DataConfig.model_fields["source"].annotation)) == set(sources.NAMES)
    assert (tuple(bundled.SETS), tuple(keras_datasets.SETS)) == (sources.BUNDLED, sources.KERAS)
    assert {name for name, known in bundled.SETS.items() if known.numbers} == sources.NUMBERS
    assert all(callable(sources.find(name).load) for name in sources.NAMES)


@pytest.mark.parametrize(
    ("source", "shape", "classes"),
    [
        ("iris", (150, 4), ("setosa", "versicolor", "virginica")),
        ("wine", (178, 13), ("class_0", "class_1", "class_2")),
        ("breast_cancer", (569, 30), ("malignant", "benign")),
    ],
)
def test_tables_are_features_with_the_names_of_their_classes(
    source: str, shape: tuple[int, ...], classes: tuple[str, ...]
) -> None:
    config = DataConfig(source=source)
    found = bundled.load(config, no_need)
    assert found.x["features"].shape == shape
    assert data.input_shapes(config) == {"features": shape[1:]}
    assert found.targets[""].classes == classes
    assert sorted(np.unique(found.targets[""].y)) == list(range(len(classes)))
    assert data.load(config).spec.head.classes == classes
    assert len(data.content_hash(config)) == 64


def test_diabetes_is_a_regression_on_columns_as_they_were_measured() -> None:
    config = DataConfig(source="diabetes")
    splits = data.load(config)
    assert (splits.spec.head.task, splits.spec.head.shape) == ("regression", (1,))
    assert splits.spec.input.shape == (10,) == data.input_shapes(config)["features"]
    age = splits.train.x[:, 0]
    assert (age.min(), age.max()) == (19, 79)  # years, not scikit-learn's share of a norm
    assert 25 <= splits.train.y.min() < 100 < 250 < splits.train.y.max() <= 346
    assert [path.name for path in bundled.files(config)] == ["diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"]


def test_diabetes_can_be_rebuilt_instead() -> None:
    config = DataConfig(source="diabetes", task="reconstruction")
    assert data.load(config).spec.head.task == "reconstruction"
    with pytest.raises(ValidationError, match="diabetes holds numbers to predict"):
        DataConfig(source="diabetes", task="classification")
