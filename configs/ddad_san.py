"""PackNetSAN01 for DDAD at 384x640: metric depth from pictures, or completed from LiDAR.

Command    python -m packnet_jax.main --mode=eval --checkpoint=PackNetSAN01_HR_sup_D.ckpt \\
             --config=configs/ddad_san.py --config.data.root=DDAD --workdir=DIR
           It evaluates twice: with LiDAR depth beside the pictures, which is also the ground truth,
           as in the original, and with pictures alone. DDAD is the folder with ddad.json.
           To train, leave out mode and checkpoint; configs/kitti_san.py has the paper's schedule.
           --config.data.input_depth_keep=0.1,1 gives each picture another share of its points.
Expect     depth_pp abs_rel 0.086, sq_rel 1.609, rmse 10.700, rmse_log 0.185, a1 0.909 from pictures
           alone, 0.038, 0.546, 5.951, 0.115, 0.976 with LiDAR depth, against DDAD's LiDAR depth up
           to 200 m: the published figures of the released checkpoint, for which mode and cameras
           are not said. Nobody has run this recipe here.
Source     Guizilini et al., CVPR 2021; packnet-sfm README (models, DDAD),
           configs/train_packnet_san_ddad.yaml; batch and context as in configs/kitti_san.py. That
           file gives training no sparse depth, with which nothing would learn to use it; here it
           has the LiDAR's.
"""

from packnet_jax import config

CAMERAS = ("camera_01", "camera_05", "camera_06", "camera_09")
"""Those of the original's training and validation; its test has the first alone."""


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNetSAN01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "", ""
    c.model.depth_net.dropout = 0.5
    c.objective = "completion"
    c.loss.supervised_method, c.loss.supervised_num_scales = "sparse-silog", 1
    c.loss.supervised_loss_weight = 1.0
    c.loss.completion_starts, c.loss.freeze_rgb_encoder = 0.0, False
    c.optim.depth.lr = 1e-4
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "ddad"
    c.data.cameras = CAMERAS
    c.data.split, c.data.eval_split = "train", "val"
    c.data.depth_type = c.data.input_depth_type = "lidar"
    c.data.back_context = c.data.forward_context = 0
    c.data.repeat = 5
    c.data.image_shape = (384, 640)
    pictures_alone = config.source(name="ddad", split="val", cameras=CAMERAS, depth_type="lidar")
    pictures_alone.root = c.data.get_oneway_ref("root")  # follows --config.data.root
    c.data.more_eval = (pictures_alone,)
    c.train.batch_size = 8
    c.train.num_epochs = 50
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "", 0.0, 200.0
    return c
