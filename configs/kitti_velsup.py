"""Scale-aware PackNet01 for KITTI at 192x640: metric depth, by velocity, after Cityscapes.

Command    python -m packnet_jax.main --mode=eval --checkpoint=PackNet01_MR_velsup_CStoK.ckpt \\
             --config=configs/kitti_velsup.py --config.data.root=KITTI_RAW --workdir=DIR
           To train, --config.init.model=CS in place of mode and checkpoint: the original's
           PackNet01_MR_selfsup_CS.ckpt, or what configs/cityscapes_to_kitti.py learnt. The car's
           speed is that of oxts/ in each drive.
Expect     depth_pp abs_rel 0.108, sq_rel 0.758, rmse 4.506, rmse_log 0.185, a1 0.887 on the 697
           Eigen test images against velodyne depth: the published figures of the released
           checkpoint, for which mode is not said; the paper scales no scale-aware prediction.
           Nobody has run this recipe here.
Source     Guizilini et al., CVPR 2020; packnet-sfm README (models, KITTI: "Self-Supervised
           Scale-Aware, 192x640, CS to K"). The weight is the original's default. It has no
           configuration of this run, and its VelSupModel can not be built; the schedule here is
           that of configs/kitti.py.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNet01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "PoseNet", ""
    c.objective = "velocity"
    c.loss.velocity_loss_weight = 0.1
    c.optim.depth.lr = c.optim.pose.lr = 2e-4
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "kitti_raw"
    c.data.split, c.data.eval_split = "eigen_zhou", "eigen_test"
    c.data.image_shape = (192, 640)
    c.data.repeat = 2
    c.train.batch_size = 32
    c.train.num_epochs = 50
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    return c
