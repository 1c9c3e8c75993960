"""Templates: made from camera models, written, read, refused."""

import numpy as np
import pytest
import real_data

from packnet_jax.errors import DataError
from packnet_jax.geometry.camera_models import OcamPolynomial, Pinhole
from packnet_jax.ray_template import (
    RayTemplate,
    load_template,
    make_template,
    read_model,
    save_template,
)
from packnet_jax.ray_template.template import Box

LENS = Pinhole(20.0, 21.0, 15.5, 11.5)
SHAPE = (24, 32)
WHOLE = Box(0, 0, 32, 24)


def template_of(lens=LENS, shape=SHAPE, **options) -> RayTemplate:
    return make_template(lens, shape, **{"crop": WHOLE, **options})


def rays_in_file(**changes) -> np.ndarray:
    return np.moveaxis(template_of(**changes).rays, -1, 0)[None]


def test_rays_are_the_model_s_at_the_pixel_centres():
    template = template_of()
    assert template.rays.dtype == np.float32 and template.rays.shape == (24, 32, 3)
    expected = np.array([(5 - 15.5) / 20, (7 - 11.5) / 21, 1])
    np.testing.assert_allclose(template.rays[7, 5], expected / np.linalg.norm(expected), atol=1e-7)
    assert template.valid.all()


def test_resizing_keeps_the_outer_edges():
    """As K's rule c' = (c + 0.5) s - 0.5 has it."""
    small = Pinhole(10.0, 10.5, 16 * 0.5 - 0.5, 12 * 0.5 - 0.5)
    expected = make_template(small, (12, 16), crop=Box(0, 0, 16, 12))
    np.testing.assert_allclose(template_of(shape=(12, 16)).rays, expected.rays, atol=1e-7)


def test_a_crop_is_a_part_of_the_whole():
    part = template_of(shape=(10, 20), crop=Box(4, 6, 24, 16))
    np.testing.assert_allclose(part.rays, template_of().rays[6:16, 4:24], atol=1e-7)


def test_a_largest_angle_cuts_a_disc():
    template = template_of(max_angle=np.radians(30))
    angles = np.degrees(np.arccos(template.rays[..., 2]))
    np.testing.assert_array_equal(template.valid, angles <= 30)
    assert 0.2 < template.valid.mean() < 0.8


def test_what_is_written_is_read(tmp_path):
    template = template_of(max_angle=0.5)
    path = tmp_path / "rays.npz"
    save_template(path, template)
    with np.load(path) as file:
        assert file["rays"].shape == (1, 3, 24, 32) and file["rays"].dtype == np.float32
    read = load_template(path, SHAPE)
    np.testing.assert_array_equal(read.rays, template.rays)
    np.testing.assert_array_equal(read.valid, template.valid)
    with pytest.raises(DataError, match=r"written as .npz, not '.npy'"):
        save_template(tmp_path / "rays.npy", template)


def test_the_original_s_npy_is_read(tmp_path):
    """In float64, too."""
    path = tmp_path / "omnicam_ray_template.npy"
    np.save(path, rays_in_file().astype(np.float64))
    read = load_template(path)
    assert read.rays.dtype == np.float32 and read.valid.all()
    np.testing.assert_allclose(read.rays, template_of().rays)


def not_a_number():
    rays = rays_in_file()
    rays[0, 1, 2, 3] = np.nan
    return rays


@pytest.mark.parametrize(
    ("rays", "problem"),
    [
        (np.moveaxis(rays_in_file(), 1, -1), r"shape \[1, 24, 32, 3\], expected \[1, 3, H, W\]"),
        (rays_in_file()[0], r"shape \[3, 24, 32\], expected \[1, 3, H, W\]"),
        (rays_in_file() * 1.5, "lengths 1.5 to 1.5, expected 1"),
        (np.zeros((1, 3, 24, 32), np.float32), "lengths 0 to 0"),
        (not_a_number(), "1 of its numbers are not finite"),
        (rays_in_file().astype(str), "an array of <U32, and not of numbers"),
        (rays_in_file(shape=(12, 16)), "12 high and 16 wide, the images are 24 high and 32 wide"),
    ],
)
def test_other_arrays_are_refused_by_name(tmp_path, rays, problem):
    path = tmp_path / "rays.npy"
    np.save(path, rays)
    with pytest.raises(
        DataError, match=rf"rays.npy is no ray template: .*{problem}.*make one with"
    ):
        load_template(path, SHAPE)


def test_damaged_missing_and_foreign_files_are_refused(tmp_path):
    broken, foreign, mask = (tmp_path / name for name in ("broken.npz", "foreign.npz", "mask.npz"))
    save_template(broken, template_of())
    broken.write_bytes(broken.read_bytes()[:500])
    np.savez(foreign, depth=np.zeros(3))
    np.savez(mask, rays=rays_in_file(), valid=np.ones((24, 31), bool))
    for path, problem in (
        (broken, "can not be read"),
        (tmp_path / "missing.npy", "can not be read"),
        (foreign, "holds no array of that name, expected 'rays'"),
        (mask, r"'valid' is bool \[24, 31\], expected bool \[24, 32\]"),
    ):
        with pytest.raises(DataError, match=problem):
            load_template(path)


def test_a_real_mirror_s_template():
    """Made independently from the same calibration, by OpenCV's model in another program."""
    folder = real_data.omni_catadioptric()
    model, shape = read_model("mei", str(folder / "calib_derived.json"))
    assert shape == (1024, 1280)
    made = make_template(model, (384, 384), crop=Box(128, 0, 1152, 1024))
    expected = load_template(folder / "ray_template_384_derived.npz", (384, 384))
    np.testing.assert_array_equal(made.valid, expected.valid)
    np.testing.assert_allclose(made.rays[made.valid], expected.rays[made.valid], atol=1e-6)
    assert 0.6 < made.valid.mean() < 0.65


def test_a_real_fisheye_s_polynomials_undo_each_other():
    """To a fraction of a pixel within the picture, as OCamCalib fitted them."""
    model, shape = read_model("ocam", str(real_data.ocam_calibration()))
    assert shape == (768, 1024) and isinstance(model, OcamPolynomial)
    u, v = np.meshgrid(np.arange(0, 1024, 16.0), np.arange(0, 768, 16.0))
    pixels = np.stack([u, v], -1)
    directions, valid = model.unproject(pixels)
    seen = model.project(3 * directions)
    within = np.hypot(u - model.column, v - model.row) < 380
    assert valid.all() and within.mean() > 0.5
    np.testing.assert_allclose(seen.uv[within], pixels[within], atol=0.5)
    np.testing.assert_allclose(
        model.unproject(np.array([model.column, model.row])).directions, [0, 0, 1], atol=1e-12
    )
    angles = np.degrees(np.arccos(directions[within][:, 2]))
    assert 40 < angles.max() < 42
