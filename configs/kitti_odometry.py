"""Camera motion on KITTI odometry: trained on sequences 00 to 08, tested on 09 and 10.

Command    python -m packnet_jax.main --config=configs/kitti_odometry.py --workdir=DIR \\
             --config.data.root=KITTI_ODOMETRY
           python -m packnet_jax.main --mode=eval_pose --checkpoint=DIR --workdir=EVALUATED \\
             --config=configs/kitti_odometry.py --config.data.root=KITTI_ODOMETRY
Expect     Nobody has run this recipe. For comparison, Neural Ray Surfaces report, with other
           networks, a 5-frame ATE of 0.0150 ± 0.0301 on 09 and 0.0103 ± 0.0073 on 10.
Data       Training evaluates depth against the scans in sequences/NN/velodyne; odometry needs
           pictures, calibration and poses alone.
Source     The split is that of Zhou et al., CVPR 2017 (SfMLearner); networks are those of
           configs/kitti_resnet18.py, but from random weights; rates, warm-up, batch and epochs are
           chosen here. The original has no odometry.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "DepthResNet", "18"
    c.model.pose_net.name, c.model.pose_net.version = "PoseResNet", "18"
    c.optim.depth.lr = c.optim.pose.lr = 1e-4
    c.optim.depth.warmup_steps = 1000
    c.data.name = "kitti_odometry"
    c.data.depth_type = "velodyne"
    c.data.split, c.data.eval_split = "00-08", "09,10"
    c.data.image_shape = (192, 640)
    c.train.batch_size = 12
    c.train.num_epochs = 20
    c.eval.batch_size = 8
    return c
