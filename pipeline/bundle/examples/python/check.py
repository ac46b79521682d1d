"""Asks the model the golden inputs and compares what it answers. Exit code 1: a value differs by more than allowed.

python check.py            # what other kernels may differ by is allowed
python check.py --exact    # nothing is: for the runtime and processor that golden/index.json names
"""

import json
import sys
from pathlib import Path

import numpy as np
from model import Model
from values import answers, from_output, to_input

BUNDLE = Path(__file__).resolve().parents[2]


def tensor(said):
    """Read a raw tensor: little-endian, C order."""
    dtype = np.dtype(said["dtype"]).newbyteorder("<")
    return np.fromfile(BUNDLE / "golden" / said["file"], dtype).reshape(said["shape"]).astype(said["dtype"])


def main():
    exact = "--exact" in sys.argv[1:]
    index = json.loads((BUNDLE / "golden" / "index.json").read_text("utf-8"))
    signature = json.loads((BUNDLE / "signature.json").read_text("utf-8"))
    model = Model(BUNDLE)
    good = True
    for number, pair in enumerate(index["pairs"]):
        inputs = {}
        for end in signature["inputs"]:
            given = tensor(pair["inputs"][end["name"]])
            # an app has values and begins here
            values = from_output(end, given)
            inputs[end["name"]] = to_input(end, values)
            if not np.array_equal(inputs[end["name"]], given):
                good = False
                print(f"pair {number} {end['name']}: to_input does not give the golden input back")
        found = model(inputs)
        for end in signature["outputs"]:
            name = end["name"]
            wanted = tensor(pair["outputs"][name])
            allowed = 0.0 if exact else index["tolerance"][name]
            same = found[name].shape == wanted.shape and found[name].dtype == wanted.dtype
            apart = float(np.abs(found[name].astype("f8") - wanted.astype("f8")).max()) if same else float("nan")
            good = good and apart <= allowed
            said = "".join(f", answer {answer}" for answer in answers(BUNDLE, end, found[name]))
            print(f"pair {number} {name}: largest difference {apart:g}, allowed {allowed:g}{said}")
    print("good" if good else "DIFFERENT")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
