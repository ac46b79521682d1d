"""TF Serving from both sides: targets that serve a model, clients that ask it, and a compatible server of our own."""
