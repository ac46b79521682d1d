"""The ensemble as one flat model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import models
from models import autoencoder, cnn, ensemble, mlp, rnn
from pipeline.compress import fake_quant
from pipeline.measuring import footprint
from pipeline.predictor import Head, Spec, classifier

CLASSES = classifier("image", (8, 8, 1), (0, 16), tuple("0123456789"))
VALUES = Spec(CLASSES.inputs, (Head("regression", (2,), (), "", (5.0, -1.0), (2.0, 0.5)),))
IMAGES = Spec(CLASSES.inputs, (Head("reconstruction", (8, 8, 1)),))
SAMPLES = np.random.default_rng(0).uniform(0, 16, (5, 8, 8, 1)).astype(np.float32)


def _members(spec: Spec, *configs: Any) -> list[Any]:
    return [models.build(config, spec, seed) for seed, config in enumerate(configs)]


@pytest.mark.parametrize(
    ("spec", "configs"),
    [
        (CLASSES, (cnn.Config(filters=(4,), dropout=0.5), mlp.Config(dense=(8,)), mlp.Config(dense=(8,)))),
        (CLASSES, (rnn.Config(units=(4,)), mlp.Config(dense=(8,)))),
        (VALUES, (mlp.Config(dense=(8,)), mlp.Config(dense=(4,)))),
        (IMAGES, (autoencoder.Config(dense=(8,), code=2), autoencoder.Config(dense=(8,), code=3))),
    ],
    ids=["classes", "recurrent", "values", "reconstructions"],
)
def test_ensemble_answers_with_the_mean_of_its_members(spec: Spec, configs: tuple[Any, ...]) -> None:
    members = _members(spec, *configs)
    whole = ensemble.join(members, spec)
    mean = np.mean([np.asarray(member(SAMPLES, training=False)) for member in members], axis=0)
    assert np.asarray(whole(SAMPLES, training=False)) == pytest.approx(mean, abs=1e-5)
    assert whole.input_names == ["image"]
    assert whole.output_names == [spec.head.end]
    assert footprint.parameters(whole) == sum(footprint.parameters(member) for member in members)
    counted = footprint.macs(whole)
    assert (counted.total, counted.unknown) == (sum(footprint.macs(member).total for member in members), ())


def test_ensemble_is_flat_with_a_prefix_for_each_member_and_shares_no_weight_with_them() -> None:
    members = _members(CLASSES, mlp.Config(dense=(3,)), mlp.Config(dense=(2,)))
    whole = ensemble.join(members, CLASSES)
    assert {layer.name for layer in whole.layers} == {
        "image", "sum_2", "logits",
        *(f"m{place}_{layer.name}" for place, member in enumerate(members, 1) for layer in member.layers[1:]),
    }  # fmt: skip
    before = np.asarray(whole(SAMPLES))
    members[0].set_weights([np.zeros_like(weight) for weight in members[0].get_weights()])
    assert np.array_equal(np.asarray(whole(SAMPLES)), before)


def test_every_layer_that_joins_three_members_can_be_quantized() -> None:
    whole = ensemble.join(_members(CLASSES, *[mlp.Config(dense=(3,), batch_norm=False)] * 3), CLASSES)
    assert fake_quant.floating(whole) == {}
