from __future__ import annotations

from pathlib import Path

import pytest

import models
from pipeline import data
from pipeline.formats import keras_file
from pipeline.measuring import anatomy
from pipeline.report.model import write_models
from pipeline.stages import export
from tests.pipeline.stages.small import DATA, SMALL, job


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    spec = data.load(DATA).spec
    network = models.build(models.mlp.Config(architecture="mlp", dense=(16,)), spec, seed=0)
    keras_file.write(network, spec, folder)
    write_models([anatomy.describe(network, "train")], folder)
    return folder


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "entry"
    export.run(job(folder, [], train=trained), data=DATA, export=SMALL)
    return folder
