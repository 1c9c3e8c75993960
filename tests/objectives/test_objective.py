"""When a stage begins."""

import jax
import pytest

from packnet_jax.objectives.objective import has_begun


@pytest.mark.parametrize(
    ("num_steps", "start", "first"), [(50, 0.6, 30), (50, 0.1, 5), (3000, 0.3, 900), (4, 0.0, 0)]
)
def test_a_stage_begins_at_its_step_even_where_xla_rounds_the_progress_down(
    num_steps, start, first
):
    begun = jax.jit(lambda step: has_begun(step / num_steps, start))
    assert [step for step in range(num_steps) if begun(step)][:1] == [first]
    assert not begun(first - 1)
