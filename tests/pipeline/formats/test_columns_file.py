from __future__ import annotations

import json
from pathlib import Path

from pipeline.formats import columns_file
from pipeline.predictor import Head, Input, Spec

_HEAD = Head("classification", (2,), ("a", "b"))


def _input(*columns: str) -> Input:
    return Input("features", (len(columns),), (0.0, 60.0), None, columns, ((18.0, 60.0), *((0.0, 1.0),) * 2))


def test_columns_are_told_in_their_order_with_their_categories(tmp_path: Path) -> None:
    spec = Spec((_input("age", "color=red", "color=a=b"),), (_HEAD,))
    assert columns_file.write(spec, tmp_path) == ["features.columns.json"]
    told = json.loads((tmp_path / "features.columns.json").read_text(encoding="utf-8"))
    assert (told["input"], told["dtype"], told["shape"]) == ("features", "float32", ["batch", 3])
    assert told["columns"] == [
        {"index": 0, "name": "age", "column": "age", "range": [18, 60]},
        {"index": 1, "name": "color=red", "column": "color", "category": "red", "range": [0, 1]},
        {"index": 2, "name": "color=a=b", "column": "color", "category": "a=b", "range": [0, 1]},
    ]


def test_a_spec_with_columns_comes_back_from_json_and_inputs_without_get_no_file(tmp_path: Path) -> None:
    spec = Spec((_input("age", "color=red", "color=blue"),), (_HEAD,))
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert columns_file.write(Spec((Input("image", (8, 8, 1), (0.0, 16.0)),), (_HEAD,)), tmp_path) == []
    assert list(tmp_path.iterdir()) == []
