"""Where time goes: each operation has a place, and real programs have all of them."""

import pytest
import tiny

from benchmarks import programs
from benchmarks.profiling import ELSEWHERE, place_of, profile


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("jit(infer)/PackNet/encoder/conv1/conv/conv_general_dilated", "convolutions"),
        ("jit(s)/transpose(jvp(PackNet))/a/conv_general_dilated", "convolutions, gradients"),
        ("jit(s)/jvp(PackNet)/encoder/pre_calc/norm/sub", "other"),
        ("jit(s)/transpose(jvp(PackNet))/encoder/pre_calc/norm/sub", "other, gradients"),
    ],
)
def test_operations_have_their_place(name, place):
    assert place_of(name) == ("PackNet", place)


def test_what_no_network_does_is_losses_and_update():
    assert place_of("jit(train_step)/cond/branch_1_fun/mul") == (ELSEWHERE, "other")


def test_a_step_has_convolutions_their_gradients_and_losses():
    call, seconds = profile(programs.train_step(tiny.NETWORKS, tiny.SHAPE, 2))
    assert call > 0
    assert all(s >= 0 for s in seconds.values())
    kinds = {kind for _, kind in seconds}
    assert {"convolutions", "other", "other, gradients"} <= kinds
    assert seconds[ELSEWHERE, "other"] > 0
