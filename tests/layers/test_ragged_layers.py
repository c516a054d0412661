"""Ragged values between two layers of a functional model, as the preprocessing of text encoders passes them."""

import keras
import numpy as np
import tensorflow as tf

import hubkeras


class Tokenize(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        letters = tf.strings.bytes_split(tf.strings.split(texts))
        return letters.with_flat_values(tf.strings.to_hash_bucket_fast(letters.flat_values, 100))


class Pack(tf.Module):
    @tf.function(input_signature=[[tf.RaggedTensorSpec([None, None, None], tf.int64)], tf.TensorSpec([], tf.int32)])
    def __call__(self, inputs, seq_length):
        ids = inputs[0].merge_dims(1, -1)[:, :seq_length].to_tensor()
        return {"input_word_ids": tf.pad(ids, [[0, 0], [0, seq_length - tf.shape(ids)[1]]])}


class Preprocessing(tf.Module):
    def __init__(self):
        super().__init__()
        self.tokenize, self.bert_pack_inputs = Tokenize(), Pack()


def test_tokens_stay_ragged(tmp_path):
    """`tokenize`, then `bert_pack_inputs(seq_length=)`."""
    tf.saved_model.save(Preprocessing(), tmp_path / "m")
    module = hubkeras.load(tmp_path / "m")
    texts = keras.Input((), dtype="string")
    tokens = hubkeras.KerasLayer(module.tokenize)(texts)
    assert (tokens.ragged, tokens.ragged_rank, tokens.shape) == (True, 2, (None, None, None))
    packed = hubkeras.KerasLayer(module.bert_pack_inputs, arguments={"seq_length": 6})([tokens])
    model = keras.Model(texts, packed)
    given = tf.constant(["ab cd", "e"])
    want = module.bert_pack_inputs([module.tokenize(given)], seq_length=6)["input_word_ids"]
    np.testing.assert_array_equal(model(given)["input_word_ids"], want)
    np.testing.assert_array_equal(model.predict(given, verbose=0)["input_word_ids"], want)
