"""Graphs by their name scopes."""

from savedmodel.builder import meta_graph, node, placeholder

from hubkeras.inspection.scope_tree import scope_tree


def tree(*nodes):
    return scope_tree(meta_graph([placeholder("x"), *nodes]))


def test_scopes_nodes_and_edges():
    """An edge stands where the two ends part; a node and a scope may have one name."""
    root = tree(node("a", "Identity", "x"), node("a/b", "Identity", "a"), node("a/c", "Identity", "a/b", "^x"))
    assert [(c["name"], c["nodes"]) for c in root["children"]] == [("x", 1), ("a", 3)]
    assert root["edges"] == [[0, 1, 2]]
    inner = root["children"][1]
    assert [(c["name"], c["op"]) for c in inner["children"]] == [
        ("(a)", "Identity"),
        ("b", "Identity"),
        ("c", "Identity"),
    ]
    assert sorted(inner["edges"]) == [[0, 1, 1], [1, 2, 1]]


def test_many_nodes_of_one_type_are_put_together():
    """A drawing of hundreds of boxes shows nothing."""
    root = tree(*(node(f"n{i}", "Identity", "x") for i in range(100)))
    assert {c["name"]: c["nodes"] for c in root["children"]} == {"x": 1, "100 of Identity": 100}
    assert root["edges"] == [[0, 1, 100]]


def test_deep_and_empty_names_end():
    """Names are a stranger's."""
    root = tree(node("/".join("a" * 5000), "Identity", "x"), node("//", "Identity", "x"))
    depth = 0
    while root["children"]:
        root, depth = root["children"][-1] if depth else root["children"][1], depth + 1
    assert depth < 30
