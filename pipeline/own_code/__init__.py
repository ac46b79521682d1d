"""A model that the user's own function builds, from a file of Python: `model.builder: path/to/file.py:function`.

config      the section, and what of it is a stranger's to ask for
source      the file and what it imports from beside it, read and not run: what a result depends on
package     the same as modules under a name that nothing else has, and as copies inside of artifacts
build       the function called, and what it returns held to the data
objective   the loss and the metrics that the file has for training
"""
