import pytest

from packnet_jax.errors import ConfigError
from packnet_jax.networks import DEPTH_NETS, POSE_NETS, make_depth_net, make_pose_net


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
    "make, name", [(make_depth_net, "DepthResNet"), (make_pose_net, "PoseResNet")]
)
def test_pretrained_versions_say_what_to_do(make, name):
    with pytest.raises(ConfigError, match="use '18'"):
        make(name, "18pt")
