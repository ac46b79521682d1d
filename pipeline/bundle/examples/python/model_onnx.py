"""The model in ONNX Runtime: pip install numpy onnxruntime"""

import json

import onnxruntime


class Model:
    """Answers for arrays by the names of the inputs, in the types and shapes of signature.json."""

    def __init__(self, bundle, threads=1):
        signature = json.loads((bundle / "signature.json").read_text("utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        path = str(bundle / signature["model"])
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._outputs = [end["name"] for end in signature["outputs"]]

    def __call__(self, inputs):
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))
