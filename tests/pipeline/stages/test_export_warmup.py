"""The requests that export writes into SavedModels, replayed by a real server: pictures, texts and a table."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import models
from pipeline import data
from pipeline.data import DataConfig
from pipeline.formats import keras_file
from pipeline.formats.export_config import Warmup
from pipeline.measuring import anatomy, footprint
from pipeline.plan import Planned
from pipeline.predictor import rows
from pipeline.report.model import write_models
from pipeline.stages import export
from serving import warmup
from serving.client.tensors import decode
from tests import texts
from tests.models.test_tables import write as write_table
from tests.pipeline.stages.small import DATA, by_id, job
from tests.serving.server.asking import Grpc, failure, predict_request
from tests.serving.server.running import READY_S, Running

AVAILABLE = 30
ID = "train.saved_model.float32"


def trained(config: DataConfig, model: models.ModelConfig, folder: Path) -> Path:
    """Write an untrained model as train would."""
    spec = data.load(config).spec
    network = models.build(model, spec, seed=0)
    folder.mkdir(parents=True)
    keras_file.write(network, spec, folder)
    write_models([anatomy.describe(network, "train")], folder)
    return folder


@dataclasses.dataclass(frozen=True)
class Made:
    """The exported models by name, and the data of each."""

    folders: dict[str, Path]
    configs: dict[str, DataConfig]


@pytest.fixture(scope="module")
def exports(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Pictures with the default records, texts with own ones, a table without any of its data."""
    folder = tmp_path_factory.mktemp("warmup")
    texts.write(folder / "texts.npz")
    text = DataConfig.model_validate(
        {"source": "npz", "path": str(folder / "texts.npz"), "classes": list(texts.SETS),
         "text": {"vocabulary": texts.VOCABULARY, "length": texts.WORDS}}
    )  # fmt: skip
    table = write_table(folder / "table.csv")
    shutil.copytree(exported / ID, folder / "picture")

    source = trained(text, models.text_rnn.Config(embedding=4, units=(4,)), folder / "text-model")
    asked = export.Config(tflite=(), onnx=(), warmup=Warmup(batches=(1, 3), samples=2))
    export.run(job(folder / "text", [], train=source), data=text, export=asked)

    source = trained(table, models.mlp.Config(dense=(4,)), folder / "table-model")
    splits = data.load(table)
    zeros = export.Requests.of(Warmup(batches=(2,), samples=0), splits.spec, rows(splits.calibration.x, slice(None)))
    export.convert(Planned("train", "saved_model", "float32"), source, folder / "table", None, export.Config(), zeros)
    return Made(
        {"picture": folder / "picture", "text": folder / "text" / ID, "table": folder / "table" / ID},
        {"picture": DATA, "text": text, "table": table},
    )


def sent(folder: Path) -> list[np.ndarray]:
    """Return what the one input is given in each record, strings as bytes."""
    found = []
    for record in warmup.read(folder / "1"):
        (tensor,) = record.predict_log.request.inputs.values()
        found.append(np.array(tensor.string_val) if tensor.string_val else decode(tensor))
    return found


def test_records_hold_calibration_samples_as_clients_send_them(exports: Made) -> None:
    picture, text = (
        rows(data.load(exports.configs[name], strings=True).calibration.x, slice(2)) for name in ("picture", "text")
    )
    one, many = sent(exports.folders["picture"])
    assert one.tolist() == picture[:1].tolist()
    assert many.tolist() == np.repeat(picture[:1], 32, axis=0).tolist()
    assert [[one.decode() for one in given] for given in sent(exports.folders["text"])] == [
        [text[0]], [text[0], text[1], text[0]]
    ]  # fmt: skip


def test_records_hold_nothing_of_the_data_when_no_samples_are_wanted(exports: Made) -> None:
    (given,) = sent(exports.folders["table"])
    assert given.tolist() == np.zeros((2, 5), np.float32).tolist()


def test_records_do_not_count_as_the_models_size(exported: Path) -> None:
    described, folder = by_id(exported)[ID], exported / ID
    records = (folder / "1" / warmup.FILE).stat().st_size
    assert records > 32 * 64 * 4
    assert described.bytes == footprint.size(folder).bytes - records


@pytest.fixture(scope="module")
def server(exports: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with the three, whose batches hold 16 samples at most."""
    folder = tmp_path_factory.mktemp("server")
    one = 'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" }}'
    models_config, batching = folder / "models.config", folder / "batching.config"
    # the model that cannot be loaded comes later: a server does not start with it
    able = {name: path for name, path in exports.folders.items() if name != "picture"}
    models_config.write_text(f"model_config_list {{ {' '.join(one.format(*item) for item in able.items())} }}")
    batching.write_text("max_batch_size { value: 16 }")
    running = Running(
        folder, [f"--model_config_file={models_config}", "--enable_batching", f"--batching_parameters_file={batching}",
                 "--max_num_load_retries=0", "--model_config_file_poll_wait_seconds=1"]
    )  # fmt: skip
    try:
        running.wait_until_ready()
        models_config.write_text(
            f"model_config_list {{ {' '.join(one.format(*item) for item in exports.folders.items())} }}"
        )
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_server_replays_the_records_before_it_serves(exports: Made, server: Running) -> None:
    for name, count in (("text", 2), ("table", 1)):
        file = exports.folders[name] / "1" / warmup.FILE
        server.wait_for_log(rf"warmup data for model at {file}\. Number of warmup records read: {count}\.")


def test_server_with_smaller_batches_refuses_a_version_until_its_records_are_limited(
    exports: Made, server: Running
) -> None:
    server.wait_for_log("Task size 32 is larger than maximum input batch size 16")
    with Grpc(server.port) as client:
        code, _ = failure(client.prediction.Predict, predict_request("picture", image=np.zeros((1, 8, 8, 1), "f4")))
        assert code == "NOT_FOUND"
        base = exports.folders["picture"]
        shutil.copytree(base / "1", base / "2.tmp")
        assert warmup.limit(base / "2.tmp", 16) == (32,)
        (base / "2.tmp").rename(base / "2")
        deadline = time.monotonic() + READY_S
        while AVAILABLE not in [status.state for status in client.statuses("picture")]:
            assert time.monotonic() < deadline, server.err
            time.sleep(0.05)
