"""Where batches and states are put, and when."""

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh

from packnet_jax import compilation, sharding
from packnet_jax.config import OptimConfig
from packnet_jax.errors import ConfigError
from packnet_jax.networks import make_depth_net, make_pose_net
from packnet_jax.sfm import Networks
from packnet_jax.train.optim import make_optimizer
from packnet_jax.train.state import TrainState


@pytest.mark.parametrize("count", [1, 2, 5])
def test_batches_come_in_order_and_are_placed_one_ahead(count):
    made = []

    def batches():
        for number in range(count):
            made.append(number)
            yield {"number": np.full(4, number)}

    mesh = sharding.make_mesh()
    for number, batch in enumerate(sharding.placed_ahead(batches(), mesh)):
        assert len(made) == min(number + 2, count)
        assert isinstance(batch["number"], jax.Array)
        assert len(batch["number"].sharding.device_set) == mesh.size
        np.testing.assert_array_equal(batch["number"], number)
    assert number == count - 1


def test_no_batches_are_none():
    assert list(sharding.placed_ahead([], sharding.make_mesh())) == []


@pytest.mark.parametrize(("batch_size", "accumulate"), [(6, 1), (8, 4)])
def test_a_batch_that_devices_can_not_share_is_refused(batch_size, accumulate):
    mesh = sharding.make_mesh(4)
    with pytest.raises(ConfigError, match="use a multiple of"):
        sharding.check_batch_size(batch_size, mesh, accumulate=accumulate)


@pytest.mark.parametrize("fsdp", [1, 2, 4])
def test_the_only_process_makes_every_row_and_each_device_holds_some(fsdp):
    mesh = sharding.make_mesh(4, fsdp=fsdp)
    assert sharding.local_rows(mesh, 8) == tuple(range(8))
    placed = sharding.place_batch(np.arange(8), mesh)
    assert sorted(shard.data.tolist() for shard in placed.addressable_shards) == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
    ]


@pytest.mark.parametrize("meant", [False, True])
def test_a_cpu_in_place_of_what_jax_was_installed_for_is_told(meant, monkeypatch, tmp_path, caplog):
    installed = tmp_path / "jax_tractor_plugin-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: jax-tractor-plugin\n")
    (installed / "entry_points.txt").write_text("[jax_plugins]\ntractor = jax_plugins.tractor\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_platforms", before if meant else None)
    try:
        sharding.make_mesh()
    finally:
        jax.config.update("jax_platforms", before)
    told = "runs on the CPU: tractor is installed" in caplog.text
    assert told == (not meant)


def test_devices_that_do_not_fall_into_groups_are_refused():
    with pytest.raises(ConfigError, match=r"train\.fsdp: given 3, but 4 devices"):
        sharding.make_mesh(4, fsdp=3)


def test_a_state_is_cut_along_its_longest_axis_that_falls_into_equal_slices():
    mesh = sharding.make_mesh(4, fsdp=4)
    shapes = {
        "kernel": (3, 3, 128, 256),
        "wide": (256, 130),
        "odd": (127, 255),
        "bias": (256,),
        "step": (),
    }
    tree = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
    specs = {name: tuple(s.spec) for name, s in sharding.state_sharding(tree, mesh).items()}
    assert specs == {
        "kernel": (None, None, None, "fsdp"),
        "wide": ("fsdp",),
        "odd": (),
        "bias": (),
        "step": (),
    }
    alone = sharding.state_sharding(tree, sharding.make_mesh(4))
    assert all(s.is_fully_replicated for s in alone.values())


def test_packnet_s_state_takes_an_eighth_of_its_memory_on_each_of_eight_devices():
    """Parameters and Adam's two moments in float32; docs/scale.md tells of these numbers."""
    networks = Networks(make_depth_net("PackNet01", "1A"), make_pose_net("PoseNet", ""))
    optimizer = make_optimizer(OptimConfig())

    def create(key):
        return TrainState.create(networks.init(key, (192, 640), 2), optimizer)

    state = jax.eval_shape(create, jax.random.key(0))
    shares = {}
    for fsdp in (1, 2, 8):
        mesh = AbstractMesh((8 // fsdp, fsdp), ("data", "fsdp"))
        shares[fsdp] = sharding.bytes_per_device(state, mesh)
    print(shares)
    assert shares[1] == 3 * 4 * state.num_parameters() + 4 * 4  # and four counters
    assert shares[1] > 1.5e9
    for fsdp in (2, 8):
        assert shares[1] / fsdp <= shares[fsdp] < 1.01 * shares[1] / fsdp


def test_arrays_are_gathered_by_one_program_for_each_shape():
    mesh = sharding.make_mesh(4, fsdp=4)
    number = np.arange(8 * 128 * 128, dtype=np.float32).reshape(8, 128, 128)
    where = sharding.state_sharding(number, mesh)
    with compilation.compile_clock() as clock:
        for step in range(3):
            found = sharding.whole({"a": sharding.spread(number + step, where)}, mesh)["a"]
            np.testing.assert_array_equal(found, number + step)
            assert found.is_fully_replicated
    assert clock.num_programs == 1
