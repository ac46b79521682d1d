"""The command `modelmill tune`; the search itself is in `search.py`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.endings import told
from pipeline.errors import BusyError, InputError, RunError
from pipeline.options import AsJson, Assignments, Quiet, RecipeName, StoreFolder, Trust

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from pipeline.console import Mode, Streams
    from pipeline.events import Emit
    from pipeline.recipe import Recipe
    from pipeline.report.document import Report
    from pipeline.report.tuning import Tuning
    from pipeline.run_folder import RunFolder
    from pipeline.tune.search import Search

EXIT_CODES = (
    "Exit codes: 0 the study has its trials, and a best one; 2 the input is wrong, or the study is of another search; "
    "3 the environment lacks something that was asked for; 4 every trial failed, or the disk is full; 130 interrupted. "
    "The next call goes on from there. Nothing is judged here, so there is no 1."
)

HELP = (
    "Look for better values of a recipe's keys, with Optuna.\n\n"
    "The section [bold]tune[/] of the recipe says which keys are tried in which values, and how:\n\n"
    "[bold]tune: {space: {prune.final_sparsity: \\[0.5, 0.6, 0.7], quantize.optimizer.learning_rate: "
    "{low: 1e-4, high: 1e-2, log: true}}, sampler: tpe, pruner: median, trials: 20}[/]\n\n"
    "Without it the learning rates of the last two stages are tried, and how the last one listens to its teacher. "
    "Keys are those of --set. Models are compared by data.metric on the [bold]validation[/] split; the test split "
    "stays unseen. Of tune.objectives [bold]\\[quality, latency, size][/] it finds the Pareto trials.\n\n"
    "Trials share the store: one that changes only [bold]quantize.*[/] trains, distills and prunes nothing again. Each "
    "is a run in OUT/trial-N and says what it reused. One that fails is kept with its reason; the search goes on.\n\n"
    "After Ctrl-C, kill -9 or a failure the same command goes on: the interrupted trial is run again with the same "
    "values, from its last checkpoint. A larger --trials adds trials. [bold]OUT/best.yaml[/] is at any time the best "
    "recipe so far and runs by itself ([bold]OUT/pareto/N.yaml[/] are the others of several objectives); "
    "[bold]OUT/tune.html[/] is the report, [bold]OUT/tune.json[/] is for scripts.\n\n"
    "Several processes or machines share one study where they name the same --storage and --study.\n\n"
    "[bold]modelmill tune digits --trials 10[/]\n\n"
    "[bold]modelmill tune my.yaml --set tune.sampler=random --storage postgresql://me@host/studies --study my-1[/]"
)

TrialCount = Annotated[
    int | None,
    typer.Option("--trials", metavar="N", help="Trials that the study is to have in the end. Default: tune.trials."),
]
StorageUrl = Annotated[
    str | None,
    typer.Option(
        "--storage", metavar="URL", envvar="MODELMILL_STORAGE", show_envvar=True,
        help="The study's database, as SQLAlchemy writes it. Default: sqlite:///OUT/study.db. Its password is shown "
        "nowhere; the variable keeps it off the command line, too.",
    ),
]  # fmt: skip
StudyName = Annotated[
    str | None, typer.Option("--study", metavar="NAME", help="The study's name in the storage. Default: the recipe's.")
]
OutFolder = Annotated[
    Path | None, typer.Option("--out", help="Where the result and the trials' runs go. Default: runs/RECIPE-tune.")
]


def tune(
    recipe: RecipeName = None, trials: TrialCount = None, set_: Assignments = None, out: OutFolder = None,
    storage: StorageUrl = None, study: StudyName = None, store: StoreFolder = Path("runs/.store"), trust: Trust = False,
    as_json: AsJson = False, quiet: Quiet = False,
) -> None:  # fmt: skip
    """Search for better values of a recipe's keys; see HELP."""
    if as_json and quiet:
        raise InputError("--json and --quiet exclude each other", todo="leave one of them out")
    if trials is not None and trials < 1:
        raise InputError(f"--trials {trials} is impossible", expected="1 or more", found=str(trials))
    with told(as_json):
        from pipeline import recipe as recipes

        whole = recipes.load(recipe, set_ or (), trusted=trust)
        _check(whole)
        target = out or Path("runs") / f"{whole.name}-tune"
        mode: Mode = "json" if as_json else "quiet" if quiet else "auto"
        with _held(target):
            found = _Command(whole, trials, target, storage, study or whole.name, store, mode).run()
        if found.chosen() is None:
            raise _all_failed(found)
    page, plain = _results(target)
    if as_json:
        typer.echo(json.dumps({"event": "finished", "exit_code": 0, "best": found.best, "report": str(plain)}))
    elif not quiet:
        with suppress(SystemExit):  # `| head`, as in `run`
            _show(found, target, page, plain)


def _check(recipe: Recipe) -> None:
    """Refuse what is wrong with the search before anything is made or slow to import."""
    from pipeline.tune import objectives, space

    objectives.aim(recipe)
    space.require_possible(recipe, space.of(recipe))


def _results(target: Path) -> tuple[Path, Path]:
    from pipeline.report.tuning import JSON, PAGE

    return target / PAGE, target / JSON


@contextmanager
def _held(target: Path) -> Iterator[None]:
    """Make the folder, and keep runs out of it; other processes of the same search may share it."""
    from pipeline.lock import Lock
    from pipeline.run_folder import LOCK, RECIPE

    foreign = target.is_dir() and not (target / LOCK).exists() and any(target.iterdir())
    if (target / RECIPE).exists() or foreign or target.is_file():
        raise InputError(
            f"{target} is not the folder of a search", expected="a new or empty folder, or that of an earlier search",
            found="the folder of `modelmill run`" if (target / RECIPE).exists() else "something else",
            todo="choose another --out",
        )  # fmt: skip
    target.mkdir(parents=True, exist_ok=True)
    with Lock(target / LOCK) as lock:

        def taken() -> None:
            raise BusyError(f"a run is using {target}", todo="wait until it has ended, or choose another --out")

        lock.share(taken)
        yield


class _Command:
    """One call of the command: tells what happens, and writes the result after every trial."""

    def __init__(
        self, whole: Recipe, trials: int | None, target: Path, url: str | None, study: str, store: Path, mode: Mode
    ) -> None:
        from pipeline.artifact import Store
        from pipeline.console import Streams
        from pipeline.tune import storage
        from pipeline.tune.config import Config

        self.whole, self.target, self.mode = whole, target, mode
        self.config = whole.tune or Config()
        self.wanted = trials or self.config.trials
        self.url = url or storage.default(target)
        self.study = study
        self.store = Store(store)
        self.streams: Streams = Streams()
        self.search: Search  # set by `run`

    def run(self) -> Tuning:
        """Make the trials that are missing; returns what the study then holds."""
        from pipeline.tune import result, search, storage

        self.search = search.begin(self.whole, self.url, self.study)
        result.require_own(self.search, self.target)
        points = self.search.points()
        if points is not None and points < self.wanted:
            self._tell(None, f"the grid has {points} points: there are no more than {points} trials")
            self.wanted = points
        before = len(self.search.finished())
        self._tell(
            {
                "event": "study", "study": self.study, "storage": storage.shown(self.url), "trials": self.wanted,
                "finished": before,
            },
            f"study {self.study} in {storage.shown(self.url)}: {before} of {self.wanted} trials are there",
        )  # fmt: skip
        if not self.config.space:
            from pipeline.report.tuning import entry

            tried = "; ".join(
                f"{key}: {entry(list(one) if isinstance(one, tuple) else one.model_dump())}"
                for key, one in self.search.space.items()
            )
            self._tell(None, f"the recipe has no tune.space; tried are {tried}")
        for note in self.search.notes:
            self._tell({"event": "note", "text": note}, note)
        result.publish(self.search, self.wanted, self.target)
        try:
            search.go_on(
                self.search, self.wanted, self.target, self._go, begun=self._begun, ended=self._ended, taken=self._taken
            )  # fmt: skip
        finally:
            with suppress(Exception):  # what ended the search may end this too; the error says what it was
                result.publish(self.search, self.wanted, self.target)
        return result.publish(self.search, self.wanted, self.target, self._elsewhere(), ended=True)

    def _go(self, recipe: Recipe, folder: RunFolder, until: str, see: Emit) -> Report:
        from pipeline import run as runs
        from pipeline.console import Reporter

        with folder.held(), self.streams.chatter_to(folder.log):
            reporter = Reporter(self.streams, self.mode)

            def emit(event: Any) -> None:
                reporter.emit(event)
                see(event)

            with reporter.shown():
                return runs.run(recipe, folder, self.store, emit, until=until)

    def _begun(self, number: int, parameters: dict[str, Any], folder: Path) -> None:
        from pipeline.report import tuning

        place = len(self.search.finished()) + 1
        self._tell(
            {"event": "trial", "trial": number, "of": self.wanted, "params": parameters, "folder": str(folder)},
            f"trial {number} ({place} of {self.wanted}): {tuning.parameters(parameters)}",
            bold=True,
        )

    def _ended(self, one: FrozenTrial) -> None:
        from pipeline.tune import result

        found = result.publish(self.search, self.wanted, self.target)
        trial = next(known for known in found.trials if known.number == one.number)
        self._tell(
            {"event": "trial_finished"} | trial.model_dump(mode="json"),
            f"trial {trial.number}: {_came_to(found, one.number)}; {trial.shared() or 'no stage was made'}",
        )

    def _taken(self, numbers: list[int]) -> None:
        which = ", ".join(str(number) for number in numbers)
        text = f"trial {which} was interrupted: run again with the same values, from its last checkpoint"
        self._tell({"event": "taken_up", "trials": numbers}, text)

    def _elsewhere(self) -> tuple[str, ...]:
        running = self.search.running()
        if not running:
            return ()
        return (
            f"{len(running)} of the trials are still running in other processes; what they find comes into the study "
            "and into the next call's report.",
        )

    def _tell(self, event: dict[str, Any] | None, line: str, *, bold: bool = False) -> None:
        """Write a line into the search's log, and show it, or the event with --json."""
        from pipeline.run_folder import LOG

        with (self.target / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        if self.mode == "json" and event is not None:
            typer.echo(json.dumps(event))
        elif self.mode == "auto":
            typer.secho(line, bold=bold, err=True)


def _came_to(found: Tuning, number: int) -> str:
    """Return what came of a trial, and the best so far."""
    trial = next(one for one in found.trials if one.number == number)
    if trial.values is None:
        return f"{trial.state}: {trial.why()}"
    values = ", ".join(f"{one.noun} {one.written(trial.values[one.name])}" for one in found.objectives)
    if found.pareto:
        return f"{values}{', a Pareto trial' if number in found.pareto else ''}"
    chosen, (objective,) = found.chosen(), found.objectives
    if chosen is None or chosen.values is None or chosen.number == number:
        return f"{values}, the best so far"
    return f"{values} (best: {objective.written(chosen.values[objective.name])}, trial {chosen.number})"


def _all_failed(found: Tuning) -> RunError:
    reasons: dict[str, list[int]] = {}
    for one in found.trials:
        if one.state in ("failed", "pruned"):
            reasons.setdefault(one.reason, []).append(one.number)
    lines = [f"  trial {', '.join(map(str, numbers))}: {reason}" for reason, numbers in reasons.items()]
    running = any(one.state in ("running", "waiting") for one in found.trials)
    return RunError(
        "no trial came to a result" + (f" ({found.counted()})" if found.trials else "")
        + "".join(f"\n{line}" for line in lines),
        todo="wait for the trials that are running" if running and not lines else
        "change tune.space, or what the reasons name, and search into another --out",
    )  # fmt: skip


def _show(found: Tuning, target: Path, page: Path, plain: Path) -> None:
    from rich.console import Console

    from pipeline.report import tuning_table
    from pipeline.tune.result import BEST

    console = Console(highlight=False)
    tuning_table.show(found, console)
    console.print(f"best:   {target / BEST}    (modelmill run {target / BEST})", soft_wrap=True)
    console.print(f"report: {page}\n        {plain}", soft_wrap=True)
