"""Your own frames: pictures or a video of a camera that moves through a still world.

Command    python -m packnet_jax.main --config=configs/own_frames.py --config.data.root=FRAMES
           FRAMES is a folder or a video. docs/own_data.md has every step; look at the frames first:
           python -m packnet_jax.data_check --config=configs/own_frames.py --config.data.root=FRAMES
Expect     pictures of the last tenth of every stream under WORKDIR/eval: there is no ground truth,
           so no figures. Depth is up to one scale.
Source     our own; networks, start, warm-up and loss are the demo's, rates and epochs the defaults,
           the size is that of a 16:9 video.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "DepthResNet", "18"
    c.model.pose_net.name, c.model.pose_net.version = "PoseNet", ""
    c.model.initial_inv_depth = 1.0
    c.loss.upsample_depth_maps = False
    c.optim.depth.warmup_steps = 200
    c.data.name = "image_folder"
    c.data.split, c.data.eval_split = "train", "val"
    c.data.depth_type = ""
    c.data.image_shape = (192, 352)
    c.eval.crop = ""
    return c
