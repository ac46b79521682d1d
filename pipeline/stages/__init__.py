"""The stages, one module each. They never import each other; they meet only through artifacts on disk."""

# of those whose results are stored, in their order; here, so that `--help` need not import them
NAMES = ("import", "train", "distill", "profile", "shrink", "prune", "quantize", "export", "measure")
# of those that make a Keras model
MODELS = tuple(name for name in NAMES[: NAMES.index("export")] if name != "profile")
