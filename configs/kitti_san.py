"""PackNetSAN01 for KITTI at 352x1216: metric depth from pictures, or completed from laser scans.

Command    python -m packnet_jax.main --mode=eval --checkpoint=PackNetSAN01_HR_sup_K.ckpt \\
             --config=configs/kitti_san.py --config.data.root=KITTI_RAW --workdir=DIR
           It evaluates twice: with velodyne depth beside the pictures, and with pictures alone.
           To train, leave out mode and checkpoint. The schedule is the released code's: depth from
           pictures and from both is learnt from the start. The paper's first learns from pictures
           alone, for 30 of 50 epochs, and then keeps their encoder:
           --config.loss.completion_starts=0.6 --config.loss.freeze_rgb_encoder=True
Expect     depth_pp abs_rel 0.052, sq_rel 0.175, rmse 2.230, rmse_log 0.083, a1 0.970 from pictures
           alone, 0.016, 0.028, 0.902, 0.032, 0.997 with velodyne depth, on the (about 652) Eigen
           test images that have improved ground truth: the published figures of the released
           checkpoint, for which mode is not said. Nobody has run this recipe here.
Source     Guizilini et al., CVPR 2021; packnet-sfm README (models, KITTI: "Supervised (densified
           GT), 352x1216, K"), configs/train_packnet_san_kitti.yaml. Its batch is 1 on each GPU, of
           how many is not said; 8 as for its other networks. With all the weight on measured depth
           there is no pose network, and no neighbouring frames are read.
"""

from packnet_jax import config


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
    c.data.name = "kitti_raw"
    c.data.split, c.data.eval_split = "eigen_zhou", "eigen_test"
    c.data.depth_type, c.data.input_depth_type = "groundtruth", "velodyne"
    c.data.back_context = c.data.forward_context = 0
    c.data.repeat = 2
    c.data.image_shape = (352, 1216)
    c.data.crop_train_borders = c.data.crop_eval_borders = (-352, 0, 0.5, 1216)
    pictures_alone = config.source(name="kitti_raw", split="eigen_test", depth_type="groundtruth")
    pictures_alone.root = c.data.get_oneway_ref("root")  # follows --config.data.root
    c.data.more_eval = (pictures_alone,)
    c.train.batch_size = 8
    c.train.num_epochs = 50
    c.eval.crop, c.eval.min_depth, c.eval.max_depth = "garg", 0.0, 80.0
    c.eval.scale_output = "top-center"
    return c
