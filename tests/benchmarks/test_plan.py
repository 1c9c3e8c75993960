"""Which cases a run takes."""

import pytest

from benchmarks.plan import BENCHMARKS, NETWORKS, PACKNETS, PROGRAMS, Case, Choice, plan
from benchmarks.programs import MODELS
from packnet_jax.errors import ConfigError


def test_the_names_are_those_of_the_models():
    assert set(NETWORKS) == set(MODELS)


@pytest.mark.parametrize("platform", ["cpu", "gpu", "tpu"])
def test_by_default_every_benchmark_and_network_comes_and_no_case_twice(platform):
    cases = plan(Choice.parse(), platform=platform)
    assert {"machine", *(case.benchmark for case in cases)} == set(BENCHMARKS)
    for benchmark in ("forward", "train_step"):
        assert {c.network for c in cases if c.benchmark == benchmark} == set(NETWORKS)
    assert len(set(cases)) == len(cases)
    positions = [BENCHMARKS.index(case.benchmark) for case in cases]
    assert positions == sorted(positions)


def test_a_cpu_computes_single_images_in_float32_and_accelerators_more():
    alone, wide = (plan(Choice.parse(only=PROGRAMS), platform=p) for p in ("cpu", "gpu"))
    assert {(c.batch, c.dtype, c.height, c.width) for c in alone} == {(1, "float32", 192, 640)}
    assert {"float32", "bfloat16"} == {c.dtype for c in wide}
    assert {(192, 640), (384, 1280)} == {(c.height, c.width) for c in wide}
    assert {1, 16, 32} <= {c.batch for c in wide}


def test_packnets_have_both_packings_and_others_none():
    for case in plan(Choice.parse(only=["forward"]), platform="cpu"):
        assert (case.packing is None) == (case.network not in PACKNETS)
    packings = [c.packing for c in plan(Choice.parse(only=["forward"]), platform="cpu")]
    assert packings.count("fused") == packings.count("reference") == len(PACKNETS)


def test_what_is_chosen_replaces_every_default():
    choice = Choice.parse(
        only=["loss_and_gradients"],
        networks=["PackNetSlim01"],
        sizes=["64x96", "32x32"],
        batch_sizes=["2"],
        dtypes=["bfloat16"],
        packings=["fused"],
    )
    expected = [
        Case("loss_and_gradients", "", "PackNetSlim01", *size, 2, "bfloat16", "fused")
        for size in ((64, 96), (32, 32))
    ]
    for platform in ("cpu", "gpu"):
        assert plan(choice, platform=platform) == expected


@pytest.mark.parametrize(
    "words",
    [
        {"only": ["forward", "backward"]},
        {"only": [""]},
        {"networks": ["PackNet02"]},
        {"networks": []},
        {"sizes": ["192"]},
        {"sizes": ["192x641"]},
        {"sizes": ["0x640"]},
        {"sizes": ["192x640x3"]},
        {"sizes": ["-192x640"]},
        {"batch_sizes": ["0"]},
        {"batch_sizes": []},
        {"batch_sizes": ["one"]},
        {"dtypes": ["float16"]},
        {"packings": ["folded"]},
    ],
)
def test_what_is_unknown_is_an_error_that_names_the_flag_and_what_is_expected(words):
    (flag,) = words
    with pytest.raises(ConfigError, match=f"^--{flag}: given .*; expected") as caught:
        Choice.parse(**words)
    assert "\n" not in str(caught.value)
