"""The verb `devices`: what there is to train on, and what a recipe would take of it."""

from __future__ import annotations

import dataclasses
import json

from rich.console import Console
from rich.table import Table

from pipeline import machine
from pipeline.compute.choose import choose
from pipeline.compute.config import Compute
from pipeline.compute.devices import Device, Found
from pipeline.errors import MissingError


def show(compute: Compute, found: Found, recipe: str, as_json: bool) -> None:
    """Print all devices, and what the recipe of a name would be trained on.

    Raises:
        MissingError: it asks for what is not there; the devices are printed all the same.
    """
    try:
        choice, missing = choose(compute, found), None
    except MissingError as error:
        choice, missing = None, error
    if as_json:
        listed = [dataclasses.asdict(device) for device in _all(found)]
        listed[0] |= {"cores": machine.cores(), "bfloat16": list(found.bfloat16)}
        uses = choice.to_json() if choice else None
        print(json.dumps({"devices": listed, "recipe": recipe, "uses": uses}))
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("device", "name", "memory", "notes"):
            table.add_column(column, style="bold" if column == "device" else None, overflow="fold")
        for device in _all(found):
            memory = f"{device.memory_mb:,} MiB" if device.memory_mb else "unknown"
            table.add_row(device.place, device.name, memory, _notes(device, found))
        console = Console(highlight=False)
        console.print(table)
        if choice:
            console.print(f"\nThe recipe {recipe} {choice.said}.", soft_wrap=True)
    if missing:
        raise missing


def _all(found: Found) -> list[Device]:
    return [found.cpu, *found.gpus, *found.tpus]


def _notes(device: Device, found: Found) -> str:
    if device.kind == "cpu":
        fast = f", multiplies bfloat16 ({', '.join(found.bfloat16)})" if found.bfloat16 else ""
        return f"{machine.cores()} cores{fast}"
    if device.capability:
        return f"compute capability {'.'.join(map(str, device.capability))}"
    return ""
