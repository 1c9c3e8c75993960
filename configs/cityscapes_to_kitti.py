"""PackNet01 on Cityscapes, self-supervised, at 192x640: the first half of a CS to K recipe.

Command    python -m packnet_jax.main --config=configs/cityscapes_to_kitti.py \\
             --config.data.root=CITYSCAPES '--config.data.more_eval[0].root=KITTI_RAW' \\
             --workdir=CS
           then KITTI, from these weights:
           python -m packnet_jax.main --config=configs/kitti.py --config.init.model=CS \\
             --config.data.root=KITTI_RAW --workdir=CS_TO_K
           CITYSCAPES holds leftImg8bit_sequence/ and camera/ (leftImg8bit_sequence_trainvaltest
           and camera_trainvaltest). It has no depth: the checkpoints are compared on KITTI.
Expect     No figure of this half was ever published. The released CS to K checkpoints were refined
           with velocities or depth: abs_rel 0.108 and 0.072 (configs/kitti_velsup.py and
           configs/kitti_semisup.py). Nobody has run this recipe here.
Source     Guizilini et al., CVPR 2020 (that they pretrain on Cityscapes). Neither the schedule, nor
           the split, nor how its pictures were cropped could be found, and the original has no
           reader of it. So networks, optimiser and batch are those of configs/kitti.py; the split,
           the epochs and the crop are chosen here. The crop takes away the bonnet (the lowest
           quarter, as Zhou et al., CVPR 2017) and enough sky for pixels to stay square.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNet01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "PoseNet", ""
    c.optim.depth.lr = c.optim.pose.lr = 2e-4
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "cityscapes"
    c.data.split, c.data.eval_split = "train", "val"
    c.data.depth_type = ""
    c.data.image_shape = (192, 640)
    c.data.crop_train_borders = (154, 614, 0, 2048)
    c.data.more_eval = (config.source(name="kitti_raw", split="eigen_test"),)
    c.train.batch_size = 32
    c.train.num_epochs = 20
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    return c
