"""Records what the original `hub.Module` leaves in a graph, for the golden modules: `compat/structure.json`.

    python make_structure.py

Needs tensorflow-hub 0.15 on TensorFlow 2.15, as `make_golden.py` does. Scenes that are there are not recorded again.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0", CUDA_VISIBLE_DEVICES="")
HERE = Path(__file__).absolute().parent
sys.path.insert(0, str(HERE))

import tensorflow_hub as hub  # noqa: E402
from making import structure  # noqa: E402

SCENES = {
    "trainable": (
        "batch_norm_tensor/", "batch_renorm/train", "chance/", "defun_grad_func/", "dtypes/", "functional_control_flow/",
        "image_decoding/", "library_functions/", "losses_and_updates/", "lstm_dropout/train", "many_tables/",
        "mutable_table/", "nested_loops/", "odd_places/", "odd_shapes/", "quantised/train", "ragged_text/",
        "ref_control_flow/", "stacked/", "tables_v1/", "text_paths/", "tf_functions/",
    ),
    "frozen": ("losses_and_updates/", "ref_control_flow/", "stacked/", "many_tables/"),
    "scopes": ("losses_and_updates/", "ref_control_flow/", "many_tables/"),
    "reuse": ("losses_and_updates/", "ref_control_flow/", "many_tables/"),
}


def main() -> None:
    path = HERE / "compat" / "structure.json"
    path.parent.mkdir(exist_ok=True)
    found = json.loads(path.read_text()) if path.exists() else {}
    for scene, variants in SCENES.items():
        for variant in variants:
            key = f"{variant}/{scene}"
            if key not in found:
                name, _, tags = variant.partition("/")
                found[key] = structure.describe(hub, str(HERE / "modules" / name), [t for t in tags.split("+") if t], scene)
                print(key, flush=True)
    path.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
