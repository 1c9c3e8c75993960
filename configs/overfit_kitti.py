"""The original's smoke test: overfits five frames of a real drive (KITTI_tiny).

Command    python -m packnet_jax.main --config=configs/overfit_kitti.py \\
             --config.data.root=DIR_OF_KITTI_tiny
Expect     depth_pp_gt abs_rel 0.107, 0.137 and 0.099 with --config.seed=0, 1 and 2 on the training
           frames after 600 steps (docs/benchmarks.md). The original, with its one seed: 0.099. A
           constant depth map: 0.44.
Source     packnet-sfm configs/overfit_kitti.yaml, with ResNet-18 networks and no pretrained
           weights, at 96x320.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "DepthResNet", "18"
    c.model.pose_net.name, c.model.pose_net.version = "PoseResNet", "18"
    c.loss.flip_lr_prob = 0.5
    c.optim.depth.lr = c.optim.pose.lr = 2e-4
    c.data.split = c.data.eval_split = "kitti_tiny"
    c.data.image_shape = (96, 320)
    c.data.jittering = (0.2, 0.2, 0.2, 0.05)
    c.data.repeat = 40
    c.data.cache_resized = True
    c.train.batch_size = 2
    c.train.num_steps = 600
    c.train.log_every_steps = 20
    c.train.eval_every_steps = 100
    c.train.checkpoint_every_steps = 200
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    return c
