"""modelmill image: a run's model and TensorFlow Serving in one image, which gets its name once it has proven itself."""
