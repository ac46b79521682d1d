"""The stages, one module each. They never import each other; they meet only through artifacts on disk."""

# of those whose results are stored, in their usual order (see `pipeline.order`); here, so that `--help` need not import
# them
NAMES = (
    "import", "train", "distill", "sensitivity", "profile", "shrink", "prune", "cluster", "quantize", "export",
    "measure", "edge",
)  # fmt: skip
# of those that make a Keras model
MODELS = ("import", "train", "distill", "shrink", "prune", "cluster", "quantize")
# of those that measure a model for the stages after them
TABLES = ("sensitivity", "profile")
