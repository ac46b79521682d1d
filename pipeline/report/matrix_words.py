"""A matrix in words and rows of text, the same for the terminal, the page and the Markdown file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from pipeline.metric import Metric, of_key
from pipeline.report.matrix import FORMATS, LOSS, Cell, Column, Matrix, Row
from pipeline.report.words import kilobytes

HEADER = ("file", "", "95 %", "lost", "same as Keras", "kB", "gzipped", "operators in integers", "remarks")


def title(found: Matrix) -> str:
    """Return what was made, in a line."""
    count = Counter(cell.mark for row in found.rows for cell in row.cells)
    total = sum(count.values())
    worse = f", {count['worse']} of them clearly worse than what they came from" if count["worse"] else ""
    return (
        f"{len(found.rows)} models in {len(found.columns)} formats and precisions: {total - count['fails']} of {total} "
        f"files work{worse}{'; the others have a reason' if count['fails'] else ''}"
    )


def legend(found: Matrix) -> list[str]:
    """Return how the tables are read, in sentences."""
    judged: dict[str, list[str]] = {}
    for row in found.rows:
        if row.judged:
            judged.setdefault(row.judged, []).append(row.name)
    metrics = {key: of_key(key)[1] for key in judged}
    told = [_told(metrics[key]) + (f" ({', '.join(judged[key])})" if place else "") for place, key in enumerate(judged)]
    marked = any(metric.most is not None for metric in metrics.values())
    mark = (
        f"has a ! where more than {100 * LOSS:.0f} points are proven lost (95 %, paired) against the float SavedModel "
    )
    lines = [
        "Each file has answered the whole test split in its runtime: TensorFlow in process, LiteRT, ONNX Runtime.",
        f"A cell is the model's {' or '.join(told) or 'worth'}. It {f'{mark}as it was trained, and ' if marked else ''}"
        "says no, with the reason's number, where there is no file that runs.",
        "The models are small: what is compared are files of one model, not architectures.",
    ]
    if any(column.learned for column in found.columns):
        lines.append(
            "int8 (trained) comes from the stage quantize (QAT), int8 (after training) is quantized with the "
            "calibration split."
        )
    if any(row.name.endswith("_loop") for row in found.rows):
        lines.append(
            "Recurrent layers are written out step by step; in the rows that end in loop they stay loops, as those of "
            "sequences longer than export.unrolled_steps do."
        )
    return lines


def _told(metric: Metric) -> str:
    if metric.most is None:
        return metric.noun
    return f"{metric.noun} {'in per cent' if metric.form == 'percent' else 'times 100'}"


def summary(found: Matrix) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header and, for each model, how many files of each format work."""
    forms = [form for form in FORMATS if found.of(form)]
    header = ("model", *(FORMATS[form] for form in forms), "what does not work, or is worse")
    return header, [
        (row.name, *(_counted([cell for cell in row.cells if cell.column.format == form]) for form in forms), _odd(row))
        for row in found.rows
    ]


def _counted(cells: Sequence[Cell]) -> str:
    works = sum(cell.ran is not None for cell in cells)
    return f"{works} of {len(cells)}"


def _odd(row: Row) -> str:
    kinds: dict[tuple[str, str], list[str]] = {}
    for cell in sorted(row.cells, key=lambda cell: cell.mark):
        if cell.mark != "works":
            lost = f" ({100 * cell.ran.drop.value:.1f} points lost)" if cell.ran else ""
            kinds.setdefault((cell.mark, FORMATS[cell.column.format]), []).append(f"{cell.column.title}{lost}")
    said = [
        f"{'no' if mark == 'fails' else 'worse:'} {form} {', '.join(titles)}" for (mark, form), titles in kinds.items()
    ]
    return "; ".join(said) or "all work"


def overview(found: Matrix) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the header with the models' names, and for each file what it is worth for each of them."""
    numbers = {text: place for place, text in enumerate(reasons(found), 1)}
    header = ("file", *(row.name for row in found.rows))
    lines = []
    for place, column in enumerate(found.columns):
        cells = (_worth(row, row.cells[place], numbers) for row in found.rows)
        lines.append((f"{FORMATS[column.format]} {column.title}", *cells))
    return header, lines


def _worth(row: Row, cell: Cell, numbers: Mapping[str, int]) -> str:
    if cell.ran is None or row.judged is None:
        return f"no ({numbers[cell.reason]})"
    metric = of_key(row.judged)[1]
    value = cell.ran.metric.value
    text = f"{100 * value:.1f}" if metric.most is not None else metric.written(value)
    return f"{text}!" if cell.mark == "worse" else text


def reasons(found: Matrix) -> dict[str, list[str]]:
    """Return each reason why a file is not there -> the files, in the order in which they stand in the table."""
    told: dict[str, list[str]] = {}
    for place, column in enumerate(found.columns):
        for row in found.rows:
            if reason := row.cells[place].reason:
                told.setdefault(reason, []).append(f"{row.name} {FORMATS[column.format]} {column.title}")
    return told


def said_before(found: Matrix) -> str:
    """Return how doctor's forecast compares with what happened, in a sentence."""
    failed = [cell for row in found.rows for cell in row.cells if cell.ran is None and not cell.passing]
    told = sum(bool(cell.foreseen) for cell in failed)
    odd = len(found.unforeseen())
    otherwise = f"{odd} thing{'' if odd == 1 else 's'}" if odd else "nothing"
    return (
        f"Of {len(failed)} files that are not there doctor, asked before each run, had said so of {told}; {otherwise} "
        "came otherwise than it had said."
    )


def details(row: Row) -> Iterator[tuple[str, ...]]:
    """Yield a line for each file of a model, as in `HEADER`."""
    for cell in row.cells:
        name = _name(cell.column)
        if cell.ran is None or row.judged is None:
            yield name, "no", *("-" * (len(HEADER) - 3)), _remark(cell)
            continue
        metric, ran = of_key(row.judged)[1], cell.ran
        integers = f"{ran.integer} of {ran.integer + ran.floating}" if ran.integer + ran.floating else "-"
        yield (
            name, metric.text(ran.metric.value),
            f"{metric.written(ran.metric.low)} to {metric.written(ran.metric.high)}",
            f"{metric.difference(ran.drop.value, signed=True)}{metric.step}", _share(ran.parity.value),
            kilobytes(ran.bytes), kilobytes(ran.gzip_bytes), integers, _remark(cell),
        )  # fmt: skip


def noun(row: Row) -> str:
    """Return what a row is judged by."""
    return of_key(row.judged)[1].noun if row.judged else "nothing"


def described(row: Row) -> str:
    """Return in a line what a row's model is and how it was tested."""
    keys = ", ".join(f"{key}: {value}" for key, value in row.model.items())
    mixed = ", ".join(f"{json.dumps(layers)}: {precision}" for layers, precision in row.mixed.items())
    keys += f"}}, mixed: {{{mixed}" if mixed else ""
    tested = f"; {noun(row)} on {row.samples} test samples of {row.data}" if row.samples else ""
    return f"{{{keys}}}{tested}"


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _name(column: Column) -> str:
    return f"{FORMATS[column.format]} {column.title}"


def _remark(cell: Cell) -> str:
    said = [cell.reason] if cell.reason else []
    if cell.mark == "worse":
        said.append("worse")
    if cell.ran and cell.ran.batch is not None:
        said.append(f"{cell.ran.batch} sample{'' if cell.ran.batch == 1 else 's'} at a time")
    if cell.foreseen:
        said.append("doctor had said so" if cell.reason else f"doctor had said no: {cell.foreseen}")
    elif cell.surprising:
        said.append("doctor had not said so")
    return "; ".join(said) or "-"


def markdown(found: Matrix) -> str:
    """Return the whole as a page of Markdown."""
    minutes = found.seconds / 60
    lines = [
        f"# {len(found.rows)} model{'' if len(found.rows) == 1 else 's'} in every format and precision",
        "",
        f"Written by `{found.command}`: {title(found)}.",
        "",
        *(f"- {line}" for line in legend(found)),
        f"- The stages took {minutes:.0f} minutes on {found.machine.get('cores', '?')} cores of "
        f"{found.machine.get('cpu', 'an unknown CPU')}.",
        "",
        "## Summary",
        "",
        *_table(*summary(found)),
        "",
        said_before(found),
        *(["", *(f"- {_plain(text)}" for text in odd)] if (odd := found.unforeseen()) else []),
        "",
        "## What each file is worth",
        "",
        *_table(*overview(found)),
        "",
        "## Why not",
        "",
        *(f"{place}. {_plain(text)} ({', '.join(who)})" for place, (text, who) in enumerate(reasons(found).items(), 1)),
    ]
    lines += ["", "## Each model", ""]
    for row in found.rows:
        lines += [f"### {row.name}", "", f"`{described(row)}`", ""]
        lines += [*_table((HEADER[0], noun(row), *HEADER[2:]), list(details(row))), ""]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(_plain, row))} |"


def _plain(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
