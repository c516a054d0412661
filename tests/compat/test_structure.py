"""What `Module` leaves in a graph is what the original left: names, nodes, collections, variables."""

import json
from pathlib import Path

import pytest
from golden.making import structure

import hubkeras.compat.v1 as hub

GOLDEN = Path(__file__).parents[1] / "golden"
RECORDED = json.loads((GOLDEN / "compat" / "structure.json").read_text())


@pytest.mark.parametrize("key", sorted(RECORDED))
def test_a_graph_holds_what_the_original_left_there(key):
    name, tags, scene = key.split("/")
    got = structure.describe(hub, str(GOLDEN / "modules" / name), [t for t in tags.split("+") if t], scene)
    assert json.loads(json.dumps(got)) == RECORDED[key]
