"""`python -m packnet_jax.ray_template` as a user runs it."""

import cli
import numpy as np

from packnet_jax.ray_template import load_template

MEI = "--calibration=365.5,365.2,644.2,520.7,1.435,0.1,0.21"


def test_a_template_of_a_crop(tmp_path):
    said = cli.run(
        "ray_template",
        "--model=mei",
        MEI,
        "--calibration_shape=1024,1280",
        "--crop=128,0,1152,1024",
        "--image_shape=48,48",
        "--max_angle=100",
        "--output=rays.npz",
        cwd=tmp_path,
    )
    assert "rays.npz: 48x48 of pictures of 1024x1280" in said
    template = load_template(tmp_path / "rays.npz", (48, 48))
    assert f"{template.valid.mean():.1%} of the pixels valid, up to 100.0 degrees" in said
    centre = template.rays[23:25, 23:25].mean((0, 1))
    np.testing.assert_allclose(centre, [0, 0, 1], atol=0.1)


def test_mistakes_end_with_status_2(tmp_path):
    given = ("--model=mei", MEI, "--image_shape=48,48", "--output=rays.npz")
    for changed, message in (
        (given[:3], "ConfigError: --output is missing"),
        (
            (*given, "--crop=0,0,100,10"),
            "--crop: given (0, 0, 100, 10), but the pictures are 48x48",
        ),
        ((*given, "--image_shape=48"), "--image_shape: given 48, expected height,width in pixels"),
        ((*given, "--output=rays.txt"), "templates are written as .npz"),
    ):
        assert message in cli.run("ray_template", *changed, cwd=tmp_path, status=2)
    assert not list(tmp_path.iterdir())
