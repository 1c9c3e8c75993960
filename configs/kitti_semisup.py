"""Semi-supervised PackNet01 for KITTI at 192x640: photometric and depth losses, after Cityscapes.

Command    python -m packnet_jax.main --mode=eval --checkpoint=PackNet01_MR_semisup_CStoK.ckpt \\
             --config=configs/kitti_semisup.py --config.data.root=KITTI_RAW --workdir=DIR
           To train, --config.init.model=CS in place of mode and checkpoint: the original's
           PackNet01_MR_selfsup_CS.ckpt, or what configs/cityscapes_to_kitti.py learnt.
           --config.data.depth_type=velodyne for scans in place of the improved ground truth.
Expect     depth_pp abs_rel 0.072, sq_rel 0.335, rmse 3.220, rmse_log 0.115, a1 0.934: the published
           figures of the released checkpoint. Neither mode nor ground truth are said; it learnt
           metric depth from the improved ground truth, which is taken here (about 652 of the 697
           Eigen test images have it). Nobody has run this recipe here.
Source     Guizilini et al., CoRL 2019; packnet-sfm README (models, KITTI: "Semi-Supervised
           (densified GT), 192x640, CS to K"). It has no configuration of this run: method, scales
           and weight of the supervised loss are its defaults, the schedule is that of
           configs/kitti.py. The paper's own loss is in configs/kitti_reprojected.py.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNet01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "PoseNet", ""
    c.objective = "semi_supervised"
    c.loss.supervised_method, c.loss.supervised_num_scales = "sparse-l1", 4
    c.loss.supervised_loss_weight = 0.9
    c.optim.depth.lr = c.optim.pose.lr = 2e-4
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "kitti_raw"
    c.data.split, c.data.eval_split = "eigen_zhou", "eigen_test"
    c.data.depth_type = "groundtruth"
    c.data.image_shape = (192, 640)
    c.data.repeat = 2
    c.train.batch_size = 32
    c.train.num_epochs = 50
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    return c
