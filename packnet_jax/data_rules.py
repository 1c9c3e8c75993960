"""What must hold of the settings of the data, beyond the type and range of each."""

from packnet_jax.data_config import DATASETS, SCANNED, SHAPE_MULTIPLE, DataConfig, SourceConfig

Rule = tuple[bool, str]
"""Whether something holds, and what to say if it does not: fields, values and remedy."""


def data_rules(data: DataConfig) -> list[Rule]:
    """What no single field's type and range say of the data."""
    nearest = tuple(max(1, round(v / SHAPE_MULTIPLE)) * SHAPE_MULTIPLE for v in data.image_shape)
    more_train = [(s, f"data.more_train[{i}]") for i, s in enumerate(data.more_train)]
    more_eval = [(s, f"data.more_eval[{i}]") for i, s in enumerate(data.more_eval)]
    return [
        (
            all(v > 0 and v % SHAPE_MULTIPLE == 0 for v in data.image_shape),
            f"data.image_shape: given {data.image_shape}, but height and width must be positive "
            f"multiples of {SHAPE_MULTIPLE}; nearest: {nearest}",
        ),
        (
            0 <= data.input_depth_keep[0] <= data.input_depth_keep[1] <= 1,
            f"data.input_depth_keep: given {data.input_depth_keep}, expected (lowest, "
            "highest) with 0 <= lowest <= highest <= 1",
        ),
        (
            len(data.jittering) in (0, 4)
            and all(v >= 0 for v in data.jittering)
            and all(hue <= 0.5 for hue in data.jittering[3:]),
            f"data.jittering: given {data.jittering}, expected () or four values >= 0, the last "
            "one (hue) at most 0.5",
        ),
        (
            _is_crop(data.crop_train_borders) and _is_crop(data.crop_eval_borders),
            f"data.crop_train_borders, data.crop_eval_borders: given {data.crop_train_borders} and "
            f"{data.crop_eval_borders}, expected (), (y, height, x, width) with integer height and "
            "width, or (y, x) with integers",
        ),
        (
            not data.store_resized or not data.name or DATASETS[data.name].can_store_resized,
            f"data.store_resized: given True, but {data.name} has no resized variant; set False",
        ),
        (
            not data.stack_cameras
            or all(s.name and DATASETS[s.name].has_cameras for s in data.train_sources),
            "data.stack_cameras: given True, but only "
            f"{', '.join(name for name, kind in DATASETS.items() if kind.has_cameras)} has rigs of "
            "cameras; set False, or train on that alone",
        ),
        (
            len(data.strides) > 0 and all(s >= 1 for s in data.strides),
            f"data.strides: given {data.strides}, expected at least one stride >= 1",
        ),
        *(
            rule
            for s, at in ((data, "data"), *more_train, *more_eval)
            for rule in _source_rules(s, at)
        ),
        _split_rule(data.name, data.eval_split, "data.eval_split"),
        *(rule for s, at in more_eval for rule in _eval_rules(s, at)),
        (
            len(set(data.eval_names)) == len(data.eval_names),
            f"data.more_eval: the reports would be named {', '.join(data.eval_names)}, but each "
            "needs a name of its own; give sets another depth_type, or a copy of the split file "
            "under another name",
        ),
    ]


def _source_rules(s: SourceConfig, at: str) -> list[Rule]:
    if not s.name:
        return []
    kind = DATASETS[s.name]
    return [
        (
            bool(s.root) or not kind.needs_root,
            f"{at}.root: empty; give the folder of the raw data: --config.{at}.root=DIR",
        ),
        _split_rule(s.name, s.split, f"{at}.split"),
        (
            kind.has_cameras or not s.cameras,
            f"{at}.cameras: given {s.cameras}, but {s.name} has one camera; leave it ()",
        ),
        (
            s.depth_type in kind.depth_types,
            f"{at}.depth_type: given {s.depth_type!r}, but {s.name} has "
            f"{', '.join(map(repr, kind.depth_types))}",
        ),
        (
            s.input_depth_type in kind.input_depth_types,
            f"{at}.input_depth_type: given {s.input_depth_type!r}, but {s.name} has "
            f"{', '.join(map(repr, kind.input_depth_types))}",
        ),
        (
            not s.beams or kind.has_beams,
            f"{at}.beams: given {s.beams}, but the beams of {s.name} can not be told apart; set 0",
        ),
        (
            not s.beams or not {s.depth_type, s.input_depth_type}.isdisjoint(SCANNED),
            f"{at}.beams: given {s.beams}, but neither depth_type nor input_depth_type is "
            f"{' or '.join(map(repr, SCANNED))}; set 0",
        ),
        (
            s.name != "image_folder" or bool(s.frames.depth_root) == (s.depth_type == "files"),
            f"{at}.depth_type, {at}.frames.depth_root: given {s.depth_type!r} and "
            f"{s.frames.depth_root!r}; depth maps need both, 'files' and their folder",
        ),
        *(_synthetic_rules(s, at) if s.name == "synthetic_drive" else ()),
    ]


def _synthetic_rules(s: SourceConfig, at: str) -> list[Rule]:
    streets = s.synthetic
    return [
        (
            streets.rig == "single" or streets.camera != "catadioptric",
            f"{at}.synthetic.rig: given 'six', but each catadioptric camera sees all round; set "
            "'single'",
        ),
        (
            streets.rig == "six" or not s.cameras,
            f"{at}.cameras: given {s.cameras}, but a single camera is all there is; leave it (), "
            f"or set {at}.synthetic.rig to 'six'",
        ),
    ]


def _eval_rules(s: SourceConfig, at: str) -> list[Rule]:
    """What holds for evaluation besides `_source_rules`."""
    return [
        (bool(s.depth_type), f"{at}.depth_type: empty, but an evaluation needs depth"),
        (s.repeat == 1, f"{at}.repeat: given {s.repeat}, but an evaluation sees a set once; set 1"),
    ]


def _split_rule(name: str, split: str, at: str) -> Rule:
    splits = DATASETS[name].splits if name else ()
    return (
        not splits or split in splits,
        f"{at}: given {split!r}, but the splits of {name} are {' and '.join(map(repr, splits))}",
    )


def _is_crop(borders: tuple[int | float, ...]) -> bool:
    whole = borders[1::2] if len(borders) == 4 else borders
    return len(borders) in (0, 2, 4) and all(type(value) is int for value in whole)
