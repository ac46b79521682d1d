"""The container images that a recipe gets where it names none; apart from the recipe's types, for --help needs them."""

IMAGES = {"cpu": "tensorflow/serving:2.20.0", "gpu": "tensorflow/serving:2.20.0-gpu"}
