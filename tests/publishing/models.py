"""Keras models to publish, each with a batch of inputs by the names that its module gives them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from parity import GOLDEN

import hubkeras

MODULES = GOLDEN / "modules"
RANDOM = np.random.default_rng(7)


@dataclass
class Case:
    """A model, what its module is fed, and how it is published."""

    model: Any
    inputs: dict[str, Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    steps: int = 3
    losses_of_call: Callable[[], list[Any]] = list
    """Those that the call adds and that depend on variables alone."""

    def call(self, training):
        """The outputs of the model by name."""
        values = dict(self.inputs)
        by_name = isinstance(getattr(self.model, "_inputs_struct", None), dict) or len(values) > 1
        outputs = self.model(values if by_name else next(iter(values.values())), training=training)
        if isinstance(outputs, dict):
            return outputs
        if isinstance(outputs, (list, tuple)):
            return dict(zip(self.model.output_names, outputs, strict=True))
        return {"default": outputs}


def floats(*shape):
    return tf.constant(RANDOM.standard_normal(shape), tf.float32)


def image_cnn():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, kernel_regularizer="l2"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("silu"),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, kernel_regularizer="l1", bias_regularizer="l2"),
        ],
        name="cnn",
    )
    return Case(model, {"images": floats(5, 6, 6, 3)}, {"image_size": (6, 6)})


class Counting(keras.Model):
    """Counts its calls in a Keras variable, and its training steps in a TensorFlow variable that Keras knows not of."""

    def __init__(self):
        super().__init__(name="counting")
        self.dense = layers.Dense(2)
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="steps")

    def penalty(self):
        return 0.1 * tf.reduce_sum(self.dense.kernel**2)

    def call(self, inputs, training=False):
        if training:
            self.count.assign_add(1.0)
            self.steps.assign_add(2)
        outputs = self.dense(inputs)
        self.add_loss(self.penalty())
        return outputs + self.count + tf.cast(self.steps, tf.float32)


def counting():
    model = Counting()
    x = floats(4, 3)
    model(x)
    return Case(model, {"inputs": x}, losses_of_call=lambda: [model.penalty()])


def several():
    a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
    both = layers.Concatenate()([layers.Dense(5, activation="relu")(a), b])
    outputs = {"sum": layers.Dense(2, name="sum")(both), "product": layers.Multiply()([both, both])}
    return Case(keras.Model({"a": a, "b": b}, outputs), {"a": floats(2, 3), "b": floats(2, 4)})


def listed():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    frozen = layers.Dense(3, trainable=False)
    outputs = [layers.Dense(2, name="left")(frozen(a)), layers.Dense(2, name="right")(frozen(b))]
    return Case(keras.Model([a, b], outputs), {"a": floats(2, 3), "b": floats(2, 3)})


def text():
    vectorize = layers.TextVectorization(output_sequence_length=5, vocabulary=["the", "cat", "sat", "mat"])
    model = keras.Sequential(
        [
            keras.Input((), dtype="string", name="sentences"),
            vectorize,
            layers.Embedding(7, 4, mask_zero=True),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2),
        ]
    )
    return Case(model, {"sentences": tf.constant(["the cat sat", "on a mat", ""])})


def recurrent():
    model = keras.Sequential(
        [
            keras.Input((None, 3), name="x"),
            layers.LSTM(4, return_sequences=True, dropout=0.2, recurrent_dropout=0.1),
            layers.GRU(3),
        ],
        name="recurrent",
    )
    return Case(model, {"x": floats(2, 3, 3)}, steps=2)


def attention():
    inputs = keras.Input((5, 8), name="x")
    x = layers.MultiHeadAttention(2, 4, dropout=0.1)(inputs, inputs)
    x = layers.LayerNormalization()(layers.Add()([inputs, x]))
    x = layers.Dense(8, activation="gelu")(layers.Dense(16, activation="swish")(x))
    return Case(keras.Model(inputs, x), {"x": floats(2, 5, 8)})


def module_layer(name, inputs, trainable=True, units=2, **options):
    """A functional model of a layer over a golden module, and a dense one or a cast."""
    symbols = {
        key: keras.Input(batch_shape=[None, *value.shape[1:]], dtype=value.dtype.name, name=key)
        for key, value in inputs.items()
    }
    layer = hubkeras.KerasLayer(MODULES / name, trainable=trainable, name="module", **options)
    outputs = layer(symbols if len(symbols) > 1 else next(iter(symbols.values())))
    outputs = layers.Dense(units)(outputs) if units else keras.ops.cast(outputs, "float32")
    return Case(keras.Model(symbols, outputs), inputs)


def renormalized():
    return module_layer("batch_renorm", {"x": floats(5, 4)})


def frozen_module():
    return module_layer("batch_renorm", {"x": floats(5, 4)}, trainable=False)


def module_with_losses():
    return module_layer("losses_and_updates", {"x": floats(5, 3)})


def module_with_loops():
    inputs = {"x": floats(3, 4, 3), "lengths": tf.constant([4, 1, 3])}
    return module_layer("lstm_dropout", inputs, train_tags=())


def module_with_gradients():
    return module_layer("defun_grad_func", {"x": floats(5, 3)})


def module_with_tables():
    return module_layer("tables_v1", {"words": tf.constant(["one", "two", "zzz"])}, units=0)


def tf2_object():
    return module_layer("tf2_reusable", {"x": floats(5, 3)})


@tf.custom_gradient
def doubled_backwards(x, scale):
    kept = tf.exp(x)

    def gradient(slope):
        return 2.0 * slope * kept, tf.reduce_sum(slope) * 0.5

    return kept * 0.25 + scale, gradient


class Bent(layers.Layer):
    """Has such gradients in a function that a loop calls, in a branch, and of a function that reads a variable."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")

    @tf.function
    def turn(self, x):
        return doubled_backwards(tf.tanh(x) * self.scale, 0.1 * tf.reduce_mean(x))

    @tf.custom_gradient
    def scaled(self, x):
        def gradient(slope, variables):
            return slope * self.scale.value * 3.0, [tf.reduce_sum(slope * x, 0) * 0.5 for _ in variables]

        return x * self.scale.value, gradient

    def call(self, inputs):
        x = tf.while_loop(lambda i, x: i < 2, lambda i, x: (i + 1, x + self.turn(x)), (0, inputs))[1]
        x = tf.cond(tf.reduce_sum(inputs) > 0, lambda: doubled_backwards(x, 1.0), lambda: doubled_backwards(-x, 2.0))
        return self.scaled(x)


def custom_gradient():
    inputs = keras.Input((3,), name="x")
    hidden = Bent()(layers.Dense(4, activation="silu")(inputs))
    outputs = layers.Lambda(lambda x: doubled_backwards(x, 2.0 * tf.reduce_mean(x)))(hidden)
    return Case(keras.Model(inputs, layers.Dense(2)(outputs)), {"x": floats(4, 3)})


class Repeated(layers.Layer):
    """Applies a layer over a module, and a tf.function with weights, in each turn of a loop."""

    def __init__(self):
        super().__init__()
        self.module = hubkeras.KerasLayer(MODULES / "quantised", trainable=True, name="module", train_tags=())
        self.dense = layers.Dense(4)

    def build(self, shape):
        self.dense.build((None, 3))

    @tf.function
    def turn(self, x):
        return tf.tanh(self.dense(self.module(x)))

    def call(self, inputs):
        return tf.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x + self.turn(x)), (0, inputs))[1]


def calls_in_a_loop():
    inputs = keras.Input((4,), name="x")
    return Case(keras.Model(inputs, layers.Dense(2)(Repeated()(inputs))), {"x": floats(3, 4)})


def mobile_net():
    """Its first six blocks of sixteen, residual ones among them: the others are like these."""
    whole = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, include_top=False)
    pooled = keras.layers.GlobalAveragePooling2D()(whole.get_layer("block_5_add").output)
    model = keras.Model(whole.inputs, keras.layers.Dense(3, activation="softmax")(pooled))
    return Case(model, {"images": floats(16, 32, 32, 3)}, {"image_size": (32, 32)}, steps=1)
