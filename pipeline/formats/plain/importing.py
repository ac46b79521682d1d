"""A SavedModel folder of the user's becomes an artifact's model: each step in a child process, which may die of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import InputError, ModelmillError, RunError
from pipeline.files import write_json
from pipeline.formats import custom_code, endings, keras_file, meaningful_line
from pipeline.formats.keras_config import MODELS, shown, without_compiling
from pipeline.formats.model_file import importing
from pipeline.formats.model_file.proof import TOLERANCE, Proof
from pipeline.formats.model_file.scan import YOUR_CODE, require_own
from pipeline.formats.plain import folder as folders
from pipeline.formats.plain import scan
from pipeline.formats.plain.model import LEAST, MODEL, PROBABILITIES, SIGNATURE, PlainModel
from pipeline.isolate import Child, CrashError
from pipeline.legacy_keras import load as load_keras
from pipeline.report.model import Model

if TYPE_CHECKING:
    from pipeline.formats.model_file.importing import Imported
    from pipeline.predictor import Spec, Stored

_BATCH = 256
# what the sum of probabilities may be off by
_SUM = 1e-3


def bring_in(
    path: Path, spec: Spec, samples: Stored, folder: Path, stage: str, *, digest: str, allow_custom_code: bool
) -> Imported:
    """Store a SavedModel folder of the user's as an artifact's model, and prove that it is the folder's.

    Args:
        path: the user's folder.
        spec: what the data wants of a model.
        samples: raw values, n >= 1.
        folder: where the model is written: `model.keras` where Keras wrote its layers beside the graph, else the graph.
        stage: whose it is, for its entry in the report.
        digest: `folder.digest` when the run began.
        allow_custom_code: whether code of the author's may run.

    Raises:
        InputError: it is no model for this data, or not to be trusted.
        RunError: the folder changed since; or the imported model is not what it holds.
    """
    with tempfile.TemporaryDirectory(prefix="modelmill-") as private:
        copy, translated = Path(private) / "given", Path(private) / "given.keras"
        folders.copied(path, copy, digest)
        why = ""
        if folders.kind(path) == "keras":
            why = _asked(path, _translate, copy, path, translated, allow_custom_code=allow_custom_code)
            if not why:
                return _from_keras(path, copy, translated, spec, samples, folder, stage, allow_custom_code)
        if isinstance(samples, Mapping) or len(spec.heads) > 1:
            raise _several(path, spec)
        notes, answers, model = _asked(path, _store, copy, path, spec, samples, folder, stage)
        proof = _asked(path, _prove, folder, path, samples[: importing.PROVEN_SAMPLES], answers)
    said = (
        f"{proof.weights} of {proof.weights} weights equal the folder's, as the reader of checkpoints gives them; "
        f"{proof.samples} answers in a fresh process: off by {proof.difference:.1e} at most"
    )
    reason = f"taken as a graph: {why}" if why else "it holds a graph without Keras layers"
    first = f"{reason}; it can be exported, served and measured, and not trained"
    return importing.Imported((first, *notes, said), (), (), {spec.head.name: answers}, model, proof)


def _from_keras(
    path: Path, copy: Path, translated: Path, spec: Spec, samples: Stored, folder: Path, stage: str, code: bool
) -> Imported:
    """Import the Keras file that a folder was translated to, and hold it to the folder's own graph."""
    try:
        found = importing.bring_in(translated, spec, samples, folder, stage, allow_custom_code=code)
    except ModelmillError as error:
        fields = (error.what, error.expected, error.found, error.todo)
        error.what, error.expected, error.found, error.todo = (
            text.replace(str(translated), str(path)) for text in fields
        )
        raise
    if isinstance(samples, Mapping) or len(spec.heads) > 1:
        compared = (
            f"the graph in {path} was not run, and its answers are not compared: it has several inputs or outputs"
        )
    else:
        compared = _asked(path, _compare, copy, path, folder, samples[: importing.PROVEN_SAMPLES])
    return dataclasses.replace(found, notes=(*found.notes, compared))


def _several(path: Path, spec: Spec) -> InputError:
    ends = [*(one.name for one in spec.inputs), *(head.name for head in spec.heads)]
    return InputError(
        f"the SavedModel {path} holds a graph without Keras layers, and the data has several inputs or outputs",
        expected="one of each for a graph", found=", ".join(end for end in ends if end),
        todo="save the model with its layers: model.save('model.keras')",
    )  # fmt: skip


def _asked(path: Path, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a function in a child of its own; its death becomes an error that names the folder."""
    size = sum(item.stat().st_size for item in path.rglob("*") if item.is_file()) >> 20
    try:
        with Child(deadline_s=importing.DEADLINE_S, memory_mb=4096 + 8 * size) as child:
            return child.call(function, *args, **kwargs)
    except CrashError as crash:
        kind = RunError if crash.transient else InputError
        raise kind(
            f"the SavedModel {path} cannot be read", expected="a folder that its readers survive",
            found=f"the process that read it {crash.reason}",
            todo="a smaller model, or a machine with more memory" if crash.transient else "it is damaged, or built to "
            "do harm; save it again",
        ) from crash  # fmt: skip


def _translate(copy: Path, path: Path, target: Path, *, allow_custom_code: bool) -> str:
    """Write the Keras model of a folder as a .keras file; returns why that cannot be, "" where it could.

    It is built of its configuration, looked through as every model file's, and gets its weights from the checkpoint:
    none of the folder's functions is made again, let alone called.
    """
    keras = load_keras()
    from tf_keras.protobuf import saved_metadata_pb2

    try:
        nodes = saved_metadata_pb2.SavedMetadata.FromString((copy / folders.METADATA).read_bytes()).nodes
        root = next(json.loads(node.metadata) for node in nodes if node.node_path == "root")
        version, config = str(root.get("keras_version", "2")), {key: root[key] for key in ("class_name", "config")}
    except Exception as error:  # noqa: BLE001 - of protobuf, JSON and what is not in it
        return f"its {folders.METADATA} names no layers ({shown(type(error).__name__)})"
    if config["class_name"] not in MODELS or not isinstance(config["config"], dict):
        return f"the model is a {shown(config['class_name'])}, whose layers are known to its own code alone"
    if not version.startswith("2."):
        return f"Keras {shown(version)} wrote it"
    code = require_own(path, without_compiling(config), "" if allow_custom_code else YOUR_CODE)
    try:
        if code:
            custom_code.allow(code)
        with nullcontext() if code else custom_code.refused():
            model = keras.models.model_from_config(_decoded(config))
        model.load_weights(str(copy / folders.VARIABLES / "variables")).assert_existing_objects_matched()
        model.save(target, save_format="keras")
    except (MemoryError, OSError):
        raise
    except Exception as error:
        raise InputError(
            f"the Keras model in the SavedModel {path} cannot be built", expected="layers of Keras and their weights",
            found=shown(meaningful_line(error), 300),
            todo=f"save it with tf_keras: model.save('model.keras'); or remove {folders.METADATA} from a copy of the "
            "folder, to have it taken as a graph",
        ) from error  # fmt: skip
    return ""


def _decoded(value: Any) -> Any:
    """Return a configuration with the tuples and shapes that Keras writes as objects."""
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("__tuple__", "TensorShape") and isinstance(value.get("items"), list):
        return tuple(_decoded(one) for one in value["items"])
    return {key: _decoded(inner) for key, inner in value.items()}


def _function(copy: Path, path: Path) -> PlainModel:
    """Return a folder's graph, looked through."""
    scan.require_harmless(copy, path)
    try:
        model = PlainModel(copy, probabilities=False)
    except KeyError as error:
        raise InputError(
            f"the SavedModel {path} has no signature {SIGNATURE}", expected=f"a function under {SIGNATURE}",
            found="none", todo="tf.saved_model.save(model, folder, signatures=function)",
        ) from error  # fmt: skip
    except (MemoryError, OSError):
        raise
    except Exception as error:
        raise InputError(
            f"the SavedModel {path} cannot be loaded", expected="a graph and all of its weights",
            found=shown(meaningful_line(error), 300), todo="copy it again from where it came from; or save it again",
        ) from error  # fmt: skip
    scan.require_computing(model.function, path)
    return model


def _require_ends(model: PlainModel, path: Path, spec: Spec) -> None:
    """Refuse a graph that does not take this data alone and answer once."""
    ends = [*model.function.structured_input_signature[1].values()], [*model.function.structured_outputs.values()]
    said = [", ".join(f"{end.dtype.name} {list(end.shape)}" for end in side) or "nothing" for side in ends]
    wanted = [(None, *spec.input.shape)], [(None, *spec.head.shape)]
    found = [[tuple(end.shape) for end in side if end.dtype.name == "float32"] for side in ends]
    if len(found[1]) == 1 and endings.single(spec.head, found[1][0]):
        found[1] = list(wanted[1])
    if found != [list(side) for side in wanted] or [len(side) for side in ends] != [1, 1]:
        raise InputError(
            f"the SavedModel {path} is not a model for this data",
            expected=f"under {SIGNATURE} one input, float32 {[None, *spec.input.shape]}, and one output, "
            f"float32 {[None, *spec.head.shape]}",
            found=f"inputs {said[0]}; outputs {said[1]}",
            todo="name the data that it was trained on; or write a signature that takes this data, for any batch size",
        )  # fmt: skip


def _store(
    copy: Path, path: Path, spec: Spec, samples: np.ndarray, folder: Path, stage: str
) -> tuple[tuple[str, ...], np.ndarray, Model]:
    """Write a graph as an artifact; runs in the child."""
    import tensorflow as tf

    graph = _function(copy, path)
    _require_ends(graph, path, spec)
    kernels = [weight.numpy() for weight in graph.variables if len(weight.shape) >= 2]
    if not kernels:
        raise InputError(
            f"the SavedModel {path} has no weights in variables", expected="variables, of which some are matrices",
            found=f"{len(graph.variables)} variables", todo="save it before its weights are frozen into the graph",
        )  # fmt: skip
    starts = range(0, len(samples), _BATCH)
    answers = np.concatenate([graph.raw(tf.constant(samples[at : at + _BATCH])).numpy() for at in starts])
    if wrong := int((~np.isfinite(answers)).any(axis=1).sum()):
        raise InputError(
            f"the SavedModel {path} answers what is no number", expected="finite answers",
            found=f"NaN or infinite answers to {wrong} of {len(answers)} samples",
            todo="look at what it was trained on: it gets the raw values of the data",
        )  # fmt: skip
    inside = bool(spec.head.classes) and answers.min() >= 0 and answers.max() <= 1
    sides = spec.head.task == "multilabel" or endings.single(spec.head, answers.shape)
    probabilities = bool(inside and (sides or np.abs(answers.sum(axis=1) - 1).max() < _SUM))
    if inside and not probabilities:
        raise InputError(
            f"the SavedModel {path} answers in [0, 1], but no probabilities of classes that exclude each other",
            expected="logits, or a softmax's answers, which sum to 1",
            found=f"sums from {answers.sum(axis=1).min():.3g} to {answers.sum(axis=1).max():.3g}",
            todo="export it without its last function",
        )  # fmt: skip
    notes = []
    if probabilities and sides:
        notes.append(
            f"it answers probabilities, from 0 to 1 on all {len(samples)} samples: their log-odds serve as logits, of "
            f"{LEAST:g} to 1 - {LEAST:g}; int8 files suffer from it: better export the model without its sigmoid"
        )
    elif probabilities:
        notes.append(
            f"it answers probabilities, from 0 to 1 with the sum 1 on all {len(samples)} samples: their logarithm "
            f"serves as logits, those under {LEAST:g} taken as {LEAST:g}; int8 files suffer from it: better export the "
            "model without its softmax"
        )
    target = folder / MODEL
    target.mkdir()
    shutil.copyfile(copy / folders.GRAPH, target / folders.GRAPH)
    shutil.copytree(copy / folders.VARIABLES, target / folders.VARIABLES)
    write_json(folder / keras_file.SPEC, {**spec.to_json(), PROBABILITIES: probabilities})
    model, _ = keras_file.read(folder)
    starts = range(0, len(samples), _BATCH)
    answers = np.concatenate([model(samples[at : at + _BATCH]).numpy() for at in starts])
    return tuple(notes), answers, _described(graph, kernels, stage)


def _described(graph: PlainModel, kernels: list[np.ndarray], stage: str) -> Model:
    """Return a graph's entry of the report; nobody counted its MACs."""
    import zlib

    from pipeline.compress.kernels import sparsity

    weights = b"".join(weight.numpy().tobytes() for weight in graph.variables)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = len(packer.compress(weights)) + len(packer.flush())
    return Model(
        stage=stage, parameters=sum(int(weight.shape.num_elements()) for weight in graph.variables), macs=None,
        sparsity=sparsity(kernels), bytes=len(weights), gzip_bytes=packed,
    )  # fmt: skip


def _prove(folder: Path, path: Path, samples: np.ndarray, logits: np.ndarray) -> Proof:
    """Compare a stored graph's weights with the user's checkpoint, and its answers with those of another process."""
    import tensorflow as tf

    model, _ = keras_file.read(folder)
    reader = tf.train.load_checkpoint(str(path / folders.VARIABLES / "variables"))
    shapes = reader.get_variable_to_shape_map()
    held = Counter(np.asarray(reader.get_tensor(name)).tobytes() for name in shapes)
    found = Counter(weight.numpy().tobytes() for weight in model.variables)
    difference = float(np.abs(model(samples).numpy() - logits[: len(samples)]).max())
    # answered in batches of another size, whose kernels may sum in another order
    bound = TOLERANCE * max(1.0, float(np.abs(logits).max()))
    if found - held or not difference <= bound:
        raise RunError(
            f"the SavedModel {path} was not imported as it is",
            expected=f"the folder's weights, and the same answers within {bound:g}",
            found=f"{sum((found - held).values())} other weights, answers off by {difference:.3g}",
            todo="report this model; a graph that answers differently each time cannot be proven",
        )  # fmt: skip
    return Proof(sum(found.values()), len(samples), difference, function="")


def _compare(copy: Path, path: Path, folder: Path, samples: np.ndarray) -> str:
    """Hold an imported Keras model to the answers of the graph that lay beside it; returns what came of it."""
    model, spec = keras_file.read(folder)
    logits = model(samples, training=False).numpy()
    # the function that was taken off is still in the graph
    ways = [logits]
    if spec.head.classes:
        ways = [endings.Ending(function, single=False).of_file(logits) for function in ("", "softmax", "sigmoid")]
    if endings.single(spec.head, (None, 1)):
        ways += [endings.Ending(function, single=True).of_file(logits) for function in ("", "sigmoid")]
    try:
        wanted = _run(_function(copy, path), samples, [answers.shape for answers in ways])
    except InputError as error:
        return f"the graph in {path} was not run, and its answers are not compared: {error.found}"
    except (MemoryError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - of a signature that takes or answers something else than its layers
        why = shown(meaningful_line(error), 300)
        return f"the graph in {path} was not run, and its answers are not compared: {why}"
    difference = min(float(np.abs(one - wanted).max()) for one in ways if one.shape == wanted.shape)
    bound = TOLERANCE * max(1.0, float(np.abs(wanted).max()))
    if not difference <= bound:
        raise RunError(
            f"the Keras model in the SavedModel {path} does not answer as its graph does",
            expected=f"the same answers within {bound:g}", found=f"a difference of {difference:.3g}",
            todo=f"report this model; without {folders.METADATA}, a copy of the folder is taken as a graph",
        )  # fmt: skip
    return f"the graph in {path} gives the same {len(samples)} answers, off by {difference:.1e} at most"


def _run(graph: PlainModel, samples: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Return what a graph answers to raw samples in its signature's type, numbers of one of the shapes given.

    Raises:
        ValueError: it takes several inputs, or other values than these; or it answers something else.
    """
    import tensorflow as tf

    (end,) = graph.function.structured_input_signature[1].values()
    given = tf.cast(tf.constant(samples, tf.float32), end.dtype)
    if not np.array_equal(given.numpy(), samples):
        raise ValueError(f"its signature takes {end.dtype.name}, which the samples are not")
    answers: np.ndarray = graph.raw(given).numpy()
    if answers.shape not in shapes or answers.dtype.kind not in "fiu":
        raise ValueError(
            f"its signature answers {answers.dtype.name} {list(answers.shape)}, its layers {list(shapes[0])}"
        )
    return answers
