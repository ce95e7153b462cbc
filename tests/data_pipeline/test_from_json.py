"""JSON becomes a dataclass, or the field that is wrong is named."""

import json
from dataclasses import asdict, dataclass, field

import pytest

from data_pipeline.from_json import FieldError, from_json
from data_pipeline.modalities import Modality


@dataclass(frozen=True)
class Part:
    modality: Modality
    share: float
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Whole:
    name: str
    parts: tuple[Part, ...]
    n: int
    known: bool = False
    median: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    best: Part | None = None


PART = {"modality": "EEG", "share": 0.5, "spans": [[0, 3], [7, 9]]}
WHOLE = {"name": "a", "parts": [PART], "n": 2}


def test_it_is_the_inverse_of_asdict():
    part = Part(Modality.EEG, 0.5, ((0, 3), (7, 9)))
    for whole in (Whole("a", (part,), 2), Whole("a", (), 0, True, 1.5, {"x": 1}, part)):
        assert from_json(Whole, json.loads(json.dumps(asdict(whole)))) == whole
        assert from_json(Whole, asdict(whole)) == whole
    assert from_json(Whole, WHOLE).parts[0].modality is Modality.EEG


def test_a_whole_number_may_stand_for_a_float():
    share = from_json(Part, PART | {"share": 1}).share
    assert share == 1 and type(share) is float


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n": "2"}, "^n: expected a whole number, found '2'"),
        ({"n": True}, "^n: expected a whole number, found True"),
        ({"n": 2.0}, "^n: expected a whole number, found 2.0"),
        ({"n": None}, "^n: expected a whole number, found None"),
        ({"known": 1}, "^known: expected true or false, found 1"),
        ({"name": 3}, "^name: expected a text, found 3"),
        ({"median": "high"}, "^median: expected a number, found 'high'"),
        ({"median": float("nan")}, "^median: expected a finite number, found nan"),
        ({"median": 10**400}, "^median: expected a finite number, found 1000"),
        ({"counts": {"x": "y"}}, "^counts.x: expected a whole number, found 'y'"),
        ({"counts": [1]}, r"^counts: expected an object, found \[1\]"),
        ({"parts": {}}, r'^parts: expected a list such as \[{"modality": …}\], found {}'),
        ({"parts": [PART, 7]}, r"^parts\[1\]: expected a group of fields, found 7"),
        (
            {"parts": [PART | {"modality": "EEEG"}]},
            r"^parts\[0\]\.modality: 'EEEG' is not known; did you mean 'EEG'",
        ),
        ({"parts": [PART | {"modality": [1]}]}, r"^parts\[0\]\.modality: \[1\] is not known"),
        ({"parts": [PART | {"spans": [[0, 3], [7]]}]}, r"^parts\[0\]\.spans\[1\]: expected 2 items, found 1"),
        (
            {"parts": [PART | {"spans": [[0, 3.5]]}]},
            r"^parts\[0\]\.spans\[0\]\[1\]: expected a whole number, found",
        ),
        ({"parts": [PART | {"chair": 1}]}, r"^parts\[0\]\.chair: no such field; did you mean 'share'?"),
        ({"best": {"share": 1}}, "^best.modality: is missing"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(FieldError, match=message):
        from_json(Whole, WHOLE | change)


def test_what_a_dataclass_raises_itself_goes_through():
    @dataclass(frozen=True)
    class Share:
        value: float

        def __post_init__(self):
            if self.value > 1:
                raise ValueError("expected at most 1")

    with pytest.raises(ValueError, match="at most 1"):
        from_json(Share, {"value": 2})
