import pytest
from real_data import splits

from packnet_jax.errors import DataError
from tfds_builders.kitti_splits import find_split, parse_line, split_name

DRIVE = "2011_09_26/2011_09_26_drive_0022_sync"


@pytest.mark.parametrize(
    ("line", "name", "suffix"),
    [
        (f"{DRIVE}/image_02/data/0000000473.png", "image_02/data/0000000473", ".png"),
        (
            f"{DRIVE}/image_03/data/0000000473.jpg {DRIVE}/image_02/data/0000000473.jpg",
            "image_03/data/0000000473",
            ".jpg",
        ),
        (f"{DRIVE} 473 l", "image_02/data/0000000473", ".png"),
        (f"{DRIVE} 0000000473 r", "image_03/data/0000000473", ".png"),
    ],
)
def test_three_formats_are_read(line, name, suffix):
    frame = parse_line(line)
    assert (frame.name, frame.suffix, frame.number) == (f"{DRIVE}/{name}", suffix, 473)


@pytest.mark.parametrize(
    "line",
    [
        "a.png",
        "a/b/image_00/data/0001.png",
        "a/b/image_02/data/x.png",
        f"{DRIVE} 473",
        f"{DRIVE} 473 m",
        f"{DRIVE} -1 l",
        "9 0 l",
        "2011_09_26 2011_09_26_drive_0009_sync 0000000386",
        "  ",
    ],
)
def test_an_odd_line_is_named(line):
    with pytest.raises(DataError, match="neither a path") as caught:
        parse_line(line)
    assert repr(line) in str(caught.value)


@pytest.mark.parametrize(
    ("split", "files"),
    [
        (
            "eigen_zhou",
            [
                "eigen_zhou.txt",
                "eigen_zhou_files.txt",
                "eigen_zhou_train_files.txt",
                "eigen_zhou/train_files.txt",
            ],
        ),
        ("eigen_val", ["eigen_val.txt", "eigen_val_files.txt", "eigen/val_files.txt"]),
        ("eigen_test", ["eigen_test.txt", "eigen_test_files.txt", "eigen/test_files.txt"]),
        ("eigen_benchmark/test_files.txt", ["eigen_benchmark/test_files.txt"]),
    ],
)
@pytest.mark.parametrize("folder", [".", "data_splits", "splits"])
def test_published_names_are_found_the_first_one_first(tmp_path, folder, split, files):
    root = tmp_path / "data"
    for name in reversed(files):
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        assert find_split(str(root), split) == path


def test_the_root_comes_before_its_folders_and_a_path_is_taken_as_it_is(tmp_path):
    root = tmp_path / "data"
    for folder in ("splits", "data_splits", "."):
        path = root / folder / "mine.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        assert find_split(str(root), "mine") == find_split(str(root), "mine.txt") == path
    outside = tmp_path / "outside.txt"
    outside.write_text("")
    assert find_split(str(root), str(outside)) == outside


@pytest.mark.parametrize("split", ["absent", "", "data_splits", "eigen_test"])
def test_an_absent_split_says_where_it_was_looked_for(tmp_path, split):
    (tmp_path / "data_splits").mkdir()
    with pytest.raises(DataError, match=r"looked for .*data_splits"):
        find_split(str(tmp_path), split)


def test_lists_of_one_name_in_two_folders_are_told_apart(tmp_path):
    assert split_name(tmp_path / "eigen_zhou" / "train_files.txt") == "eigen_zhou_train_files"
    assert split_name(tmp_path / "eigen_test_files.txt") == "eigen_test_files"


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        ("monodepth2/eigen_zhou/train_files.txt", "eigen_zhou_train_files.txt", 39810),
        ("monodepth2/eigen_zhou/val_files.txt", "eigen_zhou_val_files.txt", 4424),
        ("monodepth2/eigen/test_files.txt", "eigen_test_files.txt", 697),
        ("monodepth/eigen_test_files.txt", "eigen_test_files.txt", 697),
        ("monodepth/eigen_val_files.txt", "eigen_val_files.txt", 888),
    ],
)
def test_published_lists_name_the_same_frames(one, other, count):
    # The other list was made from the first by hand, so this says that we read both alike.
    frames = [
        [parse_line(line).name for line in (splits() / path).read_text().splitlines()]
        for path in (one, f"packnet_format_derived/{other}")
    ]
    assert frames[0] == frames[1]
    assert len(frames[0]) == count
