"""The one loop that fits weights, and its parts: config, schedule, checkpoint, randomness, training curves."""
