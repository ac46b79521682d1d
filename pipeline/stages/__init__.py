"""The stages, one module each. They never import each other; they meet only through artifacts on disk."""
