"""Neural ray surfaces on OmniCam: depth of a catadioptric camera without a model of it.

Command    python -m packnet_jax.infer --checkpoint=CHECKPOINT --input=PICTURES --output=DIR
           To train: python -m packnet_jax.main --config=configs/omnicam.py --workdir=DIR \\
             --config.data.root=OMNICAM --config.loss.ray_template=FILE
           OMNICAM holds folders of pictures named 000000000.jpg and so on, whose numbers say which
           are neighbours. FILE is the original's omnicam_ray_template.npy, or what
           python -m packnet_jax.ray_template makes of a calibration; without it training starts
           from a pinhole of 90 degrees. Of a mirror, --config.data.frames.mask=PICTURE leaves out
           what is not the scene.
Expect     no published figures: OmniCam has no ground truth, and the original's table none.
Source     Vasiljevic et al., 3DV 2020; packnet-sfm README (models, OmniCam),
           configs/train_omnicam.yaml. Its depth network sees no mirrored pictures. The paper's
           schedule of the rays is --config.loss.ray_residual_schedule=paper (docs/ray_surfaces.md).
"""

from packnet_jax import config

IMAGENET_WEIGHTS = "resnet18-5c106cde.pth"


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "RaySurfaceResNet", "18pt"
    c.model.pose_net.name, c.model.pose_net.version = "PoseResNet", "18pt"
    c.model.depth_net.imagenet_weights = c.model.pose_net.imagenet_weights = IMAGENET_WEIGHTS
    c.objective = "ray_surface"
    c.loss.flip_lr_prob = 0.0
    c.optim.depth.lr = c.optim.pose.lr = 2e-4
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "image_folder"
    c.data.split, c.data.eval_split = "train", "val"
    c.data.depth_type = ""
    c.data.frames.pattern = "{:09}"
    c.data.image_shape = (384, 384)
    c.train.batch_size = 1
    c.train.num_epochs = 50
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    return c
