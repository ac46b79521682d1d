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

from types import ModuleType

BUNDLED = ("digits", "iris", "wine", "breast_cancer", "diabetes")
KERAS = ("mnist", "fashion_mnist", "cifar10", "cifar100", "imdb")
NAMES = (*BUNDLED, *KERAS, "npz", "npy", "image_folder", "table", "text", "tfrecord", "tfds", "builder")
# what data.path has to be, for those that need one
PATHS = {
    "npz": "a file with the arrays x_train, y_train, x_test, y_test",
    "npy": "a folder with the arrays x_train.npy, y_train.npy, x_test.npy, y_test.npy",
    "image_folder": "a folder with a folder of images for each class",
    "table": "a table: .csv, .tsv, .csv.gz, .tsv.gz, .parquet",
    "text": "a .tsv or .csv file with a header, or a folder with a folder of .txt files for each class",
    "tfrecord": "a .tfrecord file (gzipped: .gz), a folder of them, or a pattern such as data/*.tfrecord",
}
# section of the recipe -> the source that it is for
SECTIONS = {
    "image_folder": "image_folder", "table": "table", "text_file": "text", "tfrecord": "tfrecord", "tfds": "tfds",
    "builder": "builder",
}  # fmt: skip
# whose values are no classes: they are predicted
NUMBERS = frozenset({"diabetes"})


def find(name: str) -> ModuleType:
    """Return the module of a source; imported here, as a recipe is checked without all the others."""
    if name in BUNDLED:
        from pipeline.data.sources import bundled

        return bundled
    if name in KERAS:
        from pipeline.data.sources import keras_datasets

        return keras_datasets
    return _own(name)


def _own(name: str) -> ModuleType:
    from pipeline.data.sources import builder, image_folder, npy, npz, table, text, tfds, tfrecord

    modules = {
        "npz": npz, "npy": npy, "image_folder": image_folder, "table": table, "text": text, "tfrecord": tfrecord,
        "tfds": tfds, "builder": builder,
    }  # fmt: skip
    return modules[name]
