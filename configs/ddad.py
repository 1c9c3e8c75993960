"""PackNet01 on DDAD, self-supervised from the front camera's video, at 384x640.

Command    python -m packnet_jax.main --mode=eval --checkpoint=PackNet01_MR_selfsup_D.ckpt \\
             --config=configs/ddad.py --config.data.root=DDAD --workdir=DIR
           To train, leave out mode and checkpoint. DDAD is the folder with ddad.json.
Expect     depth_pp_gt abs_rel 0.173, sq_rel 7.164, rmse 14.363, rmse_log 0.249, a1 0.835 against
           DDAD's LiDAR depth up to 200 m: the published figures of the released checkpoint, for
           which mode is not said; the paper scales self-supervised predictions. Nobody has run
           this recipe here; users of the original report 0.20 to 0.23 from their own training.
Source     Guizilini et al., CVPR 2020; packnet-sfm README (models, DDAD), configs/train_ddad.yaml.
           Batch 16 here is the original's 2 on each of 8 GPUs.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "PackNet01", "1A"
    c.model.pose_net.name, c.model.pose_net.version = "PoseNet", ""
    c.optim.depth.lr = c.optim.pose.lr = 9e-5
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "ddad"
    c.data.cameras = ("camera_01",)
    c.data.split, c.data.eval_split = "train", "val"
    c.data.depth_type = "lidar"
    c.data.image_shape = (384, 640)
    c.data.repeat = 5
    c.train.batch_size = 16
    c.train.num_epochs = 50
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "", 0.0, 200.0
    return c
