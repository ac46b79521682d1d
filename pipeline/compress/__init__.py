"""The arithmetic on models, without files or recipes: what distillation, pruning and quantization-aware training do.

`support.py` is the one table of what each technique can do with each layer.
"""
