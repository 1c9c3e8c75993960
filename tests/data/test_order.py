import itertools

import pytest

from packnet_jax.data.order import SampleOrder


def take(order: SampleOrder, count: int) -> list[int]:
    return [order[i] for i in range(count)]


@pytest.mark.parametrize("num_samples", [1, 2, 5, 1000])
def test_every_pass_holds_every_sample_once(num_samples):
    order = take(SampleOrder(num_samples, seed=3, shuffle=True), 3 * num_samples)
    for start in range(0, 3 * num_samples, num_samples):
        assert sorted(order[start : start + num_samples]) == list(range(num_samples))


def test_without_shuffling_passes_are_in_order():
    assert take(SampleOrder(3, seed=0, shuffle=False), 7) == [0, 1, 2, 0, 1, 2, 0]


def test_passes_and_seeds_differ():
    orders = [SampleOrder(50, seed=seed, shuffle=True) for seed in range(3)]
    passes = [tuple(order[50 * p + i] for i in range(50)) for order in orders for p in range(4)]
    assert len(set(passes)) == 12


def test_a_place_does_not_depend_on_what_was_asked_before():
    expected = take(SampleOrder(7, seed=1, shuffle=True), 100)
    order = SampleOrder(7, seed=1, shuffle=True)
    for i in itertools.chain(range(99, -1, -1), range(0, 100, 13)):
        assert order[i] == expected[i]


def test_the_order_of_a_seed_is_fixed():
    """If this fails, runs that are resumed under this numpy see their data in another order."""
    assert take(SampleOrder(5, seed=0, shuffle=True), 10) == [2, 4, 3, 0, 1, 1, 4, 3, 0, 2]


def test_samples_that_belong_together_stay_in_a_row():
    order = take(SampleOrder(12, seed=0, shuffle=True, together=3), 24)
    rows = [order[i : i + 3] for i in range(0, 24, 3)]
    whole = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert sorted(rows[:4]) == sorted(rows[4:]) == whole
    assert rows[:4] != rows[4:]
    assert take(SampleOrder(4, seed=0, shuffle=False, together=2), 5) == [0, 1, 2, 3, 0]


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="-1"):
        SampleOrder(5, seed=-1, shuffle=True)
