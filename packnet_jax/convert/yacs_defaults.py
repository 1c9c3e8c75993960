"""All settings that the original has."""

from collections.abc import Mapping
from typing import Any

DEFAULTS: Mapping[str, Any] = {
    "name": "",
    "debug": False,
    "arch": {"seed": 42, "min_epochs": 1, "max_epochs": 50, "validate_first": False},
    "checkpoint": {
        "filepath": "",
        "save_top_k": 5,
        "monitor": "loss",
        "monitor_index": 0,
        "mode": "auto",
        "s3_path": "",
        "s3_frequency": 1,
        "s3_url": "",
    },
    "save": {
        "folder": "",
        "depth": {"rgb": True, "viz": True, "npz": True, "png": True},
        "pretrained": "",
    },
    "wandb": {
        "dry_run": True,
        "name": "",
        "project": "",
        "entity": "",
        "tags": [],
        "dir": "",
        "url": "",
    },
    "model": {
        "name": "",
        "checkpoint_path": "",
        "optimizer": {
            "name": "Adam",
            "depth": {"lr": 2e-4, "weight_decay": 0.0},
            "pose": {"lr": 2e-4, "weight_decay": 0.0},
        },
        "scheduler": {"name": "StepLR", "step_size": 10, "gamma": 0.5, "T_max": 20},
        "params": {"crop": "", "min_depth": 0.0, "max_depth": 80.0, "scale_output": "resize"},
        "loss": {
            "num_scales": 4,
            "progressive_scaling": 0.0,
            "flip_lr_prob": 0.5,
            "rotation_mode": "euler",
            "upsample_depth_maps": True,
            "ssim_loss_weight": 0.85,
            "occ_reg_weight": 0.1,
            "smooth_loss_weight": 0.001,
            "C1": 1e-4,
            "C2": 9e-4,
            "photometric_reduce_op": "min",
            "disp_norm": True,
            "clip_loss": 0.0,
            "padding_mode": "zeros",
            "automask_loss": True,
            "velocity_loss_weight": 0.1,
            "supervised_method": "sparse-l1",
            "supervised_num_scales": 4,
            "supervised_loss_weight": 0.9,
        },
        "depth_net": {"name": "", "checkpoint_path": "", "version": "", "dropout": 0.0},
        "pose_net": {"name": "", "checkpoint_path": "", "version": "", "dropout": 0.0},
    },
    "datasets": {
        "augmentation": {
            "image_shape": (),
            "jittering": (0.2, 0.2, 0.2, 0.05),
            "crop_train_borders": (),
            "crop_eval_borders": (),
        },
        "train": {
            "batch_size": 8,
            "num_workers": 16,
            "back_context": 1,
            "forward_context": 1,
            "dataset": [],
            "path": [],
            "split": [],
            "depth_type": [""],
            "input_depth_type": [""],
            "cameras": [[]],
            "repeat": [1],
            "num_logs": 5,
        },
        **{
            part: {
                "batch_size": 1,
                "num_workers": 8,
                "back_context": 0,
                "forward_context": 0,
                "dataset": [],
                "path": [],
                "split": [],
                "depth_type": [""],
                "input_depth_type": [""],
                "cameras": [[]],
                "num_logs": 5,
            }
            for part in ("validation", "test")
        },
    },
    "config": "",
    "default": "",
    "prepared": False,
}
"""What it takes where a checkpoint says nothing.

Source: packnet-sfm configs/default_config.py.
"""
