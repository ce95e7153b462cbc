"""Who is held out follows the person."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from data_pipeline.cohorts import Source
from data_pipeline.prepare.run import PrepareConfig
from data_pipeline.prepare.splits import assign_splits, check_splits


def test_splits_follow_the_person_and_stay_when_others_join():
    def night(k, subject, split=None):
        return Source(f"n{k}", subject, "", Path(f"n{k}.edf"), split=split)

    shares = {"val_share": 0.2, "test_share": 0.3}
    nights = [night(k, f"subject{k // 2}") for k in range(2000)]
    splits = assign_splits(nights, **shares)
    assert all(splits[f"n{k}"] == splits[f"n{k + 1}"] for k in range(0, 2000, 2))
    counts = {name: sum(split == name for split in splits.values()) / 2000 for name in ("train", "val", "test")}
    assert counts == pytest.approx({"train": 0.5, "val": 0.2, "test": 0.3}, abs=0.05)
    fewer = assign_splits(nights[::7], **shares)
    assert all(splits[name] == split for name, split in fewer.items())
    asked = assign_splits([night(1, "x", "test"), night(2, "x"), night(3, "y", "val")], **shares)
    assert asked == {"n1": "test", "n2": "test", "n3": "val"}
    assert len({*assign_splits([night(k, "pPP"[k % 3] + "1") for k in range(9)], **shares).values()}) == 1
    with pytest.raises(ValueError, match="subject x is in split test and in train"):
        assign_splits([night(1, "x", "test"), night(2, "x", "train")], **shares)
    with pytest.raises(ValueError, match="sum <= 1"):
        PrepareConfig(val_share=0.9, test_share=0.2)


def test_a_person_in_two_splits_stops_what_would_be_written():
    def entry(night_id, subject_id, split):
        return SimpleNamespace(night_id=night_id, subject_id=subject_id, split=split)

    check_splits([entry("a", "p1", "train"), entry("b", "P1", "train"), entry("c", "p2", "val")])
    with pytest.raises(RuntimeError, match="night b: its person is in two splits"):
        check_splits([entry("a", "p1", "train"), entry("b", "P1", "val")])
