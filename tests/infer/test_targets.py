"""Where results go, and what is refused before anything is computed."""

from pathlib import Path

import pytest
from known_depth import write_picture

from packnet_jax.errors import ConfigError
from packnet_jax.infer.inputs import Source
from packnet_jax.infer.targets import Targets, check_targets, choose_targets


def pictures(*names: str) -> Source:
    paths = [Path("in") / name for name in names]
    return Source("in", iter(()), files=paths, names=[Path(n) for n in names])


STREAM = Source("clip", iter(()), files=[Path("in/clip.mp4")], is_stream=True)


@pytest.mark.parametrize(
    ("name", "output", "save", "expected"),
    [
        ("a.png", "out.png", "", ["out.png"]),
        ("a.png", "out.jpg", "", ["out.jpg"]),
        ("a.png", "out.png", "npz", ["out.npz"]),
        ("a.png", "out.png", "png", ["out.png"]),
        ("a.png", "out.npz", "", ["out.npz"]),
        ("a.png", "out.ply", "", ["out.ply"]),
        ("a.png", "out.npz", "npz,ply,picture", ["out.npz", "out.ply", "out.png"]),
        ("a.png", "out", "", ["out/a.png"]),
        ("a.jpg", "out", "png", ["out/a.png"]),
        ("b/a.jpg", "out", "", ["out/b/a.jpg"]),
        ("b/a.jpg", "out", "npz", ["out/b/a.npz"]),
        ("b/a.jpg", "out", "png,picture", ["out/png/b/a.png", "out/picture/b/a.jpg"]),
        ("a.jpg", "out", "mp4", ["out/in.mp4"]),
        ("a.jpg", "out", "ply,mp4", ["out/ply/a.ply", "out/in.mp4"]),
        ("a.jpg", "out.MP4", "", ["out.MP4"]),
    ],
)
def test_where_a_picture_s_results_go(name, output, save, expected):
    targets = choose_targets(Path(output), save.split(",") if save else [], pictures(name))
    assert [str(targets.path(kind, Path(name))) for kind in targets.kinds] == expected


@pytest.mark.parametrize(
    ("output", "save", "expected"),
    [("out", [], "out/clip.mp4"), ("o.mp4", [], "o.mp4"), ("out", ["npz"], "out/clip_000005.npz")],
)
def test_where_a_video_s_results_go(output, save, expected):
    targets = choose_targets(Path(output), save, STREAM)
    assert str(targets.path(targets.kinds[0], Path("clip_000005.png"))) == expected


@pytest.mark.parametrize(
    ("source", "output", "save", "message"),
    [
        (pictures("a.png"), "out", ["exr"], "--save: given exr, expected some of picture, npz"),
        (pictures("a.png"), "out.npz", ["png"], r"one \.npz file, but --save=png"),
        (pictures("a.png", "b.png"), "out.png", [], "--output must be a folder for picture"),
        (pictures("a.png", "b.png"), "out.mp4", ["mp4", "ply"], "must be a folder for ply"),
        (STREAM, "out.npz", [], "--output must be a folder for npz"),
    ],
)
def test_what_does_not_fit_is_refused(source, output, save, message):
    with pytest.raises(ConfigError, match=message):
        choose_targets(Path(output), save, source)


def check(source, output, save, *, overwrite=False):
    check_targets(choose_targets(Path(output), save, source), source, overwrite=overwrite)


def test_two_results_in_one_file_are_refused():
    with pytest.raises(ConfigError, match=r"a\.jpg and a\.png would both become out/a\.npz"):
        check(pictures("a.jpg", "a.png"), "out", ["npz"])
    with pytest.raises(ConfigError, match=r"both become out\.png"):
        check(pictures("a.jpg"), "out.png", ["picture", "png"])
    check(pictures("a.jpg", "a.png"), "out", ["picture"])


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_input_is_never_written_over(overwrite):
    for source, output in ((pictures("a.png", "b.png"), "in"), (STREAM, "in")):
        with pytest.raises(ConfigError, match="belongs to --input"):
            check(source, output, [], overwrite=overwrite)


@pytest.mark.parametrize(
    ("source", "output", "save", "there"),
    [
        (pictures("a.png", "b.png"), "out", [], "out/b.png"),
        (pictures("a.png"), "one.npz", [], "one.npz"),
        (STREAM, "out", [], "out/clip.mp4"),
        (STREAM, "out", ["npz"], "out/clip_000004.npz"),
        (STREAM, "out", ["npz", "png"], "out/png/clip_000004.png"),
    ],
)
def test_what_exists_stays_unless_overwriting(tmp_path, monkeypatch, source, output, save, there):
    monkeypatch.chdir(tmp_path)
    write_picture(tmp_path / "out" / "other_000004.png")
    check(source, output, save)
    Path(there).parent.mkdir(parents=True, exist_ok=True)
    Path(there).touch()
    with pytest.raises(ConfigError, match=f"1 files exist already, such as {there}; --overwrite"):
        check(source, output, save)
    check(source, output, save, overwrite=True)


def test_brackets_in_a_video_s_name_are_no_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = STREAM._replace(title="clip[1]")
    Path("out").mkdir()
    Path("out/clip[1]_000000.npz").touch()
    with pytest.raises(ConfigError, match="exist already"):
        check(source, "out", ["npz"])


def test_only_known_suffixes_make_a_file():
    for output, is_file in (("a.png", True), ("a.ply", True), ("a.d", False), ("a.webm", False)):
        assert Targets(Path(output), ("picture",), "t").is_file == is_file
