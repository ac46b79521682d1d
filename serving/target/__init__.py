"""Serving targets: what one is (interface.py), how one is chosen (choose.py), and one module for each."""
