"""Where samples come from: one module a source, all with the same face.

    load(config, prepare) -> Source    reads the content; what has to be decoded is written once, through `prepare`
    input_shapes(config)               input name -> shape of one sample, of none of them read; None: no file
    files(config) -> tuple[Path, ...]  the files that hold the content, whose bytes are its fingerprint

One that decodes says so with DECODES = True. A module may define a section of its own for the recipe, `data.NAME`.
"""

from __future__ import annotations

from pipeline.data.sources import digits, npz

SOURCES = {"digits": digits, "npz": npz}
