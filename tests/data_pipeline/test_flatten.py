from data_pipeline.flatten import flatten


def test_leaves_stand_under_their_path():
    tree = {"a": {"b": 1, "c": {"d": None}}, "e": [{"f": 2}], "g": {}}
    assert flatten(tree) == {"a.b": 1, "a.c.d": None, "e": [{"f": 2}], "g": {}}
    assert flatten(tree, "_") == {"a_b": 1, "a_c_d": None, "e": [{"f": 2}], "g": {}}
    assert flatten(tree, lists=True) == {"a.b": 1, "a.c.d": None, "e.0.f": 2, "g": {}}
