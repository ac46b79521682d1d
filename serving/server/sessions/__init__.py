"""What runs a version: TensorFlow or LiteRT."""
