"""The original's smoke test on DDAD: overfits the five samples of DDAD_tiny, at 96x160.

Command    python -m packnet_jax.main --config=configs/overfit_ddad.py \\
             --config.data.root=DIR_OF_DDAD_tiny/ddad_tiny.json
           --config.data.cameras=camera_01,camera_05,camera_06 takes its other cameras, too, and
           --config.objective=velocity the speed of the car.
Expect     a loss that falls (docs/results.md has 50 steps). There is no published figure.
Source     packnet-sfm configs/overfit_ddad.yaml, without pretrained weights, and at 96x160 in place
           of 384x640.
"""

from packnet_jax import config


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "DepthResNet", "18"
    c.model.pose_net.name, c.model.pose_net.version = "PoseResNet", "18"
    c.optim.depth.lr = c.optim.pose.lr = 1e-4
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "ddad"
    c.data.cameras = ("camera_01",)
    c.data.split = c.data.eval_split = "train"
    c.data.depth_type = "lidar"
    c.data.image_shape = (96, 160)
    c.data.repeat = 500
    c.data.cache_resized = True
    c.train.batch_size = 4
    c.train.num_epochs = 1
    c.train.log_every_steps = 20
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "", 0.0, 200.0
    return c
