"""Requests that run together, as TensorFlow Serving's batching does it."""
