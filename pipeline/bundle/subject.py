"""What is bundled: an artifact of a run, and the test split that its golden pairs are taken from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import data
from pipeline.artifact import MANIFEST, Manifest
from pipeline.errors import InputError

if TYPE_CHECKING:
    from pipeline.data import DataConfig, Splits
    from pipeline.exported import Exported
    from pipeline.report.document import Report

FORMATS = ("tflite", "onnx")
EXTENSIONS = {"tflite": ".tflite", "onnx": ".onnx"}


@dataclass(frozen=True)
class Subject:
    """An artifact that is bundled.

    Attributes:
        found: the artifact, its files compared with their hashes.
        report: of the run.
        recipe: its name; the report says one too, but a stranger's report may say anything there.
        source: the data source's name in the recipe.
    """

    found: Exported
    report: Report
    recipe: str
    source: str

    @property
    def name(self) -> str:
        """What the bundle is called: the recipe and the artifact."""
        return f"{self.recipe}-{self.found.item.id}"

    @property
    def model(self) -> str:
        """The name of the model's file in the bundle."""
        return f"model{EXTENSIONS[self.found.item.format]}"


def splits(found: Exported, config: DataConfig) -> Splits:
    """Load the splits of a run again, texts as strings.

    Raises:
        InputError: the data is not there any more, or is other data than the run's, or nobody knows which the run had.
        MissingError: the source is not installed.
    """
    # `exported.checked` has read it
    manifest = Manifest.model_validate_json((found.run / "stages" / "export" / MANIFEST).read_bytes())
    content = manifest.basis.get("content")
    written = content.get("data") if isinstance(content, dict) else None
    if written is None:
        raise InputError(
            f"{found.run} did not write down which data it had: golden pairs would be of whatever lies there now",
            expected=f"the hash of the data in stages/export/{MANIFEST}", found="none",
            todo="run the recipe again, then bundle that run",
        )  # fmt: skip
    try:
        there = data.content_hash(config)
        loaded = data.load(config, found.store(), strings=True) if written == there else None
    except InputError as error:
        raise InputError(
            f"the data of {found.run} cannot be read: golden pairs are samples of its test split",
            expected=f"the source {config.source}{f', {config.path}' if config.path else ''}, as the run had it, from "
            "the same working directory", found=f"{error.what}{f' ({error.found})' if error.found else ''}",
            todo="put the data back, then run the same command again",
        ) from None  # fmt: skip
    if loaded is None:
        raise InputError(
            f"the data of {found.run} has changed since the run: its test split would be another",
            expected=f"content with the hash {written}", found=str(there),
            todo="put the data back as it was, or run the recipe again",
        )  # fmt: skip
    return loaded
