"""PackNet01 on KITTI, self-supervised from monocular video, at 192x640.

Command    python -m packnet_jax.main --config=configs/kitti.py --config.data.root=KITTI_RAW \\
             --workdir=DIR
Expect     depth_pp_gt abs_rel 0.111, sq_rel 0.800, rmse 4.576, rmse_log 0.189, a1 0.880 on the
           697 Eigen test images against velodyne depth: the published figures of the released
           PackNet01_MR_selfsup_K.ckpt (the paper: 0.111, 0.785, 4.601, 0.189, 0.878). Nobody has
           run this recipe here. From scratch, users of the original report 0.119 to 0.121.
Hardware   the original: 8 V100, batch 4 on each, about 40 minutes an epoch.
Source     Guizilini et al., CVPR 2020, table 2; packnet-sfm README (models, KITTI),
           configs/train_kitti.yaml and default_config.py. Batch 32 here is the original's 4 on
           each of 8 GPUs.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNet01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "PoseNet", ""
    c.loss.flip_lr_prob = 0.5
    c.optim.depth.lr = c.optim.pose.lr = 2e-4
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "kitti_raw"
    c.data.split, c.data.eval_split = "eigen_zhou", "eigen_test"
    c.data.image_shape = (192, 640)
    c.data.jittering = (0.2, 0.2, 0.2, 0.05)
    c.data.repeat = 2
    c.train.batch_size = 32
    c.train.num_epochs = 50
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    return c
