"""The model in LiteRT: pip install numpy ai-edge-litert"""

import json

from ai_edge_litert.interpreter import Interpreter


class Model:
    """Answers for arrays by the names of the inputs, in the types and shapes of signature.json."""

    def __init__(self, bundle, threads=1):
        signature = json.loads((bundle / "signature.json").read_text("utf-8"))
        self._interpreter = Interpreter(str(bundle / signature["model"]), num_threads=threads)
        self._interpreter.allocate_tensors()
        self._stateful = signature["keeps_state_between_calls"]
        self._run = self._interpreter.get_signature_runner(signature["signature_key"])

    def __call__(self, inputs):
        if self._stateful:  # each call is a sequence of its own
            self._interpreter.reset_all_variables()
        return self._run(**inputs)
