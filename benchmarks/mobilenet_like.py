"""Writes MobileNet V2 in TF1 Hub format, with random weights: 53 convolutions with batch normalization.

Two graph variants ({} and {train}); the one for training has a regularization loss for each kernel and an update op for
each moving average.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from building import write

v1 = tf.compat.v1
_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, layers and stride of the first layer, as in table 2 of arXiv:1801.04381."""


def write_mobilenet_like(path: Path, size: int) -> None:
    """Writes the module to a directory that does not exist yet."""

    def build(tags: frozenset[str]) -> Any:
        images = v1.placeholder(tf.float32, [None, size, size, 3], "images")
        x = _conv(images, 32, 3, 2, tags)
        for expansion, channels, layers, stride in _BLOCKS:
            for layer in range(layers):
                x = _block(x, expansion, channels, 1 if layer else stride, tags)
        x = _conv(x, 1280, 1, 1, tags)
        return {"default": ({"images": images}, {"default": tf.reduce_mean(x, [1, 2])})}

    write(path, build, [(), ("train",)])


def _block(x: tf.Tensor, expansion: int, channels: int, stride: int, tags: frozenset[str]) -> tf.Tensor:
    y = _conv(x, expansion * x.shape[-1], 1, 1, tags) if expansion > 1 else x
    with v1.variable_scope(None, "depthwise"):
        kernel = _kernel([3, 3, y.shape[-1], 1], tags)
        y = tf.nn.relu6(_norm(tf.nn.depthwise_conv2d(y, kernel, [1, stride, stride, 1], "SAME"), tags))
    y = _conv(y, channels, 1, 1, tags, activate=False)
    return x + y if stride == 1 and x.shape[-1] == channels else y


def _conv(
    x: tf.Tensor, channels: int, width: int, stride: int, tags: frozenset[str], activate: bool = True
) -> tf.Tensor:
    with v1.variable_scope(None, "conv"):
        y = _norm(tf.nn.conv2d(x, _kernel([width, width, x.shape[-1], channels], tags), stride, "SAME"), tags)
        return tf.nn.relu6(y) if activate else y


def _kernel(shape: list[int], tags: frozenset[str]) -> Any:
    kernel = v1.get_variable("kernel", shape, tf.float32, v1.glorot_uniform_initializer())
    if "train" in tags:
        v1.add_to_collection(v1.GraphKeys.REGULARIZATION_LOSSES, 4e-5 * tf.nn.l2_loss(kernel))
    return kernel


def _norm(x: tf.Tensor, tags: frozenset[str]) -> tf.Tensor:
    def variable(name: str, value: float, trainable: bool) -> Any:
        return v1.get_variable(name, [x.shape[-1]], tf.float32, v1.constant_initializer(value), trainable=trainable)

    gamma, beta = variable("gamma", 1, True), variable("beta", 0, True)
    means, variances = variable("moving_mean", 0, False), variable("moving_variance", 1, False)
    if "train" not in tags:
        return v1.nn.fused_batch_norm(x, gamma, beta, means, variances, is_training=False)[0]
    y, mean, variance = v1.nn.fused_batch_norm(x, gamma, beta, is_training=True)
    for moving, value in ((means, mean), (variances, variance)):
        v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, moving.assign_sub(0.003 * (moving - value)))
    return y
