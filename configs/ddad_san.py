"""PackNetSAN01 for DDAD at 384x640: metric depth from pictures, or completed from LiDAR.

Command    python -m packnet_jax.main --mode=eval --checkpoint=PackNetSAN01_HR_sup_D.ckpt \\
             --config=configs/ddad_san.py --config.data.root=DDAD --workdir=DIR
           It evaluates twice: with pictures alone, and with LiDAR depth beside them, which is
           also the ground truth, as in the original. DDAD is the folder with ddad.json.
           For evaluation: there is no supervised loss here, and there is no pose network.
Expect     depth_pp abs_rel 0.086, sq_rel 1.609, rmse 10.700, rmse_log 0.185, a1 0.909 from pictures
           alone, 0.038, 0.546, 5.951, 0.115, 0.976 with LiDAR depth, against DDAD's LiDAR depth up
           to 200 m: the published figures of the released checkpoint, for which mode and cameras
           are not said. Nobody has run this recipe here.
Source     Guizilini et al., CVPR 2021; packnet-sfm README (models, DDAD),
           configs/train_packnet_san_ddad.yaml.
"""

from packnet_jax import config

CAMERAS = ("camera_01", "camera_05", "camera_06", "camera_09")
"""Those of the original's training and validation; its test has the first alone."""


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNetSAN01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "", ""
    c.data.name = "ddad"
    c.data.cameras = CAMERAS
    c.data.split, c.data.eval_split = "train", "val"
    c.data.depth_type = "lidar"
    c.data.image_shape = (384, 640)
    with_lidar = config.source(
        name="ddad", split="val", cameras=CAMERAS, depth_type="lidar", input_depth_type="lidar"
    )
    with_lidar.root = c.data.get_oneway_ref("root")  # follows --config.data.root
    c.data.more_eval = (with_lidar,)
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "", 0.0, 200.0
    return c
