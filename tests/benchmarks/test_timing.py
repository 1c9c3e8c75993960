"""Rounds."""

from benchmarks.timing import MAX_ROUNDS, MIN_ROUNDS, time_rounds


def test_the_first_round_is_not_counted():
    clock, rounds = iter([10.0, 11.0, 20.0, 23.0]), []
    assert time_rounds(lambda: rounds.append(1), rounds=2, clock=lambda: next(clock)) == [1, 3]
    assert len(rounds) == 3


def test_without_a_number_what_is_fast_has_many_rounds():
    assert len(time_rounds(lambda: None, rounds=None)) == MAX_ROUNDS


def test_without_a_number_what_is_slow_has_a_few(monkeypatch):
    monkeypatch.setattr("benchmarks.timing.ENOUGH_SECONDS", 0.0)
    assert len(time_rounds(lambda: None, rounds=None)) == MIN_ROUNDS
