"""The figures of the page, as SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence


def training(history: Mapping[str, Sequence[float]]) -> str:
    """Return the curves of loss and accuracy, training and validation, over the epochs, as an SVG element.

    Args:
        history: metric -> one value per epoch; the curves of `loss` and `accuracy` and their `val_` twins are drawn.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "modelmill", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        # placed by hand: matplotlib's layout engines take longer than all the rest of a reused run
        figure = Figure(figsize=(8, 2.6))
        for left, metric in ((0.06, "loss"), (0.56, "accuracy")):
            axes = figure.add_axes((left, 0.18, 0.42, 0.7))
            for key, label, style in ((metric, "training", "--"), (f"val_{metric}", "validation", "-")):
                if values := history.get(key):
                    axes.plot(range(1, len(values) + 1), values, style, label=label)
            axes.set(title=metric, xlabel="epoch")
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
            if axes.lines:
                axes.legend(frameon=False)
        buffer = io.StringIO()
        figure.savefig(
            buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
