"""What `modelmill architectures` states is what built models have, and what the papers say."""

from __future__ import annotations

from typing import Any

import pytest

from models import MODELS
from pipeline import listings
from tests.models.sizes import ENTRIES, Entry, counted

# the ones that are built in seconds
QUICK = [entry for entry in ENTRIES if entry.shape[0] < 96 and entry.config.model_dump().get("depth", 8) <= 20]
LONG = [entry for entry in ENTRIES if entry not in QUICK]


def _id(entry: Entry) -> str:
    return "-".join(str(value) for value in (*entry.keys.values(), entry.shape[0]))


@pytest.mark.parametrize(
    "entry",
    [
        *(pytest.param(entry, id=_id(entry)) for entry in QUICK),
        *(pytest.param(entry, id=_id(entry), marks=pytest.mark.long) for entry in LONG),
    ],
)
def test_stated_size_is_that_of_the_built_model(entry: Entry) -> None:
    stated = {_id(one): size for one, size in zip(ENTRIES, listings.sizes(), strict=True)}
    assert stated[_id(entry)] == counted(entry), "python -m tests.models.sizes writes them anew"


def test_every_architecture_is_among_the_stated_sizes() -> None:
    assert {size["model"]["architecture"] for size in listings.sizes()} == set(MODELS)


@pytest.mark.parametrize(
    ("keys", "shape", "macs", "parameters"),
    [
        # Banbury et al., 2021, MLPerf Tiny, and its reference implementation
        ({"architecture": "resnet", "depth": 8}, [32, 32, 3], 12.5e6, 78_666),
        # He et al., 2015, table 6; the MACs are those of its layers with option A
        ({"architecture": "resnet", "depth": 20}, [32, 32, 3], 40.6e6, 0.27e6),
        ({"architecture": "resnet", "depth": 32}, [32, 32, 3], 68.9e6, 0.46e6),
        ({"architecture": "resnet", "depth": 56}, [32, 32, 3], 125.5e6, 0.85e6),
        # He et al., 2015, table 1
        ({"architecture": "resnet", "depth": 18}, [224, 224, 3], 1.8e9, 11.7e6),
        # Howard et al., 2017, table 4
        ({"architecture": "mobilenet", "version": 1}, [224, 224, 3], 569e6, 4.2e6),
        # Sandler et al., 2018, table 4; with batch normalization's statistics it is 3.5 million
        ({"architecture": "mobilenet", "version": 2}, [224, 224, 3], 300e6, 3.5e6),
        ({"architecture": "mobilenet", "version": 2, "width_multiplier": 0.5}, [224, 224, 3], 97e6, 1.95e6),
        # Tan and Le, 2019, table 2
        ({"architecture": "efficientnet"}, [224, 224, 3], 0.39e9, 5.3e6),
        ({"architecture": "efficientnet", "variant": "b1"}, [240, 240, 3], 0.70e9, 7.8e6),
        # Zhang et al., 2017, table 5: 5.4, 19.8 and 56.9 million operations, two a MAC
        ({"architecture": "ds_cnn"}, [49, 10, 1], 2.7e6, None),
        (
            {"architecture": "ds_cnn", "filters": 172, "strides": [2, 1], "block_stride": 2},
            [49, 10, 1], 9.9e6, None,
        ),
        (
            {"architecture": "ds_cnn", "filters": 276, "blocks": 5, "strides": [2, 1], "block_stride": 2},
            [49, 10, 1], 28.45e6, None,
        ),
    ],
)  # fmt: skip
def test_stated_size_is_the_published_one(
    keys: dict[str, Any], shape: list[int], macs: float, parameters: float | None
) -> None:
    (size,) = [size for size in listings.sizes() if (size["model"], size["input"]) == (keys, shape)]
    assert size["macs"] == pytest.approx(macs, rel=0.02)
    if parameters is not None:
        assert size["parameters"] == pytest.approx(parameters, rel=0.025)
