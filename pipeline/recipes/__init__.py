"""The built-in recipes, and which of them is meant where none is named."""

DEFAULT = "digits"
# where a model file is named
OWN_MODEL = "own-model"
