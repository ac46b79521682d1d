"""Files that are built to do harm: each is refused with the reason, before anything of it runs."""

from __future__ import annotations

import contextlib
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.formats.model_file import scan
from tests.pipeline.formats.model_file import files
from tests.pipeline.formats.model_file.conftest import Good
from tests.pipeline.formats.model_file.files import dense, function

CODE = "holds code of its author's"
HARM = "is built to do harm, or damaged"
FLAG = "allow_custom_code: true"
NO_FLAG = "allow_custom_code does not allow this"
Make = Callable[[Good, Path], Path]


def lambda_in(name: str, suffix: str) -> Make:
    return lambda good, _: good.file(name, suffix)


def config(suffix: str, change: files.Change) -> Make:
    return lambda good, folder: files.configured(good.file("plain", suffix), folder / f"m{suffix}", change)


def weights(suffix: str, change: Callable[[h5py.File], Any]) -> Make:
    return lambda good, folder: files.reweighted(good.file("plain", suffix), folder / f"m{suffix}", change)


def member(change: Callable[[zipfile.ZipInfo], None], name: str = "more", content: bytes = b"x") -> Make:
    """Add a member to an archive."""

    def make(good: Good, folder: Path) -> Path:
        path = files.packed(folder / "m.keras", files.members(good.file("plain", ".keras")))
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        change(info)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(info, content)
        return path

    return make


def is_function(found: dict[str, Any]) -> None:
    found.clear()
    found.update(function("f"))


def called(kind: str, value: str, more: dict[str, Any], **options: Any) -> files.Change:
    """Add a layer that is called with a constant when the model is built."""

    def change(found: dict[str, Any]) -> None:
        layer = {
            "class_name": kind, "name": "evil", "inbound_nodes": [["_CONSTANT_VALUE", -1, value, more]],
            "config": {"name": "evil", "trainable": False, "dtype": "float32", **options},
        }  # fmt: skip
        module = "tf_keras.src.layers.core.tf_op_layer" if kind == "TFOpLambda" else "keras.layers"
        found["config"]["layers"].append(layer | {"module": module, "registered_name": None})

    return change


def by_name(found: dict[str, Any]) -> None:
    """Add a Lambda layer with a function of Python's own, by its name: Keras' safe mode looks at bytecode alone."""
    called(
        "Lambda", "echo", {}, function=function("f"), function_type="function", module="x", output_shape=None,
        output_shape_type="raw", output_shape_module=None, arguments={},
    )(found)  # fmt: skip


def external_link(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file: h5py.File) -> None:
    file["elsewhere"] = h5py.SoftLink("/model_weights")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("elsewhere", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "data", (4,))
    file.create_virtual_dataset("elsewhere", layout)


def huge(file: h5py.File) -> None:
    file.create_dataset("huge", (2**40,), "f4", chunks=(2**20,))  # not one chunk of it is there


def packed_zeros(file: h5py.File) -> None:
    file.create_dataset("zeros", data=np.zeros(2**25, "f4"), compression="gzip", compression_opts=9)


def loop(file: h5py.File) -> None:
    group = file.create_group("loop")
    group["again"] = group


def objects(file: h5py.File) -> None:
    file.create_dataset("texts", data=["a", "b"], dtype=h5py.string_dtype())


def lzf(file: h5py.File) -> None:
    file.create_dataset("filtered", data=np.zeros(100), compression="lzf")


def both(good: Good, folder: Path) -> Path:
    path = folder / "m.h5"
    path.write_bytes(good.file("plain", ".h5").read_bytes() + good.file("plain", ".keras").read_bytes())
    return path


def behind(good: Good, folder: Path) -> Path:
    """An archive whose HDF5 signature is where HDF5 looks for it after a user block."""
    whole = good.file("lambda", ".h5").read_bytes()
    archive = good.file("plain", ".keras").read_bytes()
    path = folder / "m.h5"
    path.write_bytes(archive[:512].ljust(512, b"\0") + whole)
    return path


def renamed(suffix: str, to: str) -> Make:
    def make(good: Good, folder: Path) -> Path:
        path = folder / f"m{to}"
        path.write_bytes(good.file("lambda", suffix).read_bytes())
        return path

    return make


def encrypted(good: Good, folder: Path) -> Path:
    path = files.packed(folder / "m.keras", files.members(good.file("plain", ".keras")))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    content[start + 8] |= 1
    path.write_bytes(content)
    return path


def _linked(info: zipfile.ZipInfo) -> None:
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def _plain(_: zipfile.ZipInfo) -> None:
    pass


def _object(name: str, **more: Any) -> dict[str, Any]:
    return {"class_name": name, "module": "planted", "registered_name": None, "config": {"name": "float32"}} | more


# what Keras looks up by its module, or by its registered name, though the name is one of its own
PLANTED = {
    "operation": _object("TFOpLambda", config={"name": "q", "function": "math.add"}),
    "policy": _object("Policy"),
    "shape": _object("TensorShape", items=[]),
    "tuple": _object("__tuple__", items=[], config={"a": 1}),
    "ellipsis": _object("__ellipsis__", config={"a": 1}),
    "array": _object("__numpy__", config={"value": [1], "dtype": "float32"}),
    "registered name": _object("__tuple__", items=[], module="planted", registered_name="f", config={"a": 1}),
    "registered layer": _object("Dense", registered_name="f"),
    "training inside": _object(
        "Sequential", module="keras", config={"name": "s", "layers": []},
        compile_config={"optimizer": _object("Policy"), "loss": function("f")}),
}  # fmt: skip


def _layer(kind: str, **options: Any) -> files.Change:
    layer = {
        "class_name": kind,
        "name": "e",
        "inbound_nodes": [],
        "config": {"name": "e", "dtype": "float32"} | options,
    }
    return lambda c: c["config"]["layers"].append(layer | {"module": "keras.layers", "registered_name": None})


PLACES: dict[str, Callable[[Any], files.Change]] = {
    "layer": lambda value: lambda c: c["config"]["layers"].append(value | {"name": "e", "inbound_nodes": []}),
    "dtype": lambda value: lambda c: dense(c)["config"].update(dtype=value),
    "initializer": lambda value: lambda c: dense(c)["config"].update(kernel_initializer=value),
    "value": lambda value: lambda c: dense(c)["config"].update(bias_initializer={
        "class_name": "Constant", "module": "keras.initializers", "registered_name": None, "config": {"value": value}}),
    "input_dim": lambda value: _layer("Embedding", input_dim=value, output_dim=2),
    "standardize": lambda value: _layer("TextVectorization", standardize=value),
    "argument": lambda value: called("TFOpLambda", value, {}, function="math.add"),
    "named argument": lambda value: called("TFOpLambda", 1.0, {"y": [value]}, function="math.add"),
}  # fmt: skip


def _planted(suffix: str, place: str, what: str) -> Make:
    return config(suffix, PLACES[place](PLANTED[what]))


HOSTILE: dict[str, tuple[Make, str, list[str]]] = {
    "Lambda in .h5": (lambda_in("lambda", ".h5"), CODE, ["a Lambda (layer code)", FLAG]),
    "Lambda in .keras": (lambda_in("lambda", ".keras"), CODE, ["a Lambda (layer code)", FLAG]),
    "Lambda in a model inside, .h5": (lambda_in("nested", ".h5"), CODE, ["a Lambda (layer code)"]),
    "Lambda in a model inside, .keras": (lambda_in("nested", ".keras"), CODE, ["a Lambda (layer code)"]),
    "Lambda of a function by its name": (
        config(".keras", by_name), CODE, ["a Lambda (layer evil)", "a function 'f' of planted"]),
    "layer of another module, .keras": (
        config(".keras", lambda c: dense(c).update({"module": "planted", "class_name": "Layer"})),
        CODE, ["Layer (module planted)"]),
    "Keras' name for a layer of another module": (
        config(".keras", lambda c: dense(c).update({"module": "planted"})), CODE, ["Dense (module planted)"]),
    "module of Keras that is none of its layers": (
        config(".keras", lambda c: dense(c).update({"module": "keras.utils", "class_name": "get_file"})),
        CODE, ["get_file (module keras.utils)"]),
    "layer of the author's, .h5": (
        config(".h5", lambda c: dense(c).update({"class_name": "mine>Layer"})), CODE, ["mine>Layer"]),
    "layer registered under another name": (
        config(".keras", lambda c: dense(c).update({"registered_name": "mine>Layer"})), CODE, ["mine>Layer"]),
    "class_name that is no name": (config(".h5", lambda c: dense(c).update({"class_name": ["x"]})), CODE, ["['x']"]),
    "no model but a function": (config(".keras", is_function), CODE, ["a function 'f' of planted"]),
    "no model but a function, .h5": (config(".h5", is_function), CODE, ["a function 'f' of planted"]),
    "initializer": (
        config(".keras", lambda c: dense(c)["config"].update({"kernel_initializer": function("f")})),
        CODE, ["planted"]),
    "initializer, .h5": (
        config(".h5", lambda c: dense(c)["config"].update({"kernel_initializer": function("f")})), CODE, ["planted"]),
    "regularizer": (
        config(".h5", lambda c: dense(c)["config"].update({"kernel_regularizer": function("f")})), CODE, ["planted"]),
    "constraint by name": (
        config(".h5", lambda c: dense(c)["config"].update({"kernel_constraint": "mine"})), CODE, ["constraint 'mine'"]),
    "activation": (
        config(".keras", lambda c: dense(c)["config"].update({"activation": function("f")})), CODE, ["planted"]),
    "activation by name": (
        config(".h5", lambda c: dense(c)["config"].update({"activation": "deserialize"})),
        CODE, ["the activation 'deserialize'"]),
    "bytecode as activation": (
        config(".keras", lambda c: dense(c)["config"].update(
            {"activation": {"class_name": "__lambda__", "config": {"value": ["4wE=", None, None]}}})),
        CODE, ["a lambda"]),
    "method of a class": (
        config(".keras", lambda c: dense(c).update({"class_name": "ClassMethod"})), CODE, ["a ClassMethod"]),
    "operation that writes a file": (
        config(".keras", called("TFOpLambda", "/tmp/x", {"contents": "y"}, function="io.write_file")),
        CODE, ["the operation io.write_file", "a text as a layer's argument ('/tmp/x')"]),
    "operation that writes a file, .h5": (
        config(".h5", called("TFOpLambda", "/tmp/x", {"contents": "y"}, function="io.write_file")),
        CODE, ["the operation io.write_file"]),
    "vocabulary outside": (
        config(".keras", lambda c: dense(c)["config"].update({"vocabulary": "/etc/passwd"})),
        "reads files outside of it", ["a file of this machine ('/etc/passwd')", NO_FLAG]),
    "external link": (weights(".h5", external_link), HARM, ["a link to another file (/elsewhere -> /etc/passwd)"]),
    "external link in .keras": (weights(".keras", external_link), HARM, ["a link to another file", NO_FLAG]),
    "soft link": (weights(".h5", soft_link), HARM, ["a soft link (/elsewhere -> /model_weights)"]),
    "external storage": (weights(".h5", external_storage), HARM, ["an array in another file (/etc/passwd)"]),
    "virtual dataset": (weights(".h5", virtual), HARM, ["an array made of other files"]),
    "loop of groups": (weights(".h5", loop), HARM, ["a second name for the same object (/loop/again)"]),
    "array of objects": (weights(".h5", objects), HARM, ["an array of objects (/texts)"]),
    "filter of its own": (weights(".h5", lzf), HARM, ["an array behind a filter of its own (32000)"]),
    "array larger than the file": (weights(".h5", huge), HARM, ["arrays that claim 4,398,0", "in a file of"]),
    "array larger than the file, .keras": (weights(".keras", huge), HARM, ["arrays that claim 4,398,0"]),
    "array of packed zeros": (weights(".h5", packed_zeros), HARM, ["arrays that claim 134,2"]),
    "member above": (member(_plain, "../evil.py"), HARM, ["a path that leaves the archive (../evil.py)", NO_FLAG]),
    "member above, in the assets": (member(_plain, "assets/../../evil"), HARM, ["a path that leaves the archive"]),
    "member at an absolute path": (member(_plain, "/tmp/evil"), HARM, ["a path that leaves the archive (/tmp/evil)"]),
    "symbolic link": (member(_linked, "assets/link", b"/etc/passwd"), HARM, ["a link (assets/link)"]),
    "member twice": (member(_plain, "config.json", b"{}"), HARM, ["a member twice (config.json)"]),
    "member of another kind": (member(_plain, "evil.pkl"), HARM, ["a member that no model has (evil.pkl)"]),
    "encrypted member": (encrypted, HARM, ["an encrypted member (metadata.json)"]),
    "packed zeros": (member(_plain, "assets/zeros", b"\0" * 2**27), HARM, ["members that claim 134,2"]),
    "HDF5 and archive in one": (both, "is two files in one", ["with a zip archive behind it"]),
    "archive before HDF5": (behind, "is not named as what it is", ["but a zip archive inside"]),
    "HDF5 named .keras": (renamed(".h5", ".keras"), "is not named as what it is", ["rename it to m.h5"]),
    "archive named .h5": (renamed(".keras", ".h5"), "is not named as what it is", ["rename it to m.keras"]),
    "HDF5 without a name": (renamed(".h5", ""), "is not named as what it is", ["no ending, but HDF5 inside"]),
}  # fmt: skip


@pytest.mark.parametrize(("make", "what", "words"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_file_is_refused_with_the_reason_and_nothing_of_it_runs(
    make: Make, what: str, words: list[str], good: Good, marker: Path, tmp_path: Path
) -> None:
    path = make(good, tmp_path)
    with pytest.raises(InputError) as refused:
        files.read(path)
    assert what in refused.value.what
    assert str(path) in refused.value.what
    assert refused.value.expected
    for word in words:
        assert word in refused.value.found + refused.value.todo
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("what", "place"),
    # what a model in a model says of its training is taken out, and not refused
    [(what, place) for what in PLANTED for place in PLACES if (what, place) != ("training inside", "layer")],
)
def test_planted_module_behind_a_name_of_keras_is_refused_wherever_it_stands(
    what: str, place: str, suffix: str, good: Good, marker: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=CODE):
        files.scanned(_planted(suffix, place, what)(good, tmp_path), tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("what", PLANTED)
def test_keras_alone_finds_no_planted_module_though_the_scan_missed_it(
    what: str, place: str, suffix: str, good: Good, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "findings", lambda _: [])
    with contextlib.suppress(InputError):
        files.read(_planted(suffix, place, what)(good, tmp_path))
    assert "planted" not in sys.modules
    assert not marker.exists()


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_function_of_tensorflow_that_writes_a_file_is_out_of_reach_though_the_scan_missed_it(
    suffix: str, good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda registered behind a plain value's name, with a function that writes what its arguments say."""
    target = tmp_path / "written"
    printing = _object(
        "__tuple__", module="tensorflow.python.ops.logging_ops", registered_name="print_v2", config={"a": 1}, items=[]
    )
    options = {
        "name": "l", "trainable": True, "dtype": "string", "function": printing, "function_type": "function",
        "module": None, "output_shape": None, "output_shape_type": "raw", "output_shape_module": None,
        "arguments": {"output_stream": f"file://{target}", "end": "x"},
    }  # fmt: skip
    calls = _object(
        "__tuple__", module="tf_keras.src.layers.core.lambda_layer", registered_name="Lambda", items=[], config=options
    )

    def change(found: dict[str, Any]) -> None:
        _layer(
            "TextVectorization", standardize=calls, split=None, output_mode="int", vocabulary=["a"], ngrams=None,
            max_tokens=None, output_sequence_length=None, pad_to_max_tokens=False, sparse=False, ragged=False,
            encoding="utf-8", idf_weights=None, vocabulary_size=3, dtype="string",
        )(found)  # fmt: skip
        found["config"]["layers"][-1]["inbound_nodes"] = [["_CONSTANT_VALUE", -1, ["x"], {}]]

    path = config(suffix, change)(good, tmp_path)
    with pytest.raises(InputError, match=CODE) as refused:
        files.read(path)
    assert "a text as a layer's argument ('x')" in refused.value.found
    monkeypatch.setattr(scan, "findings", lambda _: [])
    with pytest.raises(InputError, match="cannot be loaded") as refused:
        files.read(path)
    assert not target.exists()


RUNS_UNSCANNED = (
    "Lambda in .h5", "Lambda in .keras", "Lambda of a function by its name", "operation that writes a file, .h5",
    "bytecode as activation", "activation",
)  # fmt: skip


@pytest.mark.parametrize("name", RUNS_UNSCANNED)
def test_code_is_out_of_reach_of_keras_though_the_scan_missed_it(
    name: str, good: Good, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "findings", lambda _: [])
    with pytest.raises(InputError, match="cannot be loaded"):
        files.read(HOSTILE[name][0](good, tmp_path))
    assert not marker.exists()


RUN_WITH_THE_FLAG = (
    "Lambda in .h5", "Lambda in .keras", "Lambda in a model inside, .h5", "Lambda in a model inside, .keras",
    "Lambda of a function by its name", "layer of another module, .keras", "initializer", "activation",
)  # fmt: skip


@pytest.mark.parametrize("name", RUN_WITH_THE_FLAG)
def test_code_of_the_same_file_runs_when_the_user_allows_it(
    name: str, good: Good, marker: Path, tmp_path: Path
) -> None:
    path = HOSTILE[name][0](good, tmp_path)
    try:
        files.read(path, allow_custom_code=True)
    except InputError as error:  # what it does after it ran is not the matter here
        assert "names code that cannot be loaded" in error.what
    assert marker.exists()


STRUCTURAL = [name for name, (_, what, _) in HOSTILE.items() if what != CODE]


@pytest.mark.parametrize("name", STRUCTURAL)
def test_what_is_no_code_is_refused_though_code_is_allowed(name: str, good: Good, tmp_path: Path) -> None:
    make, what, _ = HOSTILE[name]
    with pytest.raises(InputError) as refused:
        files.read(make(good, tmp_path), allow_custom_code=True)
    assert what in refused.value.what
