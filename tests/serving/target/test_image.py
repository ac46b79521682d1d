"""Images with a model in them, started in a real Docker engine as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import MissingError
from serving.config import ServingConfig
from serving.target import image
from serving.target.interface import LOG
from tests.serving.target.docker_images import baked, container, engine, exists, needs_engine, ours
from tests.serving.target.docker_model import available, half_plus_two, predict

pytestmark = [needs_engine, pytest.mark.alone]


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return an image that holds a model under the name half."""
    with baked(half_plus_two(tmp_path_factory.mktemp("baked") / "half")) as image:
        yield image


def test_image_serves_the_model_that_is_in_it_and_its_container_is_removed(half: str, tmp_path: Path) -> None:
    config = ServingConfig(target="docker", image=half)
    with engine() as api:
        with image.started(config, tmp_path, print) as server:
            name = container(api, server)
            assert available(server) == [3]
            assert predict(server, [0.0, 1.0, 5.0]) == [2.0, 2.5, 4.5]
            found = api.inspect_container(name)
            assert found["Mounts"] == []
            assert found["HostConfig"]["CapDrop"] == ["ALL"]
            assert not found["HostConfig"]["CapAdd"]
        assert not exists(api, name)
        assert name not in [one["Id"] for one in ours(api)]
    assert (tmp_path / LOG).read_text() != ""


def test_image_tells_the_name_of_its_model(half: str) -> None:
    assert image.model_name(ServingConfig(target="docker", image=half)) == "half"


def test_image_that_is_not_there_is_told(tmp_path: Path) -> None:
    config = ServingConfig(target="docker", image="modelmill-test/nowhere:0", lookup_deadline_s=5)
    absent = pytest.raises(MissingError, match="modelmill-test/nowhere:0 is not in the Docker engine")
    with absent, image.started(config, tmp_path, print):
        pass
