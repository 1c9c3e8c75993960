"""PackNet01 for KITTI at 192x640 with four beams of the laser scanner, by reprojected distance.

Command    python -m packnet_jax.main --config=configs/kitti_reprojected.py \\
             --config.data.root=KITTI_RAW --workdir=DIR
           --config.data.beams=8, 16, 32, or 0 for all 64; evaluation has all of them in any case.
Expect     nothing that is known here: of the paper its abstract could be read (four beams, fewer
           than 100 depths in a picture, are competitive), its tables could not, and neither code
           nor weights were ever released. Nobody has run this recipe.
Source     Guizilini et al., CoRL 2019, whose networks these are. That training has two stages, and
           that depth and motion both learn from the distance in the second, is of US patent
           11,138,751; here motion does not, since in a trial of ours it then stopped moving
           (docs/results.md). Unknown, and chosen here: the weight, where the second stage starts,
           and the schedule, which is that of configs/kitti.py.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNet01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "PoseNet", ""
    c.objective = "reprojected"
    c.loss.reprojected_loss_weight = 0.1
    c.loss.supervision_starts = 0.5
    c.loss.reprojected_updates_pose = False
    c.optim.depth.lr = c.optim.pose.lr = 2e-4
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "kitti_raw"
    c.data.split, c.data.eval_split = "eigen_zhou", "eigen_test"
    c.data.depth_type = "velodyne"
    c.data.beams = 4
    c.data.image_shape = (192, 640)
    c.data.repeat = 2
    c.train.batch_size = 32
    c.train.num_epochs = 50
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    return c
