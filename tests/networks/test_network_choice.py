import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from packnet_jax.convert.rules import RULES
from packnet_jax.errors import ConfigError
from packnet_jax.networks import (
    DEPTH_NETS,
    POSE_NETS,
    has_batch_norm,
    init_depth_net,
    init_pose_net,
    make_depth_net,
    make_pose_net,
)
from packnet_jax.networks.norm import BatchNorm


@pytest.mark.parametrize("name, version", [(n, v) for n in DEPTH_NETS for v in DEPTH_NETS[n]])
def test_every_listed_depth_network_is_made(name, version):
    assert make_depth_net(name, version) is not None


@pytest.mark.parametrize("name, version", [(n, v) for n in POSE_NETS for v in POSE_NETS[n]])
def test_every_listed_pose_network_is_made(name, version):
    assert make_pose_net(name, version) is not None


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ConfigError, match=r"'ResNet'.*DepthResNet, PackNet01"):
        make_depth_net("ResNet", "18")
    with pytest.raises(ConfigError, match="PoseNet, PoseResNet"):
        make_pose_net("PackNet01", "1A")


def test_unknown_versions_list_the_known_ones():
    with pytest.raises(ConfigError, match=r"'1C'.*'1A', '1B'"):
        make_depth_net("PackNet01", "1C")


@pytest.mark.parametrize(
    "make, name",
    [
        (make_depth_net, "DepthResNet"),
        (make_depth_net, "RaySurfaceResNet"),
        (make_pose_net, "PoseResNet"),
    ],
)
@pytest.mark.parametrize("depth", ["18", "34", "50"])
def test_pretrained_versions_are_the_same_networks(make, name, depth):
    assert make(name, f"{depth}pt") == make(name, depth)
    assert make(name, depth).depth == int(depth)


@pytest.mark.parametrize(
    "make, name, version", [(make_depth_net, "PackNet01", "1Apt"), (make_pose_net, "PoseNet", "pt")]
)
def test_networks_without_a_residual_encoder_have_no_pretrained_version(make, name, version):
    with pytest.raises(ConfigError, match=f"unknown version '{version}'"):
        make(name, version)


def test_every_network_has_rules_for_its_weights():
    assert {*DEPTH_NETS, *POSE_NETS} == set(RULES)


def test_every_depth_network_answers_an_image_with_four_maps():
    """Whatever else it can do: what training and evaluation call."""
    rgb = jnp.zeros((2, 32, 96, 3))
    for name, versions in DEPTH_NETS.items():
        net = make_depth_net(name, next(iter(versions)))
        pyramid, _ = jax.eval_shape(
            lambda net=net: net.init_with_output(jax.random.key(0), rgb, train=True)
        )
        assert [x.shape for x in pyramid] == [(2, 32 >> i, 96 >> i, 1) for i in range(4)], name


def test_packnet_san_has_one_version():
    with pytest.raises(ConfigError, match="'1B' of PackNetSAN01; expected one of '1A'"):
        make_depth_net("PackNetSAN01", "1B")


def test_slim_is_the_same_network_with_other_widths():
    slim, full = make_depth_net("PackNetSlim01", "1A"), make_depth_net("PackNet01", "1A")
    assert type(slim) is type(full)
    assert slim.widths == (32, 64, 128, 256, 512)
    assert (slim.num_3d_features, full.num_3d_features) == (4, 8)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("DepthResNet", 0.01, 10),
        ("RaySurfaceResNet", 0.01, 10),
        ("PackNet01", 0, 2),
        ("PackNetSAN01", 0, 2),
    ],
)
def test_an_initial_inverse_depth_lies_within_what_the_network_predicts(name, low, high):
    version = next(iter(DEPTH_NETS[name]))
    middle = (low + high) / 2
    assert make_depth_net(name, version, initial_inv_depth=middle).initial_inv_depth == middle
    for outside in (high, high + 1):
        with pytest.raises(ConfigError, match=f"between {low}.* and {high}"):
            make_depth_net(name, version, initial_inv_depth=outside)


@pytest.mark.parametrize("name", [n for n in DEPTH_NETS if n.startswith("PackNet")])
def test_packnets_take_dropout(name):
    assert make_depth_net(name, "1A", dropout=0.5).dropout == 0.5
    assert make_depth_net(name, "1A").dropout == 0


@pytest.mark.parametrize("name", ["DepthResNet", "RaySurfaceResNet"])
def test_networks_without_dropout_refuse_it(name):
    with pytest.raises(ConfigError, match=rf"dropout: given 0\.5, but {name} has no dropout"):
        make_depth_net(name, "18", dropout=0.5)
    assert make_depth_net(name, "18", dropout=0.0) == make_depth_net(name, "18")


@pytest.mark.parametrize("name", [*DEPTH_NETS, *POSE_NETS])
def test_groups_reach_every_batch_normalisation(name):
    is_depth = name in DEPTH_NETS
    version = next(iter((DEPTH_NETS if is_depth else POSE_NETS)[name]))
    make = make_depth_net if is_depth else make_pose_net
    net, groups = make(name, version, batch_norm_groups=3), []

    def look(call, args, kwargs, context):
        if isinstance(context.module, BatchNorm):
            groups.append(context.module.groups)
        return call(*args, **kwargs)

    with nn.intercept_methods(look):
        if is_depth:
            jax.eval_shape(lambda key: init_depth_net(net, key, (64, 64)), jax.random.key(0))
        else:
            jax.eval_shape(lambda key: init_pose_net(net, key, (64, 64), 2), jax.random.key(0))
    assert set(groups) == ({3} if has_batch_norm(net) else set())
