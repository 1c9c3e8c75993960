import pytest
from golden.seeded import digest, load_manifest, seeded_state_dict


@pytest.mark.parametrize("network", ["DepthResNet_18", "PackNet01_1A", "PoseNet", "PoseResNet_18"])
def test_weights_are_those_the_golden_values_were_made_with(network):
    assert digest(seeded_state_dict(network)) == load_manifest(network)["crc32"]
