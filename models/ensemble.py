"""One flat model out of several trained ones: their layers side by side on the same inputs, and the mean at the end.

What is averaged are logits, not probabilities: the softmax of mean logits is the geometric mean of the members'
distributions, one of the two that Hinton, Vinyals and Dean (2015, section 1) name for an ensemble that teaches. It is
also that at every temperature, and it is sums and one factor, which every format computes and int8 keeps exact enough.
The mean of probabilities (Lakshminarayanan et al., 2017) would have to end in a logarithm, and that of a probability
which int8 rounds to zero is infinite. Values and reconstructions are averaged as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.legacy_keras import load as load_keras

if TYPE_CHECKING:
    from pipeline.predictor import Spec


def join(members: Sequence[Any], spec: Spec) -> Any:
    """Return one functional model that answers with the mean of its members, their weights included.

    The layers of the first member are called m1_..., and so on; the inputs and the last layer are named as in any
    model. Members are added two at a time: between the additions of one layer nothing can be rounded to int8.

    Args:
        members: two or more functional models of plain layers, each with the spec's one output.
    """
    keras = load_keras()
    inputs = [keras.Input(one.shape, name=one.name, dtype="float32") for one in spec.inputs]
    by_name = dict(zip((one.name for one in spec.inputs), inputs, strict=True))
    total = None
    for place, member in enumerate(members, start=1):

        def prefixed(layer: Any, prefix: str = f"m{place}_") -> Any:
            return layer.__class__.from_config({**layer.get_config(), "name": f"{prefix}{layer.name}"})

        copy = keras.models.clone_model(
            member, input_tensors=[by_name[name] for name in member.input_names], clone_function=prefixed
        )
        copy.set_weights(member.get_weights())
        total = copy.output if total is None else keras.layers.Add(name=f"sum_{place}")([total, copy.output])
    mean = keras.layers.Rescaling(1 / len(members), name=spec.head.end)(total)
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, mean, name="ensemble")
