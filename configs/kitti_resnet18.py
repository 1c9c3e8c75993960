"""DepthResNet18 from ImageNet on KITTI, self-supervised from monocular video, at 192x640.

Command    python -m packnet_jax.main --config=configs/kitti_resnet18.py \\
             --config.data.root=KITTI_RAW --workdir=DIR
           torchvision's resnet18-5c106cde.pth must lie in the current folder, or
           --config.model.{depth_net,pose_net}.imagenet_weights=PATH says where it is.
Expect     depth_pp_gt abs_rel 0.116, sq_rel 0.811, rmse 4.902, rmse_log 0.198, a1 0.865 on the
           697 Eigen test images against velodyne depth: the published figures of the released
           ResNet18_MR_selfsup_K.ckpt. Nobody has run this recipe here.
Hardware   the original: 8 V100. On two CPU cores a step of batch 1 takes about 2 s
           (docs/benchmarks.md).
Source     packnet-sfm README (models, KITTI), configs/train_kitti.yaml with version 18pt for both
           networks. Batch 32 here is the original's 4 on each of 8 GPUs.
"""

from packnet_jax import config

IMAGENET_WEIGHTS = "resnet18-5c106cde.pth"


def get_config():
    c = config.default()
    c.model.depth_net.name, c.model.depth_net.version = "DepthResNet", "18pt"
    c.model.pose_net.name, c.model.pose_net.version = "PoseResNet", "18pt"
    c.model.depth_net.imagenet_weights = c.model.pose_net.imagenet_weights = IMAGENET_WEIGHTS
    c.loss.flip_lr_prob = 0.5
    c.optim.depth.lr = c.optim.pose.lr = 2e-4
    c.optim.step_size, c.optim.gamma = 30, 0.5
    c.data.name = "kitti_raw"
    c.data.split, c.data.eval_split = "eigen_zhou", "eigen_test"
    c.data.image_shape = (192, 640)
    c.data.jittering = (0.2, 0.2, 0.2, 0.05)
    c.data.repeat = 2
    c.train.batch_size = 32
    c.train.num_epochs = 50
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    return c
