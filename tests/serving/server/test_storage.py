"""Versions on disk, policies and the model config (5.1, 5.2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving import layout
from serving.server.versions import config, storage
from serving.server.versions.storage import Policy


@pytest.mark.rule("5.1")
def test_versions_are_the_children_whose_names_are_integers(tmp_path: Path) -> None:
    for name in (
        "1",
        "00000123",
        "0",
        "9223372036854775807",
        "9223372036854775808",
        "2.tmp",
        "_2",
        "-3",
        "٣",
        "x",
        "4 ",
    ):
        (tmp_path / name).mkdir()
    found = storage.versions(tmp_path)
    assert {version: path.name for version, path in found.items()} == {
        0: "0", 1: "1", 123: "00000123", 9223372036854775807: "9223372036854775807"
    }  # fmt: skip


@pytest.mark.rule("5.2")
@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (Policy(), [9]), (Policy("latest", count=2), [9, 5]), (Policy("latest", count=7), [9, 5, 1]),
        (Policy("all"), [9, 5, 1]), (Policy("specific", versions=frozenset({1, 5, 77})), [5, 1]),
    ],
)  # fmt: skip
def test_a_policy_chooses_as_rule_5_2_says(policy: Policy, chosen: list[int]) -> None:
    assert list(storage.wanted(policy, {version: Path(str(version)) for version in (1, 9, 5)})) == chosen


@pytest.mark.rule("5.2")
@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", Policy()), ("model_version_policy { latest {} }", Policy()),
        ("model_version_policy { latest { num_versions: 3 } }", Policy("latest", count=3)),
        ("model_version_policy { all {} }", Policy("all")),
        ("model_version_policy { specific { versions: 2 versions: 4 } }",
         Policy("specific", versions=frozenset({2, 4}))),
    ],
)  # fmt: skip
def test_a_policy_is_read_from_the_model_config(tmp_path: Path, text: str, policy: Policy) -> None:
    path = tmp_path / "models.config"
    path.write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "/m" model_platform: "tensorflow" {text} '
        'version_labels { key: "stable" value: 4 } } }'
    )
    (entry,) = config.read(str(path)).model_config_list.config
    assert config.model(entry) == config.ModelConfig("m", Path("/m"), policy, {"stable": 4})


def test_the_config_that_modelmill_writes_is_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    layout.write(layout.Deployment("m", {3: source, 1: source}, 1, 1), tmp_path / "tree", '/srv/"models" \\ é')
    (entry,) = config.read(str(tmp_path / "tree" / layout.MODELS)).model_config_list.config
    found = config.model(entry)
    assert found.policy == Policy("specific", versions=frozenset({1, 3}))
    assert (found.name, found.base_path) == ("m", Path('/srv/"models" \\ é/m'))
