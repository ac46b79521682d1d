"""A user's model file: looked through before it is loaded, loaded in a process of its own, proven to be what it was.

kind            which format, by the first bytes and the name
archive, hdf5   what a file may consist of; what its configuration may name is in formats/keras_config.py
scan            all of it on one file, which gives a copy of what was looked at
load            the copy as a model that ends in logits
proof           its weights and answers against the file
importing       these steps in child processes: what stages call
"""
