"""Population cards: true of the nights, silent about persons, and able to say where two differ."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from data_pipeline.night import Channel, Demographics, Quality
from data_pipeline.population.card import APNEA_HYPOPNEA, Population, population_of, population_text
from data_pipeline.population.file import POPULATION, population_from, read_population, write_population
from data_pipeline.population.shift import compare, comparison_text
from data_pipeline.population.spectrum import band_powers
from data_pipeline.prepare.run import prepare
from data_pipeline.shards.manifest import read_manifest
from sleepmami_jax import cli
from tests.support.nights import SCORED, load_random_night, random_night, write_recordings

SLOTS = ("C3", "E1", "THORAX", "SPO2")
BREATHING = SCORED | {"apnea", "mixed_apnea"}


def prepared(
    folder: Path, seeds, *, change=lambda night: night, subject: str | None = None, slots=SLOTS
) -> Path:
    """A prepared folder of nights of three epochs, the last not staged; women and men by turns, aged 40.5, 41.5 …

    `subject` makes all nights those of one person.
    """

    def load(recording, scoring=(), **facts):
        seed = int(recording.read_text().split()[-1])
        night = random_night(seed, 3, slots, night_id=facts["night_id"])
        scoring = replace(
            night.scoring, stages=np.array([2, seed % 2, -1], np.int8), scored=frozenset(BREATHING)
        )
        person = Demographics(40.5 + seed, "FM"[seed % 2], None if seed == 1 else 25.0 + seed)
        return change(replace(night, scoring=scoring, demographics=person))

    recordings = write_recordings(folder / "in", seeds)
    if subject is not None:
        rows = [f"n{seed},{subject}" for seed in seeds]
        (recordings / "demographics.csv").write_text("\n".join(["night_id,subject_id", *rows]))
    prepare([recordings], folder / "out", load=load)
    return folder / "out"


def replaced(slot: str, **fields):
    """A change of a night: one channel's fields are others, computed from the channel."""

    def change(night):
        channels = tuple(
            replace(c, **{name: value(c) for name, value in fields.items()}) if c.slot == slot else c
            for c in night.channels
        )
        return replace(night, channels=channels)

    return change


def nights_of(folder: Path):
    return [(folder, night) for night in read_manifest(folder).nights]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return prepared(tmp_path_factory.mktemp("base"), range(12))


def matters(a: Population, b: Population) -> set[str]:
    return {difference.what for difference in compare(a, b) if difference.matters}


def test_the_card_says_what_the_nights_are(base):
    card = read_population(base)
    entries = read_manifest(base).nights
    assert (card.nights, card.people, card.cohorts, card.sites) == (12, 12, {"generic": 12}, {"here": 12})
    assert card.hours == round(12 * 97 / 3600, 1)
    assert card.sex == {"F": 6, "M": 6, "unknown": 0} and card.modalities == dict.fromkeys(
        ("EEG", "EOG", "RESP", "SPO2"), 12
    )
    assert (card.age_years.mean, card.age_years.median, card.age_years.nights) == (46.0, 46.5, 12)
    assert card.age_years.sd == pytest.approx(np.std(np.arange(12), ddof=1), rel=1e-3)
    assert card.age_years.quantiles == (42.5, 43.5, 46.5, 48.5, 49.5)  # means of five neighbours
    assert card.bmi.nights == 11
    assert (card.stages["N2"].mean, card.stages["W"].mean, card.stages["N3"].mean) == (0.5, 0.25, 0.0)
    per_hour = [
        sum(n for kind, n in e.event_counts.items() if kind != "arousal")
        * 120
        / sum(map(e.stages.count, "1234"))
        for e in entries
    ]
    assert card.events_per_hour[APNEA_HYPOPNEA].mean == pytest.approx(np.mean(per_hour), rel=1e-3)
    assert list(card.channels) == list(SLOTS)
    c3 = card.channels["C3"]
    assert (c3.nights, c3.source_rates_hz) == (12, {"256": 12})
    assert c3.amplitude.median == pytest.approx(20, rel=0.02) and c3.level is None
    assert sum(c3.band_share.values()) == pytest.approx(1, abs=0.02)
    assert c3.band_power["beta"] == pytest.approx(400 / 64 * 14, rel=0.1)  # white noise of 20 uV, 14 Hz of 64
    assert 85 < card.channels["SPO2"].level.median < 100 and card.channels["THORAX"].band_share == {}


def test_spectra_are_of_good_seconds_and_of_the_right_band(tmp_path):
    def is_bad(seconds: np.ndarray) -> np.ndarray:
        return seconds % 30 < 20  # most of each epoch

    def sine(channel: Channel) -> np.ndarray:
        t = np.arange(channel.samples.size) / channel.rate_hz
        x = 30 * np.sin(2 * np.pi * 10 * t) + 500 * is_bad(t) * np.sin(2 * np.pi * 2 * t)
        return x.astype(np.float32)

    def flags(channel: Channel) -> np.ndarray:
        bad = is_bad(np.arange(channel.quality.size))
        return np.where(bad, Quality.CLIPPED, Quality.GOOD).astype(np.uint8)

    out = prepared(tmp_path, [3], change=replaced("C3", samples=sine, quality=flags))
    powers = band_powers(*nights_of(out)[0])
    assert powers["C3"] == pytest.approx([0, 0, 30**2 / 2, 0, 0], abs=2)


def test_too_few_people_are_not_told_of(tmp_path):
    def numbers(card: Population) -> list:
        spreads = [card.age_years, card.bmi, *card.stages.values(), *card.events_per_hour.values()]
        spreads += [s for c in card.channels.values() for s in (c.amplitude, c.good_share, c.level) if s]
        bands = [c.band_power or c.band_share for c in card.channels.values()]
        return [*(s.mean or s.sd or s.quantiles for s in spreads), *(band or None for band in bands)]

    four = read_population(prepared(tmp_path / "four", range(4)))
    one = read_population(prepared(tmp_path / "one", range(8), subject="anna"))
    for card, people in ((four, 4), (one, 1)):
        assert card.people == people and set(numbers(card)) == {None}
        assert card.sex == {"F": None, "M": None, "unknown": 0}
        assert card.channels["C3"].nights == card.nights  # how it was recorded is no secret
        assert "withheld" in population_text(card)
    assert matters(four, four) == set() and "not compared" in comparison_text(four, four, compare(four, four))
    five = read_population(prepared(tmp_path / "five", range(5)))
    assert set(five.age_years.quantiles) == {five.age_years.mean}  # no single person's age
    assert five.bmi.median is None and five.sex["F"] is None


def test_no_night_or_person_is_named(base):
    text = (base / POPULATION).read_text()
    for night in read_manifest(base).nights:
        assert f'"{night.night_id}' not in text and f'"{night.subject_id}' not in text


def test_prepare_leaves_a_card_of_the_same_bytes(tmp_path):
    folder = write_recordings(tmp_path / "in", [1, 2, 3])
    prepare([folder], tmp_path / "one", load=load_random_night)
    prepare(sorted(folder.glob("*.edf"), reverse=True), tmp_path / "two", load=load_random_night)
    card = (tmp_path / "one" / POPULATION).read_bytes()
    assert card == (tmp_path / "two" / POPULATION).read_bytes()
    for damage in (
        lambda path: path.unlink(),
        lambda path: path.write_text("{}"),
        lambda path: path.write_text("["),
    ):
        damage(tmp_path / "one" / POPULATION)
        write_population(tmp_path / "one")
        assert card == (tmp_path / "one" / POPULATION).read_bytes()
    prepare([write_recordings(folder, [4])], tmp_path / "one", load=load_random_night)
    assert read_population(tmp_path / "one" / POPULATION).nights == 4


def test_a_card_that_holds_is_not_made_again(base):
    card = read_population(base)
    shards = {path: path.read_bytes() for path in base.glob("*.array_record")}
    try:
        for path in shards:
            path.unlink()
        assert write_population(base) == read_population(base) == card
        with pytest.raises(ValueError, match=r"shard .*n0\.array_record is missing"):
            population_of(nights_of(base))
    finally:
        for path, content in shards.items():
            path.write_bytes(content)


def test_a_card_goes_through_json(base):
    card = read_population(base)
    assert population_from(json.loads(json.dumps(asdict(card)))) == card


def test_the_same_kind_of_nights_does_not_differ(base, tmp_path):
    other = read_population(prepared(tmp_path, range(12, 24), change=lambda n: replace(
        n, demographics=replace(n.demographics, age_years=n.demographics.age_years - 12, bmi=n.demographics.bmi - 12)
    )))  # fmt: skip
    card = read_population(base)
    assert matters(card, other) == matters(card, card) == set()
    assert "nothing that was compared differs enough" in comparison_text(card, other, compare(card, other))


def test_each_kind_of_difference_is_found(base, tmp_path):
    def slow_wave(channel: Channel) -> np.ndarray:
        t = np.arange(channel.samples.size) / channel.rate_hz
        return (4 * channel.samples + 150 * np.sin(2 * np.pi * 2 * t)).astype(np.float32)

    def change(night):
        night = replaced("C3", samples=slow_wave, source_rate_hz=lambda c: 100.0)(night)
        night = replaced("SPO2", samples=lambda c: c.samples - 10, source_rate_hz=lambda c: 0.5)(night)
        night = replaced("E1", quality=lambda c: np.resize(np.uint8([0, 0, 0, 0, 0, 1, 1]), c.quality.size))(
            night
        )
        channels = tuple(c for c in night.channels if c.slot != "THORAX")
        return replace(
            night, channels=channels, demographics=Demographics(70.0 + len(night.night_id), "F", 26.0)
        )

    card = read_population(base)
    other = read_population(prepared(tmp_path, range(12), change=change))
    expected = {
        "age (years)",
        "BMI (kg/m2)",
        "women",
        "nights with any RESP",
        "C3 recorded below 128 Hz",
        "C3 amplitude (uV)",
        "C3 delta, share of power",
        "C3 theta, share of power",
        "C3 alpha, share of power",
        "C3 sigma, share of power",
        "C3 beta, share of power",
        "E1 good seconds",
        "SPO2 level (%)",
    }
    assert matters(card, other) == expected
    text = comparison_text(card, other, compare(card, other))
    (women,) = [line.split() for line in text.splitlines() if line.startswith("women")]
    assert women == ["women", "50%", "100%", "+50", "points"]
    (rate,) = [line.split()[-4:] for line in text.splitlines() if line.startswith("C3 recorded")]
    assert rate == ["0%", "100%", "+100", "points"]
    assert any(line.startswith("alike: demographics 0 of 3") for line in text.splitlines())


def test_a_difference_that_chance_makes_does_not_count(base):
    card = read_population(base)
    older = replace(card.age_years, mean=card.age_years.mean + 0.6 * card.age_years.sd)
    few, many = (replace(card, age_years=replace(older, nights=n)) for n in (6, 6000))
    large = replace(card, age_years=replace(card.age_years, nights=6000))
    assert matters(large, few) == set() and matters(large, many) == {"age (years)"}


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = cli._run(cli._parse(["sleepmami", "population", *map(str, arguments)]))
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command(base, tmp_path, capsys):
    code, out, _ = run(capsys, base)
    assert code == 0 and "12 nights of 12 people" in out and "12 x 256" in out and "F 6, M 6" in out
    assert json.loads(run(capsys, base, "--json")[1]) == json.loads(json.dumps(asdict(read_population(base))))
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"card": {"population": asdict(read_population(base))}}))
    other = prepared(tmp_path, range(12), slots=("C3", "C4", "E1", "SPO2"))
    code, out, _ = run(capsys, model, other / POPULATION)
    assert code == 0 and "nights with C4" in out and "+100 points" in out and "nights with any RESP" in out
    code, out, _ = run(capsys, model, other, "--json")
    assert code == 0 and {d["what"] for d in json.loads(out) if d["matters"]} == {
        "nights with C4",
        "nights with any RESP",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: "[", "no population card in it"),
        (lambda card: [card], "no population card in it"),
        (lambda card: card | {"version": 9}, "version 9, expected"),
        (lambda card: card | {"population": {}}, "age_years: is missing"),
        (
            lambda card: card | {"population": card["population"] | {"nights": "12"}},
            "nights: expected a whole number, found '12'",
        ),
        (
            lambda card: card | {"population": card["population"] | {"sex": {"F": 1}}},
            "expected F, M and unknown",
        ),
        (
            lambda card: card | {"population": card["population"] | {"hours": 1e400}},
            "hours: expected a finite number, found inf",
        ),
        (
            lambda card: (
                card | {"population": card["population"] | {"bmi": card["population"]["bmi"] | {"sd": None}}}
            ),
            "expected all of them or none",
        ),
    ],
)
def test_what_is_no_card_is_refused(base, tmp_path, capsys, change, message):
    value = change(json.loads((base / POPULATION).read_text()))
    path = tmp_path / "card.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(ValueError, match=message) as error:
        read_population(path)
    assert "card.json" in str(error.value)
    assert run(capsys, path)[0] == 1 and run(capsys, tmp_path / "nowhere")[0] == 1
