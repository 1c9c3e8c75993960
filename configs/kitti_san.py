"""PackNetSAN01 for KITTI at 352x1216: metric depth from pictures, or completed from laser scans.

Command    python -m packnet_jax.main --mode=eval --checkpoint=PackNetSAN01_HR_sup_K.ckpt \\
             --config=configs/kitti_san.py --config.data.root=KITTI_RAW --workdir=DIR
           It evaluates twice: with pictures alone, and with velodyne depth beside them.
           For evaluation: there is no supervised loss here, and there is no pose network.
Expect     depth_pp abs_rel 0.052, sq_rel 0.175, rmse 2.230, rmse_log 0.083, a1 0.970 from pictures
           alone, 0.016, 0.028, 0.902, 0.032, 0.997 with velodyne depth, on the (about 652) Eigen
           test images that have improved ground truth: the published figures of the released
           checkpoint, for which mode is not said. Nobody has run this recipe here.
Source     Guizilini et al., CVPR 2021; packnet-sfm README (models, KITTI: "Supervised (densified
           GT), 352x1216, K"), configs/train_packnet_san_kitti.yaml.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNetSAN01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "", ""
    c.data.name = "kitti_raw"
    c.data.split, c.data.eval_split = "eigen_zhou", "eigen_test"
    c.data.depth_type = "groundtruth"
    c.data.image_shape = (352, 1216)
    c.data.crop_train_borders = c.data.crop_eval_borders = (-352, 0, 0.5, 1216)
    with_scans = config.source(
        name="kitti_raw", split="eigen_test", depth_type="groundtruth", input_depth_type="velodyne"
    )
    with_scans.root = c.data.get_oneway_ref("root")  # follows --config.data.root
    c.data.more_eval = (with_scans,)
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    c.eval.scale_output = "top-center"
    return c
