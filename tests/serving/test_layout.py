"""The files that a server reads, as TF Serving's own messages parse them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from serving import layout
from serving.config import BatchingConfig
from serving.layout import Deployment
from serving.server import monitoring


def model(folder: Path, content: str) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_text(content)
    (folder / "variables" / "variables.index").write_text("index")
    return folder


def test_tree_has_a_folder_for_each_version_under_the_served_name(tmp_path: Path) -> None:
    versions = {1: model(tmp_path / "a", "first"), 3: model(tmp_path / "b", "third")}
    layout.write(Deployment("digits", versions, 1, 1), tmp_path / "tree", "/models")
    assert (tmp_path / "tree/digits/1/saved_model.pb").read_text() == "first"
    assert (tmp_path / "tree/digits/3/saved_model.pb").read_text() == "third"
    assert (tmp_path / "tree/digits/3/variables/variables.index").read_text() == "index"


def test_tflite_is_a_version_of_its_own_that_the_server_prefers(tmp_path: Path) -> None:
    lite = tmp_path / "quantize.tflite.int8.tflite"
    lite.write_bytes(b"TFL3")
    versions = {1: model(tmp_path / "a", "first"), 2: lite}
    flags = layout.write(Deployment("digits", versions, 1, 1), tmp_path / "tree", "/models")
    assert [path.name for path in (tmp_path / "tree/digits/2").iterdir()] == ["model.tflite"]
    assert (tmp_path / "tree/digits/2/model.tflite").samefile(lite)
    assert flags[-1] == "--prefer_tflite_model=true"
    assert "versions: 1 versions: 2" in (tmp_path / "tree" / layout.MODELS).read_text()


def test_files_of_a_version_are_the_same_as_those_of_the_artifact(tmp_path: Path) -> None:
    source = model(tmp_path / "a", "first")
    layout.write(Deployment("digits", {1: source}, 1, 1), tmp_path / "tree", "/models")
    assert (tmp_path / "tree/digits/1/saved_model.pb").samefile(source / "saved_model.pb")


def test_flags_name_the_config_the_threads_and_what_the_user_adds(tmp_path: Path) -> None:
    deployment = Deployment("m", {1: model(tmp_path / "a", "x")}, 2, 3, flags=("--xla_cpu_compilation_enabled=true",))
    assert layout.write(deployment, tmp_path / "tree", "/models") == (
        "--model_config_file=/models/models.config",
        "--max_num_load_retries=0",
        "--tensorflow_intra_op_parallelism=2",
        "--tensorflow_inter_op_parallelism=3",
        "--xla_cpu_compilation_enabled=true",
    )
    assert not (tmp_path / "tree" / layout.BATCHING).exists()


def test_batching_is_a_flag_and_a_file_with_what_is_set(tmp_path: Path) -> None:
    batching = BatchingConfig(max_batch_size=8, batch_timeout_micros=0, allowed_batch_sizes=(4, 8),
                              pad_variable_length_inputs=True)  # fmt: skip
    flags = layout.write(Deployment("m", {}, 1, 1, batching), tmp_path, "/models")
    assert flags[-2:] == ("--enable_batching=true", "--batching_parameters_file=/models/batching_parameters.txt")
    assert (tmp_path / layout.BATCHING).read_text().splitlines() == [
        "max_batch_size { value: 8 }", "batch_timeout_micros { value: 0 }", "pad_variable_length_inputs: true",
        "allowed_batch_sizes: 4", "allowed_batch_sizes: 8",
    ]  # fmt: skip


def test_batching_of_a_file_is_that_file(tmp_path: Path) -> None:
    given = tmp_path / "found.txt"
    given.write_text("max_batch_size { value: 3 }  # found\n")
    flags = layout.write(Deployment("m", {1: model(tmp_path / "a", "x")}, 1, 1, given), tmp_path / "tree", "/models")
    assert flags[-2:] == ("--enable_batching=true", "--batching_parameters_file=/models/batching_parameters.txt")
    assert (tmp_path / "tree" / layout.BATCHING).read_text() == given.read_text()


def test_folder_with_a_tflite_is_preferred_as_the_file_is(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / layout.LITE).write_bytes(b"TFL3")
    flags = layout.write(Deployment("m", {1: folder}, 1, 1), tmp_path / "tree", "/models")
    assert flags[-1] == "--prefer_tflite_model=true"


def test_monitoring_is_a_flag_and_a_file_when_it_is_wanted(tmp_path: Path) -> None:
    flags = layout.write(Deployment("m", {}, 1, 1, monitoring=True), tmp_path, "/models")
    assert flags[-1] == "--monitoring_config_file=/models/monitoring.config"
    assert monitoring.path(str(tmp_path / layout.MONITORING)) == monitoring.DEFAULT_PATH


def test_model_config_is_what_tf_servings_own_message_parses_to_the_same_values(tmp_path: Path) -> None:
    root = tmp_path / 'a "strange" folder'
    root.mkdir()
    versions = {2: model(tmp_path / "a", "x"), 1: model(tmp_path / "b", "y")}
    layout.write(Deployment("digits", versions, 1, 1), root, str(root))
    script = (
        "import sys; from google.protobuf import text_format\n"
        "from tensorflow_serving.config import model_server_config_pb2 as pb\n"
        "config = text_format.Parse(open(sys.argv[1]).read(), pb.ModelServerConfig()).model_config_list.config\n"
        "print([(c.name, c.base_path, c.model_platform, list(c.model_version_policy.specific.versions))"
        " for c in config])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, root / layout.MODELS], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str([("digits", f"{root}/digits", "tensorflow", [1, 2])])
