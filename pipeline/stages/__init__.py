"""The stages, one module each. They never import each other; they meet only through artifacts on disk."""

# of those whose results are stored, in their usual order (see `pipeline.order`); here, so that `--help` need not import
# them
NAMES = ("import", "train", "distill", "profile", "shrink", "prune", "cluster", "quantize", "export", "measure")
# of those that make a Keras model
MODELS = ("import", "train", "distill", "shrink", "prune", "cluster", "quantize")
