import time

from data_pipeline.nearest import nearest, suggestion


def test_the_nearest_name_whatever_the_case():
    assert nearest("spo", ["SPO2", "ECG"]) == "SPO2" and nearest("xyz", ["SPO2", "ECG"]) is None


def test_where_none_is_near_it_is_said_what_there_is():
    assert suggestion("THORX", ["THORAX"]) == "; did you mean 'THORAX'?"
    assert suggestion("xyz", ["SPO2", "ECG"]) == "; there are 'SPO2', 'ECG'"
    assert suggestion("xyz", []) == "; there are none"
    assert suggestion("xyz", [f"slot{k}" for k in range(21)]).endswith("'slot19', …")


def test_a_hostile_name_takes_no_time():
    begun = time.perf_counter()
    nearest("C3-A2 " * 100_000, ["EEG C3-A2"] * 50)
    assert time.perf_counter() - begun < 1
