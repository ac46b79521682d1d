"""What answers are worth: each metric of `pipeline.metric` on weighted samples, by scikit-learn's definitions.

Weights say how often a sample counts, so one piece of code gives a value (all ones), a bootstrap interval (each column
a resample) and the paired difference of two models (the same columns for both).
"""
