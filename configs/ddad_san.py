"""PackNetSAN01 for DDAD at 384x640: metric depth from pictures, or completed from LiDAR.

Command    python -m packnet_jax.main --mode=eval --checkpoint=PackNetSAN01_HR_sup_D.ckpt \\
             --config=configs/ddad_san.py --workdir=DIR
           DDAD can not be read here yet: data.name is empty, and opening it an error.
           For evaluation: there is no supervised loss here, and there is no pose network.
Expect     depth_pp abs_rel 0.086, sq_rel 1.609, rmse 10.700, rmse_log 0.185, a1 0.909 from pictures
           alone, 0.038, 0.546, 5.951, 0.115, 0.976 with LiDAR depth, against DDAD's LiDAR depth up
           to 200 m: the published figures of the released checkpoint, for which mode and cameras
           are not said.
Source     Guizilini et al., CVPR 2021; packnet-sfm README (models, DDAD),
           configs/train_packnet_san_ddad.yaml.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNetSAN01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "", ""
    c.data.name = ""
    c.data.split, c.data.eval_split = "train", "val"
    c.data.depth_type = "lidar"
    c.data.image_shape = (384, 640)
    c.data.more_eval = (
        config.source(name="", split="val", depth_type="lidar", input_depth_type="lidar"),
    )
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "", 0.0, 200.0
    return c
