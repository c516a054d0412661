"""Which Kaggle handle a tfhub.dev address became.

Owner, model, variation and version were chosen by hand when tfhub.dev moved, so no rule gives one from the other; these
are the pairs that were seen.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

TFHUB = "https://tfhub.dev/"
MIRROR = "https://hub.tensorflow.google.cn/"

PAIRS = {
    "deepmind/biggan-256/2": "deepmind/biggan/tensorFlow1/256/2",
    "deepmind/i3d-kinetics-400/1": "deepmind/i3d-kinetics/tensorFlow1/400/1",
    "google/aiy/vision/classifier/food_V1/1": "google/aiy/tensorFlow1/vision-classifier-food-v1/1",
    "google/albert_base/3": "google/albert/tensorFlow1/base/3",
    "google/bert_uncased_L-12_H-768_A-12/1": "google/bert/tensorFlow1/uncased-l-12-h-768-a-12/1",
    "google/delf/1": "google/delf/tensorFlow1/delf/1",
    "google/efficientnet/b0/feature-vector/1": "google/efficientnet/tensorFlow1/b0-feature-vector/1",
    "google/elmo/3": "google/elmo/tensorFlow1/elmo/3",
    "google/faster_rcnn/openimages_v4/inception_resnet_v2/1": (
        "google/faster-rcnn-inception-resnet-v2/tensorFlow1/faster-rcnn-openimages-v4-inception-resnet-v2/1"
    ),
    "google/imagenet/mobilenet_v2_100_224/classification/5": (
        "google/mobilenet-v2/tensorFlow2/100-224-classification/2"
    ),
    "google/magenta/arbitrary-image-stylization-v1-256/2": "google/arbitrary-image-stylization-v1/tensorFlow1/256/2",
    "google/mobilebert/uncased_L-24_H-128_B-512_A-4_F-4_OPT/1": (
        "google/mobilebert/tensorFlow1/uncased-l-24-h-128-b-512-a-4-f-4-opt/1"
    ),
    "google/nnlm-en-dim128/1": "google/nnlm/tensorFlow1/en-dim128/1",
    "google/nnlm-en-dim128/2": "google/nnlm/tensorFlow2/en-dim128/1",
    "google/openimages_v4/ssd/mobilenet_v2/1": "google/mobilenet-v2/tensorFlow1/openimages-v4-ssd-mobilenet-v2/1",
    "google/progan-128/1": "google/progan-128/tensorFlow1/progan-128/1",
    "google/spice/2": "google/spice/tensorFlow1/spice/2",
    "google/universal-sentence-encoder/4": (
        "google/universal-sentence-encoder/tensorFlow2/universal-sentence-encoder/2"
    ),
    "google/universal-sentence-encoder-lite/2": "google/universal-sentence-encoder/tensorFlow1/lite/2",
    "google/universal-sentence-encoder-xling-many/1": "google/universal-sentence-encoder/tensorFlow1/xling-many/1",
    "tensorflow/efficientnet/lite0/feature-vector/2": "tensorflow/efficientnet/tensorFlow1/lite0-feature-vector/2",
}
"""Path on tfhub.dev to short Kaggle handle."""

_HOSTS = re.compile(r"^(https?://)?(tfhub\.dev/|(www\.)?kaggle\.com/models/)?")
_BACK = {kaggle.lower(): path for path, kaggle in PAIRS.items()}


def kaggle_of(path: str) -> str:
    """Returns the Kaggle handle of a path on tfhub.dev, empty if it is not known."""
    return PAIRS.get(path, "")


def tfhub_of(short: str) -> str:
    """Returns the path on tfhub.dev of a short Kaggle handle, empty if it is not known."""
    return _BACK.get(short.lower(), "")


def tfhub_names(path: str) -> tuple[str, ...]:
    """Returns the texts that mean a module on tfhub.dev, the usual one first."""
    return (TFHUB + path, f"{TFHUB}{path}/", MIRROR + path)


def nearest(text: str) -> str:
    """Returns the known handle that looks most like a text, empty if none does."""
    known = {path.lower(): TFHUB + path for path in PAIRS} | {short.lower(): short for short in PAIRS.values()}
    near = get_close_matches(_HOSTS.sub("", text.lower()), known, n=1, cutoff=0.75)
    return known[near[0]] if near else ""
