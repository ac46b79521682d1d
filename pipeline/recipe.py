"""The whole recipe as types: YAML in, checked against each other, JSON schema out."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from models import ModelConfig, several
from models.several import Ensemble, Selection
from pipeline import implied, order, recipe_checks, single_step
from pipeline.compress.cluster_config import Config as ClusterConfig
from pipeline.compress.distill_config import Config as DistillConfig
from pipeline.compress.prune_config import Config as PruneConfig
from pipeline.compress.quantize_config import Config as QuantizeConfig
from pipeline.compress.sensitivity_config import Config as SensitivityConfig
from pipeline.compress.shrink_config import Config as ShrinkConfig
from pipeline.compute.config import Accelerator, BatchSizes, Compute, LearningRateScaling, MixedPrecision, Strategy
from pipeline.compute.performance_config import Performance
from pipeline.config import Frozen
from pipeline.data import DataConfig
from pipeline.edge.config import Config as EdgeConfig
from pipeline.errors import InputError
from pipeline.fit.config import Compressing, FitConfig
from pipeline.formats.export_config import Config as ExportConfig
from pipeline.formats.export_config import plan
from pipeline.formats.import_config import Config as ModelFile
from pipeline.measuring.measure_config import Config as MeasureConfig
from pipeline.own_code import config as own_code
from pipeline.own_code.config import Builder
from pipeline.plan import Planned
from pipeline.recipe_problems import explained, nearest
from pipeline.stages import MODELS, NAMES
from pipeline.stages.judge import Config as JudgeConfig
from pipeline.tune.config import Config as TuneConfig
from pipeline.tune.config import text as one_line
from serving.config import BINARY, LOOPBACK_ADDRESS, OFFICIAL_IMAGE, ServingConfig

SUFFIXES = (".yaml", ".yml")
# the keys of a model of which it has one, which says what kind of model it is
_KINDS = ("architecture", "path", "builder")


class Recipe(Frozen):
    """Everything that decides a run. A section's presence switches its stage on; an absent one is null."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="names the run's folder")
    description: str = Field(default="", description="one sentence: what this recipe shows")
    seed: int = Field(default=0, ge=0, lt=2**31, description="of weights, data order and augmentation")
    data: DataConfig
    model: Annotated[
        ModelConfig | Builder | Selection | Ensemble | ModelFile, Field(discriminator="architecture")
    ]  # fmt: skip
    train: FitConfig | None = None
    distill: DistillConfig | None = None
    sensitivity: SensitivityConfig | None = Field(
        default=None,
        description="what each layer loses by itself, as a table; null: only where some exclude is auto",
    )
    shrink: ShrinkConfig | None = Field(
        default=None, description="how much of the model may stay, and which channels go; null: all stay"
    )
    prune: PruneConfig | None = None
    cluster: ClusterConfig | None = None
    quantize: QuantizeConfig | None = None
    order: tuple[Literal["distill", "shrink", "prune", "cluster", "quantize"], ...] | None = Field(
        default=None,
        description="the sections that make the model smaller, in the order in which they work; null: as they stand "
        "here",
    )
    export: ExportConfig | None = None
    measure: MeasureConfig | None = None
    serving: ServingConfig | None = Field(
        default=ServingConfig(),
        description="where the SavedModels are served while they are measured; null: they run in process",
    )
    edge: EdgeConfig | None = Field(
        default=None, description="the small device that a .tflite is for, and how much of it the model may take"
    )
    judge: JudgeConfig | None = None
    tune: TuneConfig | None = Field(
        default=None, description="what `modelmill tune` tries; no run depends on it; null: its defaults"
    )
    accelerator: Accelerator = Field(
        default="auto", description="what models are trained on: auto (a TPU, else GPUs, else the CPU), cpu, gpu or tpu"
    )
    strategy: Strategy = Field(
        default="auto",
        description="how training is divided among devices: auto, one_device, mirrored (all of this machine), "
        "multi_worker (several machines) or tpu",
    )
    devices: int | None = Field(
        default=None,
        ge=1,
        description="how many devices, each with a replica of the model; null: all there are (with mirrored on the "
        "CPU: 1); on the CPU these are logical devices, which share its cores",
    )
    batch_sizes: BatchSizes = Field(
        default="global",
        description="what each section's batch_size is: global (of all replicas together, so that any number of them "
        "gives the same model) or per_replica (a step takes as many times more samples)",
    )
    learning_rate_scaling: LearningRateScaling = Field(
        default="none",
        description="what batch_sizes per_replica does to learning rates: none, linear (times the replicas; Goyal et "
        "al. 2017, who warm up for 5 epochs: schedule.warmup_epochs) or sqrt (times the root of their number)",
    )
    mixed_precision: MixedPrecision = Field(
        default="off",
        description="what convolutions and matrix products compute in during training, with float32 weights: off, "
        "float16 (GPUs; the loss is scaled), bfloat16 (the CPU, TPUs), or auto: what the devices are fast in; quantize "
        "always trains in float32",
    )
    performance: Performance = Field(default=Performance(), description="settings that change how fast a step is")

    @property
    def compute(self) -> Compute:
        """What every training and fine-tuning stage computes on."""
        return Compute(
            accelerator=self.accelerator, strategy=self.strategy, devices=self.devices,
            batch_sizes=self.batch_sizes, learning_rate_scaling=self.learning_rate_scaling,
            mixed_precision=self.mixed_precision, performance=self.performance,
        )  # fmt: skip

    def stages(self) -> tuple[str, ...]:
        """Return the names of the stages that the recipe asks for, in their order."""
        return order.arranged(self.asked(), self.order)

    def asked(self) -> tuple[str, ...]:
        """Return the names of the stages that the recipe asks for, in their usual order."""
        timed = self.shrink is not None and self.shrink.latency is not None
        asked = {
            "import": isinstance(self.model, ModelFile), "profile": timed,  # they have no section of their own
            "sensitivity": self.sensitivity is not None or bool(self.excluding()),
        }  # fmt: skip
        return tuple(name for name in NAMES if asked.get(name, getattr(self, name, None) is not None))

    def excluding(self) -> tuple[str, ...]:
        """Return the names of the stages that leave out what sensitivity finds."""
        techniques: dict[str, Compressing | None] = {
            "shrink": self.shrink, "prune": self.prune, "cluster": self.cluster, "quantize": self.quantize
        }  # fmt: skip
        return tuple(name for name, one in techniques.items() if one is not None and one.exclude == "auto")

    def models(self) -> tuple[str, ...]:
        """Return the names of those stages that make a Keras model."""
        return tuple(name for name in self.stages() if name in MODELS)

    def plan(self) -> tuple[Planned, ...]:
        """Return the artifacts that the recipe asks for, in the order in which they are made."""
        return plan(self.export, self.models()) if self.export else ()

    @model_validator(mode="after")
    def _sections_fit(self) -> Recipe:
        problems = list(recipe_checks.problems(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self


_OTHER_FILE = (
    "name a recipe: `modelmill init` writes one, `modelmill recipes` lists the built-in ones; a model file goes into "
    "one as model.path"
)
_TEXT, _NUMBERS = "tag:yaml.org,2002:str", ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _Loader(yaml.SafeLoader):
    """YAML without code, without a key that silently overwrites an earlier one, and with YAML 1.2's numbers.

    1e-3 is one, though YAML 1.1 wants a dot in it, and 2:4 is none, though there it is 124, to the base of 60.
    """

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        return _TEXT if tag in _NUMBERS and ":" in value else tag

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float)) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", key_node.start_mark
                )
            if isinstance(key, (str, int, float)):
                seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+"), list("-+0123456789"))


def built_in() -> dict[str, Path]:
    """Return the recipes that come with the package, by name."""
    folder = Path(__file__).parent / "recipes"
    found = [item for item in folder.iterdir() if item.name.endswith(SUFFIXES)]
    return {item.name.rsplit(".", 1)[0]: item for item in sorted(found, key=lambda item: item.name)}


def load(source: str | None, overrides: Iterable[str] = (), *, trusted: bool = False) -> Recipe:
    """Read and check a recipe.

    Args:
        source: path of a YAML file, or the name of a built-in recipe; None: see `single_step.default`.
        overrides: `a.b=value` assignments, the value in YAML; they go through the same checks as the file.
        trusted: whether the file may name programs and images to run and hosts to send data to; assignments may.

    Raises:
        InputError: the file or an assignment is wrong; the message lists every problem at once.
    """
    overrides = list(overrides)
    if source is None:
        source, first = single_step.default(overrides)
        overrides = [*first, *overrides]
    document = parse(_read(source), source)
    if not trusted and (found := risks(document)):
        raise InputError(
            f"the recipe {source} would run code of its author's choice, or send your data away",
            expected="nothing of the kind in a recipe's file", found=", ".join(found),
            todo="if you know it: --trust, or say it yourself with --set",
        )  # fmt: skip
    return check(override(document, overrides), source)


def for_step(verb: str, model: Path, data: str, overrides: Iterable[str] = ()) -> Recipe:
    """Return the recipe of a single step on a model file; see `single_step.document`.

    Raises:
        InputError: as `load`.
    """
    overrides = list(overrides)
    document = single_step.document(verb, model, data, overrides)
    return check(override(document, overrides), f"of `{verb} --model {model}`")


def risks(document: Mapping[str, Any]) -> list[str]:
    """Return what a stranger's recipe must not ask for: code, programs, their flags, and hosts to send data to.

    A search carries out what its space has as `override` does, so each choice is looked at as one assignment.
    """
    found = _outright(document)
    for assignment in _choices(document):
        try:
            changed = override({}, [assignment])
        except InputError:
            continue  # no trial gets past it either
        found += [f"{one} (tried in tune.space)" for one in _outright(changed)]
    return list(dict.fromkeys(found))


def _outright(document: Mapping[str, Any]) -> list[str]:
    model, serving, edge = document.get("model"), document.get("serving"), document.get("edge")
    found = list(own_code.risks(document))
    if isinstance(edge, dict) and edge.get("command"):
        found.append(f"edge.command={edge['command']}")
    if isinstance(model, dict) and model.get("allow_custom_code"):
        found.append(f"model.allow_custom_code={model['allow_custom_code']}")
    if not isinstance(serving, dict):
        return found
    found += [f"serving.flags={serving['flags']}"] if serving.get("flags") else []
    if serving.get("binary") not in (None, BINARY):
        found.append(f"serving.binary={serving['binary']}")
    if serving.get("image") is not None and not OFFICIAL_IMAGE.fullmatch(str(serving["image"])):
        found.append(f"serving.image={serving['image']}")
    remote = serving.get("remote")
    addresses = remote.get("addresses") if isinstance(remote, dict) else None
    if isinstance(addresses, list):
        found += [f"serving.remote.addresses={one}" for one in addresses if not LOOPBACK_ADDRESS.match(str(one))]
    return found


def _choices(document: Mapping[str, Any]) -> list[str]:
    """Return each choice of the search space as the assignment that a trial makes of it; ranges are but numbers."""
    tune = document.get("tune")
    try:
        # the values that `check` makes of the document's
        plain = json.loads(json.dumps(tune, default=str))
    except (TypeError, ValueError, RecursionError):
        return []  # which `check` refuses
    space = plain.get("space") if isinstance(plain, dict) else None
    entries = space.items() if isinstance(space, dict) else ()
    return [f"{key}={one_line(one)}" for key, entry in entries if isinstance(entry, list) for one in entry]


def parse(text: str, source: str) -> dict[str, Any]:
    """Return the mapping that a recipe's text holds, unchecked."""
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InputError(
            f"{source} is not a recipe: YAML error{where}", expected="YAML", found=str(error.problem),
            todo=f"correct it{where}; `modelmill init` writes a recipe to compare with",
        ) from None  # fmt: skip
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(
            f"{source} is not a recipe", expected="YAML text", found=str(error).split("\n")[0], todo=_OTHER_FILE
        ) from None
    if not isinstance(document, dict):
        raise InputError(
            f"{source} is not a recipe",
            expected="a mapping with the sections name, data, model, train, ...",
            found="nothing" if document is None else f"a {type(document).__name__}",
            todo="`modelmill init` writes a commented recipe to start from",
        )
    return document


def check(document: Mapping[str, Any], source: str) -> Recipe:
    """Return the recipe that a mapping describes; raises InputError with every problem."""
    try:
        # as JSON, in which pydantic can be strict: true is not 1 and "7" is not 7, but a list is a tuple
        whole = implied.written_out(several.written_out(own_code.written_out(document)))
        return Recipe.model_validate_json(json.dumps(whole, default=str), strict=True)
    except (ValueError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise InputError(f"{source} is not a recipe", expected="plain values", found=str(error)) from None
        lines = explained(error.errors(), Recipe)
        count = f"{len(lines)} problems" if len(lines) > 1 else "a problem"
        raise InputError(
            f"the recipe {source} has {count}:\n" + "\n".join(f"  {line}" for line in lines),
            todo="correct the recipe or the --set; `modelmill init` writes every key with its meaning",
        ) from None


def override(document: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Return the mapping with `a.b=value` assignments carried out; sections that are absent or null are made.

    One that chooses another kind of model takes the document's model away, and no earlier assignment to its keys.
    """
    changed: dict[str, Any] = copy.deepcopy(document)
    of_model: list[tuple[list[str], Any, str]] = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        # an artifact's id has dots of its own and is quoted: judge.artifacts."train.onnx.int8".min_parity
        keys = [quoted or plain for quoted, plain in re.findall(r'"([^"]+)"|([^."]+)', path.strip())]
        if not equals or not re.fullmatch(r'("[^"]+"|[^."]+)(\.("[^"]+"|[^."]+))*', path.strip()):
            raise InputError(
                f"--set {assignment} is not an assignment", expected="section.key=value", found=assignment,
                todo="for example --set train.epochs=5",
            )  # fmt: skip
        try:
            value = yaml.load(text, Loader=_Loader)
        except yaml.YAMLError:
            raise InputError(f"--set {path}: the value is not YAML", expected="YAML", found=text) from None
        if keys == ["model"]:
            of_model.clear()
        elif keys[0] == "model":
            chooses = len(keys) == 2 and keys[1] in _KINDS
            if chooses and keys[1] not in (changed.get("model") or {}):
                changed["model"] = {}  # a file takes the place of an architecture, and the other way round
                for earlier in of_model:
                    _put(changed, *earlier)
            if not chooses:
                of_model.append((keys, value, path))
        _put(changed, keys, value, path)
    return changed


def _put(document: dict[str, Any], keys: list[str], value: Any, path: str) -> None:
    """Set a value in a mapping of mappings; `path` is what the messages call its keys."""
    node: Any = document
    for done, key in enumerate(keys[:-1]):
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
        if not isinstance(node, dict):
            raise InputError(
                f"--set {path}: {'.'.join(keys[: done + 1])} has no keys of its own",
                expected="a section", found=repr(node), todo=f"set {'.'.join(keys[: done + 1])} as a whole",
            )  # fmt: skip
    node[keys[-1]] = value


def dump(recipe: Recipe) -> str:
    """Return the recipe as YAML with every default visible; `load` of it gives an equal recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)


def _read(source: str) -> str:
    names = built_in()
    if source in names:
        return names[source].read_text(encoding="utf-8")
    path = Path(source)
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{source} is not a recipe", expected="UTF-8 text", found="other bytes", todo=_OTHER_FILE
            ) from None
        except OSError as error:
            raise InputError(f"{source} cannot be read", found=error.strerror or str(error)) from None
    close = nearest(source, names)
    raise InputError(
        f"there is no recipe {source!r}",
        expected=f"a YAML file or one of the built-in recipes: {', '.join(names)}",
        found="a folder" if path.is_dir() else "no such file",
        todo=f"did you mean {close}?" if close else "`modelmill recipes` lists the built-in ones",
    )
