"""A SavedModel folder of the user's: one that Keras wrote becomes a Keras model again; any other one answers, and can
be exported, served and measured, but nobody can train it.

folder      which of the two a folder is, and what it consists of; needs no TensorFlow
scan        the operations that a graph may hold
model       the graph as a function from raw values to logits
importing   these steps in child processes: what stages call
"""
