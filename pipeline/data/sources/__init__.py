"""Where samples come from: one module a source, or for several that are alike, all with the same face.

    load(config, prepare) -> Source    reads the content; what has to be decoded is written once, through `prepare`
    input_shapes(config)               input name -> shape of one sample, of none of them read; None: no file
    files(config) -> tuple[Path, ...]  the files that hold the content, whose bytes are its fingerprint
    PLACES(config, files)              of a source where a file's place is content too (its folder is its label): the
                                       places, as they are wherever the whole lies; None: of this content they are none
    LIBRARIES                          distributions that decode, whose version decides what comes of it; or a function
                                       of the config

One that decodes says so with DECODES, true or a function of the config, one that needs data.path says with PATH what
that has to be. A module may define a section of its own for the recipe, `data.NAME`.
"""

from __future__ import annotations

from pipeline.data.sources import (
    builder,
    bundled,
    image_folder,
    keras_datasets,
    npy,
    npz,
    table,
    text,
    tfds,
    tfrecord,
)  # fmt: skip

SOURCES = {
    **dict.fromkeys(bundled.SETS, bundled),
    **dict.fromkeys(keras_datasets.SETS, keras_datasets),
    "npz": npz,
    "npy": npy,
    "image_folder": image_folder,
    "table": table,
    "text": text,
    "tfrecord": tfrecord,
    "tfds": tfds,
    "builder": builder,
}
# what data.path has to be, for those that need one
PATHS = {name: str(source.PATH) for name, source in SOURCES.items() if hasattr(source, "PATH")}
# section of the recipe -> the source that it is for
SECTIONS = {
    "image_folder": "image_folder", "table": "table", "text_file": "text", "tfrecord": "tfrecord", "tfds": "tfds",
    "builder": "builder",
}  # fmt: skip
# whose values are no classes: they are predicted
NUMBERS = frozenset(name for name, known in bundled.SETS.items() if known.numbers)
