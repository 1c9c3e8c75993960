"""The demo: learns depth from rendered streets on a laptop's CPU, and is tested on other streets.

Command    make demo
Expect     depth_pp_gt abs_rel 0.22 on the held-out streets, where the training set's per-pixel
           median depth map scores 0.454 (two runs); both are printed at the end.
Hardware   two CPU cores, about 13 minutes of training.
Source     our own; the networks are the smallest pair of the original, at 64x160, behind a lens
           narrower than KITTI's. The depth network's rate warms up, since from random weights it
           otherwise ends in a constant before the pose network has learnt anything; depth starts at
           one metre, since from the original's start (0.2) near pixels run into the network's least
           depth; each scale is compared at its own size, whose coarse images pull in the large
           motion of near pixels.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "DepthResNet", "18"
    c.model.pose_net.name, c.model.pose_net.version = "PoseNet", ""
    c.model.initial_inv_depth = 1.0
    c.loss.upsample_depth_maps = False
    c.optim.depth.lr = c.optim.pose.lr = 4e-4
    c.optim.depth.warmup_steps = 200
    c.optim.scheduler, c.optim.T_max = "CosineAnnealingLR", 8
    c.data.name = "synthetic_drive"
    c.data.split, c.data.eval_split = "train", "test"
    c.data.depth_type = "dense"
    c.data.image_shape = (64, 160)
    c.data.cache_resized = True
    c.data.synthetic.num_streets = 200
    c.data.synthetic.num_test_streets = 20
    c.data.synthetic.frames_per_street = 10
    c.data.synthetic.focal_ratio = 0.7
    c.train.batch_size = 4
    c.train.num_steps = 3000
    c.train.log_every_steps = 20
    c.train.image_every_steps = 300
    c.train.eval_every_steps = 750
    c.train.checkpoint_every_steps = 750
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "", 0.0, 80.0
    c.eval.batch_size = 8
    c.eval.median_baseline = True
    return c
