"""Channel removal on fifty random models; `python -m tests.pipeline.compress.random_graphs` tries five hundred."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.legacy_keras import load as load_keras
from tests.pipeline.compress import random_graphs

# what is checked stays as it is from run to run; the script is what looks for more
_FIFTY = settings(
    max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@_FIFTY
@given(st.randoms(use_true_random=False))
def test_smaller_model_answers_as_the_original_without_the_channels_when_the_model_is_random(random: Random) -> None:
    load_keras().backend.clear_session()
    random_graphs.once(random, most=6, store=random.randrange(5) == 0)
