"""The embedded server: TensorFlow Serving's public API from a Python process, for machines without containers.

Rules named in docstrings, such as 3.3, are the paragraphs of TFSERVING_API.md.
"""
