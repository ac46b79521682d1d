"""Raw values to what an input takes, and what an output gives to what it stands for; `end` is of signature.json."""

import numpy as np


def to_input(end, values):
    """Return raw values in the input's type; where that is integers for values, those integers."""
    values = np.asarray(values)
    if end["quantization"] is None:
        return values.astype(end["dtype"])
    limits = np.iinfo(end["dtype"])
    steps = np.rint(values.astype("f4") / np.float32(end["quantization"]["scale"]))
    return np.clip(steps + end["quantization"]["zero_point"], limits.min, limits.max).astype(end["dtype"])


def from_output(end, found):
    """Return what an output's integers stand for, as float32; anything else as it is."""
    if end["quantization"] is None:
        return found
    return (found.astype("f4") - end["quantization"]["zero_point"]) * np.float32(end["quantization"]["scale"])


def answers(bundle, end, found):
    """Return the name of the class with the highest value, for each sample; [] of an output that has no such."""
    if end.get("task") != "classification" or "labels" not in end:
        return []
    names = (bundle / end["labels"]).read_text("utf-8").removesuffix("\n").split("\n")
    return [names[place] for place in from_output(end, found).argmax(axis=-1)]
