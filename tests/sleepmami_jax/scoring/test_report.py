"""The report and the five files beside it, from a made-up night with a plausible prediction."""

import csv
import hashlib
import json
import re
from base64 import b64decode, b64encode
from dataclasses import replace

import mne
import numpy as np
import pytest

from data_pipeline.annotations import read_scoring
from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.night import EPOCH_S, STAGE_TEXT, UNKNOWN_TEXT, Channel, Event, EventKind, Night, Scoring
from data_pipeline.population.card import Spread
from data_pipeline.population.norms import Norm
from data_pipeline.tasks import AROUSAL, BREATHING, LIMB_MOVEMENT, STAGES, Task
from sleepmami_jax.scoring import report
from sleepmami_jax.scoring.files import NAMES, summary
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.scoring.report import render
from sleepmami_jax.scoring.score import beside, summarise, write_scores
from sleepmami_jax.scoring.signals import read_signals
from sleepmami_jax.tasks.breathing import ROOM as BREATHING_ROOM
from sleepmami_jax.trust.judge import Reliability

CARD = {"name": "tiny", "version": "0.1", "trained_on": "simulated nights only", "steps": 12}
TASKS = (STAGES, BREATHING, AROUSAL)
THRESHOLDS = {"breathing": 0.5, "arousal": 0.5}
HOSTILE = '<script>alert("x")</script>'


def hypnogram(n_epochs: int) -> np.ndarray:
    """Wake, then cycles of N1 N2 N3 N2 REM, with a few awakenings."""
    cycle = [1] * 6 + [2] * 50 + [3] * 50 + [2] * 40 + [4] * 34
    stages = np.array(([0] * 30 + cycle * 8)[:n_epochs], np.int8)
    stages[200:204] = stages[470:480] = stages[-12:] = 0
    return stages


def channel(slot, modality, samples, quality, label, reason):
    return Channel(slot, modality, samples, quality, label, reason, float(RATE_HZ[modality]))


def make_night(n_epochs=900, seed=0, missing=()) -> tuple[Night, Prediction]:
    """A night of `n_epochs` with apneas each two minutes of sleep, their desaturations and arousals."""
    rng = np.random.default_rng(seed)
    seconds = n_epochs * EPOCH_S
    stages = hypnogram(n_epochs)
    t = np.arange(seconds)
    spo2 = 96 + np.round(np.sin(t / 3000))
    respiratory = np.tile(np.float32([0.96, 0.03, 0.01]), (seconds, 1))
    arousal = np.full(seconds, 0.05, np.float32)
    events = []
    for onset_s in np.flatnonzero(stages > 0)[::4] * EPOCH_S + rng.integers(0, 20, (stages > 0).sum() // 4 + 1)[0]:
        if rng.random() < 0.35:
            continue
        length_s = int(rng.integers(12, 35))
        apnea = rng.random() < 0.5
        respiratory[onset_s : onset_s + length_s] = [0.1, 0.2, 0.7] if apnea else [0.15, 0.65, 0.2]
        events.append(Event(EventKind.OBSTRUCTIVE_APNEA if apnea else EventKind.HYPOPNEA, onset_s + 1.0, length_s))
        if rng.random() < 0.7:
            arousal[onset_s + length_s : onset_s + length_s + 7] = 0.8
            events.append(Event(EventKind.AROUSAL, float(onset_s + length_s), 7.0))
        dip = rng.integers(3, 9) * np.clip(1 - np.abs(np.arange(-25, 26)) / 25, 0, None)
        where = np.arange(51) + onset_s + length_s
        where = where[where < seconds]
        spo2[where] = np.minimum(spo2[where], np.round(96 - dip[: len(where)]))
    quality = np.zeros(seconds, np.uint8)
    bad = quality.copy()
    bad[12000:12400] = 1
    noise = [
        ("C3", Modality.EEG, "EEG C3-A2", "exact label"),
        ("C4", Modality.EEG, HOSTILE, "alias, measured against the opposite mastoid"),
        ("E1", Modality.EOG, "LOC-A2", "alias"),
        ("CHIN", Modality.EMG, "EMG chin", "exact label"),
        ("NASAL_PRESSURE", Modality.RESP, "PTAF", "alias"),
        ("THORAX", Modality.RESP, "Thor", "alias"),
    ]
    channels = [
        channel(slot, m, np.zeros(seconds * RATE_HZ[m], np.float32), quality, label, reason)
        for slot, m, label, reason in noise
    ]
    channels.append(channel("SPO2", Modality.SPO2, spo2.astype(np.float32), bad, "SaO2", "alias"))
    probs = np.full((n_epochs, 5), 0.05, np.float32)
    probs[np.arange(n_epochs), stages] = 0.8
    probs = probs * rng.gamma(2.0, 1.0, probs.shape).astype(np.float32)
    probs /= probs.sum(axis=1, keepdims=True)
    scorable = np.ones(n_epochs, bool)
    scorable[600:608] = False
    scored = {"stages", EventKind.AROUSAL, EventKind.HYPOPNEA, EventKind.OBSTRUCTIVE_APNEA}
    night = Night(
        night_id="site-a-0001",
        subject_id="s1",
        site="a",
        duration_s=seconds + 7,
        channels=tuple(c for c in channels if c.modality not in missing),
        scoring=Scoring(stages, tuple(sorted(events, key=lambda e: e.onset_s)), frozenset(scored)),
        notes=(f"channel {HOSTILE} was left out: no modality fits", "a gap of 400 s in SaO2"),
    )
    night = replace(
        night,
        channels=tuple(
            replace(
                c,
                quality=np.append(c.quality, np.zeros(7, np.uint8)),
                samples=np.append(c.samples, np.zeros(7 * c.rate_hz, np.float32) + c.samples[-1]),
            )
            for c in night.channels
        ),
    )
    prediction = Prediction(
        tasks=TASKS,
        probs={"stages": probs, "breathing": respiratory, "arousal": np.stack([1 - arousal, arousal], 1)},
        night_vector=np.zeros(16, np.float32),
        scorable=scorable,
        usable={c.slot: np.ones(n_epochs, bool) for c in night.channels},
    )
    return night, prediction


def with_probs(prediction: Prediction, **probs) -> Prediction:
    return replace(prediction, probs=prediction.probs | probs)


@pytest.fixture(scope="module")
def scored():
    night, prediction = make_night()
    return night, summarise(night, prediction, THRESHOLDS, CARD)


@pytest.fixture(scope="module")
def waves(scored):
    return read_signals(scored[0])


@pytest.fixture(scope="module")
def folder(scored, tmp_path_factory):
    night, scores = scored
    out = tmp_path_factory.mktemp("score") / "night"
    write_scores(scores, night, out)
    return out


def drawn(page: str) -> dict:
    """What the page's script draws."""
    return json.loads(re.search(r'id="night-data">(.*?)</script>', page, re.S)[1])


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_six_files_and_nothing_else(folder):
    assert sorted(p.name for p in folder.iterdir()) == sorted(NAMES)
    assert [p.name for p in folder.parent.iterdir()] == ["night"]


def test_printed_ahi_is_that_of_the_listed_events(folder):
    summary = json.loads((folder / "summary.json").read_text())
    stages = [row["stage"] for row in rows(folder / "stages.csv")]
    slept_h = sum(stage in ("N1", "N2", "N3", "REM") for stage in stages) * EPOCH_S / 3600
    kinds = [row["kind"] for row in rows(folder / "events.csv")]
    assert summary["ahi_per_h"] == pytest.approx((kinds.count("apnea") + kinds.count("hypopnea")) / slept_h)
    assert summary["arousal_index_per_h"] == pytest.approx(kinds.count("arousal") / slept_h)
    assert summary["desaturations"] == kinds.count("desaturation") > 50
    assert 15 < summary["ahi_per_h"] < 30 and summary["ahi_severity"] == "moderate"


def test_numbers_are_beside_people_like_this_one_where_there_are_enough(scored, waves):
    night, scores = scored
    page = render(scores, night, waves)
    assert not scores.percentiles and "percentile" not in page.lower()
    assert not any("percentile" in key for key in summary(scores, night))
    spread = Spread(30, 400.0, 60.0, (10.0, 20.0, 30.0, 40.0, 50.0))
    norm = Norm(
        "F", 40, 50, 30, {"tst_min": spread, "n2_pct_tst": spread, "ahi_per_h": spread, "plm_index_per_h": spread}
    )
    told = beside(scores, norm)
    assert told.percentiles.keys() == {"tst_min", "n2_pct_tst", "ahi_per_h"}  # the legs were not recorded
    assert told.percentiles["tst_min"] == "above P90"
    page = render(told, night, waves)
    assert page.count(told.percentiles["ahi_per_h"]) and page.count(told.percentiles["n2_pct_tst"])
    among = "30 women of 40 to 49 years whom the model learned from, as scorers scored them: no reference"
    assert among in page and among in summary(told, night)["percentiles_among"]
    assert summary(told, night)["percentile_tst_min"] == "above P90"
    assert beside(scores, None) is scores


def test_a_score_is_a_scoring_that_says_that_no_person_made_it(folder, scored):
    night, scores = scored
    stages, notes = read_scoring(folder / "stages.csv", night.duration_s)
    np.testing.assert_array_equal(stages.stages, scores.stages)
    model = f"{scores.model_card['name']}@{scores.model_card['version']}".replace(" ", "_")
    assert notes[0] == f"stages.csv: silver labels by {model}, not by a person."
    events, notes = read_scoring(folder / "events.csv", night.duration_s)
    assert [e.kind for e in events.events] == [e.kind for e in scores.events]
    assert not (events.stages >= 0).any() and "silver labels by" in notes[0]  # the stages are those of the other file


def test_a_sensor_that_fails_for_a_part_of_the_night_costs_that_part_alone(scored, waves):
    night, prediction = make_night()
    there = np.arange(900) < 500
    breathing = [slot for slot in BREATHING.slots if slot in prediction.usable]
    failing = replace(prediction, usable=prediction.usable | dict.fromkeys(breathing, there))
    scores = summarise(night, failing, THRESHOLDS, CARD)

    def events(scores, kinds):
        return [event for event in scores.events if event.kind in kinds]

    before = [e for e in events(scored[1], BREATHING.kinds) if e.onset_s < 500 * EPOCH_S]
    assert events(scores, BREATHING.kinds) == before and len(before) > 5
    assert events(scores, AROUSAL.kinds) == events(scored[1], AROUSAL.kinds)
    slept_min = float((scores.stages[:500] > 0).sum() / 2)
    assert scores.statistics["breathing_monitored_min"] == slept_min < scores.statistics["arousal_monitored_min"]
    assert scores.statistics["ahi_per_h"] == pytest.approx(60 * len(before) / slept_min)
    human_stages = np.where(there, night.scoring.stages, -1)
    human = 60 * len(BREATHING_ROOM.counted(night.scoring.events, human_stages)) / float((human_stages > 0).sum() / 2)
    assert scores.agreement["breathing"]["human_ahi_per_h"] == pytest.approx(human)
    said = [w for w in scores.warnings if "a sensor for it was usable in" in w]
    assert len(said) == 1 and said[0].startswith(f"Breathing: a sensor for it was usable in {slept_min:.0f} of ")
    unheard = {lane["kind"]: lane["unmonitored"] for lane in drawn(render(scores, night, waves))["lanes"]}
    assert unheard["apnea"] == [[500 * EPOCH_S, 900 * EPOCH_S]] and unheard["arousal"] == []


def test_a_task_that_was_never_monitored_in_sleep_has_no_index():
    night, prediction = make_night()
    awake = prediction.stages == 0
    breathing = [slot for slot in BREATHING.slots if slot in prediction.usable]
    scores = summarise(
        night, replace(prediction, usable=prediction.usable | dict.fromkeys(breathing, awake)), THRESHOLDS, CARD
    )
    assert scores.statistics["ahi_per_h"] is None and scores.statistics["breathing_monitored_min"] == 0
    assert not any(event.kind in BREATHING.kinds for event in scores.events)


def test_links_are_mutual_and_named_in_the_table(folder, scored):
    _, scores = scored
    assert any(scores.links)
    for i, linked in enumerate(scores.links):
        assert all(i in scores.links[j] for j in linked)
    by_onset = {(row["kind"], row["onset_s"]) for row in rows(folder / "events.csv")}
    linked = [row["arousal_onset_s"] for row in rows(folder / "events.csv") if row["arousal_onset_s"]]
    assert linked and all(("arousal", onset_s) in by_onset for onset_s in linked)


def test_summary_names_what_is_missing_and_the_model(folder):
    summary = json.loads((folder / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["missing_modalities"] == ["ECG"]
    assert summary["model_trained_on"] == "simulated nights only"
    assert "not a medical device" in summary["research_use"]
    assert summary["agreement_stages_kappa"] > 0.7
    assert summary["agreement_breathing_f1"] > 0.9


def test_numbers_that_are_not_finite_become_null(scored, tmp_path):
    night, scores = scored
    write_scores(replace(scores, model_card=CARD | {"loss": float("nan")}), night, tmp_path / "score")
    summary = json.loads((tmp_path / "score" / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["model_loss"] is None and summary["model_steps"] == 12


def test_annotations_open_in_mne_with_every_epoch_and_event(folder):
    annotations = mne.read_annotations(folder / "annotations.edf")
    texts = list(annotations.description)
    stages = [row["stage"] for row in rows(folder / "stages.csv")]
    assert texts.count("Sleep stage R") == stages.count("REM") > 0
    assert texts.count(UNKNOWN_TEXT) == stages.count("") == 8
    assert sum(text in (*STAGE_TEXT, UNKNOWN_TEXT) for text in texts) == len(stages)
    listed = [(float(r["onset_s"]), float(r["duration_s"])) for r in rows(folder / "events.csv")]
    found = [
        (onset_s, duration_s)
        for onset_s, duration_s, text in zip(annotations.onset, annotations.duration, texts, strict=True)
        if not text.startswith("Sleep stage")
    ]
    np.testing.assert_allclose(sorted(found), sorted(listed), atol=1e-3)


def test_nothing_of_a_file_is_markup_and_the_page_needs_no_network(folder, scored, waves):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page and HOSTILE not in page
    assert "src=" not in page and "http" not in page.replace("http-equiv", "")
    assert len(page) < 1_500_000
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    allowed = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{allowed}';" in page
    night, scores = scored
    ending = "</script><script>alert(1)</script><!-- &"
    hostile = replace(night, channels=(replace(night.channels[0], slot=ending), *night.channels[1:]))
    page = render(scores, hostile, waves)
    assert page.count("<script") == 3 and drawn(page)["quality"][0]["slot"] == ending


def test_every_number_of_the_page_is_defined_on_it(scored, waves):
    night, scores = scored
    page = render(scores, night, waves)
    for table in re.findall(r"<table><caption>.*?</table>", page, re.S):
        assert "<summary>" in table
        for row in re.findall(r'<th scope="row">(.*?)</th>', table, re.S):
            assert re.search(r'<summary>.+</summary><div class="rule-words">.{20,}</div>', row, re.S), row
    assert all(f"<summary>{words}</summary>" in page for words in ("AHI", "Sleep efficiency", "Mean SpO2", "ODI3"))
    assert '<div class="rule-words">Mean SpO2: ' in page  # its own, not that of the row above


def test_times_are_those_of_the_clock_where_it_is_known(scored, waves):
    night, scores = scored
    lit = replace(night, start_clock="23:10:00", scoring=replace(night.scoring, lights_s=(600.0, None)))
    page = render(scores, lit, waves)
    assert "23:10:00 to 06:40:00, lights off 23:20:00" in page and drawn(page)["start"] == 83_400
    for unknown in (None, "00:00:00"):  # an anonymised header
        assert "clock time not known, lights off and on not marked" in render(
            scores, replace(night, start_clock=unknown), waves
        )


def test_tracks_and_faults_lie_in_their_seconds(scored, waves):
    night, scores = scored
    codes = np.full(night.duration_s, 3, np.float32)
    codes[9000:] = 1
    quality = np.zeros(night.duration_s, np.uint8)
    quality[100:160], quality[160:170] = 2, 2 | 4
    position = channel("POSITION", Modality.POSITION, codes, quality, "Pos", "montage file")
    data = drawn(render(scores, replace(night, channels=(*night.channels, position)), waves))
    tracks = {track["title"]: track for track in data["tracks"]}
    assert tracks.keys() == {"SpO2", "Position (code)"}  # flat lines breathe and beat no rate
    told = np.frombuffer(b64decode(tracks["Position (code)"]["values"]), "<u2")
    assert len(told) == data["duration"] and (told[100:170] == 0xFFFF).all()
    assert tracks["Position (code)"]["lowest"] + told[[0, 8999, 9000]].astype(float) == pytest.approx([3, 3, 1])
    assert data["quality"][-1]["runs"] == [[100, 160, 2], [160, 170, 6]] and data["faults"][1:3] == ["flat", "clipped"]


def test_same_scores_same_bytes(scored, folder, tmp_path):
    night, scores = scored
    write_scores(scores, night, tmp_path / "again")
    for name in NAMES:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name


def test_replaces_an_earlier_score_and_nothing_else(scored, tmp_path):
    night, scores = scored
    out = tmp_path / "score"
    write_scores(scores, night, out)
    write_scores(replace(scores, warnings=("new",)), night, out)
    assert json.loads((out / "summary.json").read_text())["warnings"] == ["new"]
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"thesis\.txt"):
        write_scores(scores, night, out)
    assert (out / "thesis.txt").read_text() == "mine"
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="is a file"):
        write_scores(scores, night, tmp_path / "file")


def test_failure_leaves_no_folder(scored, tmp_path):
    night, scores = scored
    with pytest.raises(ValueError, match=r"summary\.json"):
        write_scores(replace(scores, model_card={"name": object()}), night, tmp_path / "score")
    assert not list(tmp_path.iterdir())


def test_absent_sensors_are_not_zero_events(tmp_path):
    night, prediction = make_night(n_epochs=240, missing=("EEG", "RESP", "SPO2"))
    scores = summarise(replace(night, scoring=None), prediction, THRESHOLDS, CARD)
    assert set(scores.unavailable) == {"breathing", "arousal", "oximetry"}
    assert not scores.events and not {"ahi_per_h", "arousals", "odi3_per_h"} & set(scores.statistics)
    write_scores(scores, night, tmp_path / "score")
    page = (tmp_path / "score" / "report.html").read_text(encoding="utf-8")
    assert page.count("Not available: no EEG") == 1 and "no breathing sensor" in page
    summary = json.loads((tmp_path / "score" / "summary.json").read_text())
    assert len(summary["not_available"]) == 3 and "ahi_per_h" not in summary


@pytest.mark.parametrize("stage", [0, 2, None], ids=["only wake", "only N2", "nothing scorable"])
def test_nights_without_sleep_or_rem_or_signal(stage, tmp_path):
    night, prediction = make_night(n_epochs=60)
    probs = np.zeros((60, 5), np.float32)
    probs[:, stage or 0] = 1
    prediction = replace(with_probs(prediction, stages=probs), scorable=np.full(60, stage is not None))
    scores = summarise(night, prediction, THRESHOLDS, {})
    write_scores(scores, night, tmp_path / "score")
    summary = json.loads((tmp_path / "score" / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["rem_latency_min"] is None
    assert (summary["ahi_per_h"] is None) == (stage != 2)
    assert scores.warnings


def warnings_of(night, prediction):
    return " ".join(summarise(night, prediction, THRESHOLDS, CARD).warnings)


def test_what_casts_doubt_on_the_numbers_is_a_warning():
    night, prediction = make_night(120)
    before = warnings_of(night, prediction)
    assert not any(words in before for words in ("disagree", "covers", "arousals last longer"))
    wrong = with_probs(prediction, stages=np.roll(prediction.stage_probs, 1, axis=1))
    assert "disagree with the scoring given: kappa -0." in warnings_of(night, wrong)
    part = replace(night.scoring, stages=np.where(np.arange(120) < 100, night.scoring.stages, -1))
    assert "covers 100 of 120 epochs only" in warnings_of(replace(night, scoring=part), prediction)
    cut = "The file is cut: 38 of 822 data records are there."
    assert cut in warnings_of(replace(night, defects=(cut,)), prediction)
    long = prediction.probs["arousal"].copy()
    long[1000:1061] = [0.1, 0.9]
    assert "that look like arousals but last longer than 60 s (1 in all, the longest 61 s) count as" in warnings_of(
        night, with_probs(prediction, arousal=long)
    )


def test_a_scoring_that_begins_at_another_time_is_blamed_itself():
    night, prediction = make_night()
    moved = replace(night.scoring, stages=np.roll(prediction.stages, 24), scored=frozenset({"stages"}))
    warnings = " ".join(summarise(replace(night, scoring=moved), prediction, THRESHOLDS, CARD).warnings)
    assert "moved by -12 min it agrees with kappa 1.00" in warnings and "Do not rely on them" not in warnings


def test_lights_bound_the_times_of_sleep():
    night, prediction = make_night()
    whole = summarise(night, prediction, THRESHOLDS, CARD)
    lit = replace(night, scoring=replace(night.scoring, lights_s=(600.0, 21_000.0)))
    bound = summarise(lit, prediction, THRESHOLDS, CARD)
    assert bound.statistics["trt_min"] == 340 < whole.statistics["trt_min"]
    assert "lights off to lights on, as marked" in bound.rules["trt_min"] and "for want of" in whole.rules["trt_min"]
    assert (bound.stages == whole.stages).all() and bound.events == whole.events


@pytest.mark.parametrize(("valid", "said"), [(0.82, False), (0.78, True)])
def test_an_oximeter_that_was_off_for_a_fifth_of_sleep_is_a_warning(valid, said):
    night, prediction = make_night(240)
    asleep = np.flatnonzero(np.repeat(prediction.stages > 0, EPOCH_S))
    off = np.zeros(night.duration_s, np.uint8)
    off[asleep[int(valid * len(asleep)) :]] = 1
    channels = tuple(replace(c, quality=off) if c.slot == "SPO2" else c for c in night.channels)
    assert ("SpO2 is valid in" in warnings_of(replace(night, channels=channels), prediction)) == said


def judged(prediction, risk, unsure=()) -> Reliability:
    epoch_risk = np.full(len(prediction.scorable), 0.1, np.float32)
    epoch_risk[list(unsure)] = 0.7
    return Reliability(risk, epoch_risk, prediction.stage_probs, ("C3: looks like an EMG, not like an EEG",))


def test_what_is_not_reliable_leads_and_has_no_tile(tmp_path):
    night, prediction = make_night(240)
    asleep = np.flatnonzero(prediction.stages > 0)
    reliability = judged(prediction, {"stages": 0.2, "breathing": 0.9, "arousal": 0.1}, unsure=asleep[:20])
    scores = summarise(night, prediction, THRESHOLDS, CARD, reliability)
    write_scores(scores, night, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["reliable"] == {"stages": True, "breathing": False, "arousal": True}
    assert summary["risk"]["breathing"] == 0.9 and summary["reasons"] == list(reliability.reasons)
    page = (tmp_path / "out" / "report.html").read_text()
    before, tiles = page.split('aria-label="Summary"')[0], page.split('aria-label="Summary"')[1].split("</section>")[0]
    assert "looks like an EMG" in before and "90 % chance of being wrong" in before and "not reliable" in before
    assert "AHI" not in tiles and "Arousal index" in tiles and "Sleep time" in tiles
    assert (np.frombuffer(b64decode(drawn(page)["risk"]), np.uint8) >= 100).sum() == 20
    risks = [row["risk"] for row in rows(tmp_path / "out" / "stages.csv")]
    assert risks.count("0.7000") == 20
    events = rows(tmp_path / "out" / "events.csv")
    reliable = {row["kind"]: row["reliable"] for row in events}
    assert reliable["hypopnea"] == "false" and reliable["arousal"] == "true" and reliable["desaturation"] == ""


def test_epochs_that_are_unsure_are_no_part_of_indices_but_keep_their_stage():
    night, prediction = make_night(240)
    plain = summarise(night, prediction, THRESHOLDS, CARD)
    asleep = np.flatnonzero(prediction.stages > 0)
    reliability = judged(prediction, {"stages": 0.2}, unsure=asleep[:20])
    scores = summarise(night, prediction, THRESHOLDS, CARD, reliability)
    assert (scores.stages == plain.stages).all() and scores.statistics["tst_min"] == plain.statistics["tst_min"]
    assert scores.statistics["unsure_min"] == 10 and "unsure_min" not in plain.statistics
    lost = plain.statistics["breathing_monitored_min"] - scores.statistics["breathing_monitored_min"]
    assert lost == 10
    assert scores.events == plain.events  # they are listed
    first, last = asleep[0] * EPOCH_S, (asleep[19] + 1) * EPOCH_S
    inside = [e for e in plain.events if e.kind in BREATHING.kinds and first <= e.onset_s and e.end_s <= last]
    hours = scores.statistics["breathing_monitored_min"] / 60
    n_counted = round(scores.statistics["ahi_per_h"] * hours)
    n_listed = sum(e.kind in BREATHING.kinds for e in plain.events)
    assert inside and n_counted < n_listed
    assert n_listed - len(inside) - 2 <= n_counted <= n_listed - len(inside) + 2  # two may touch a border
    assert "a sensor for it was usable" not in " ".join(scores.warnings)


def test_a_hypnogram_that_is_not_reliable_has_no_sleep_time_on_top(tmp_path):
    night, prediction = make_night(60)
    reliability = judged(prediction, {"stages": 0.8, "breathing": 0.8, "arousal": 0.8})
    scores = summarise(night, prediction, THRESHOLDS, CARD, reliability)
    write_scores(scores, night, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    tiles = page.split('aria-label="Summary"')[1].split("</section>")[0]
    assert "ODI3" in tiles and "Sleep time" not in tiles  # what the oximeter measured is still there
    assert "Not reliable on this night, more likely wrong than right: Stages, " in page


def test_an_oximeter_and_a_flow_that_contradict_each_other_are_a_warning():
    night, prediction = make_night(240)
    quiet = prediction.probs["breathing"].copy()
    quiet[:] = [0.98, 0.01, 0.01]
    assert "that no breathing event explains" in warnings_of(night, with_probs(prediction, breathing=quiet))
    assert "beside AHI" not in warnings_of(night, prediction)


def test_what_is_missing_stands_at_the_top(tmp_path):
    night, prediction = make_night(60, missing=("RESP", "SPO2"))
    write_scores(summarise(night, prediction, THRESHOLDS, CARD), night, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    top, below = page.split("</dl>")[0], page.split("Missing signals")[1]
    assert "Not in this recording</dt><dd>ECG, RESP, SPO2" in top
    assert "no breathing events" in below and "from the oximeter only" not in below


def test_prediction_of_another_night_is_refused():
    night, _ = make_night(n_epochs=60)
    _, prediction = make_night(n_epochs=61)
    with pytest.raises(ValueError, match=r"site-a-0001.*61 epochs"):
        summarise(night, prediction, THRESHOLDS, CARD)
    with pytest.raises(ValueError, match="Prediction of arousal has shape"):
        with_probs(prediction, arousal=prediction.probs["arousal"][:-1])
    with pytest.raises(ValueError, match="Prediction of stages has values"):
        with_probs(prediction, stages=np.full((61, 5), np.nan, np.float32))
    with pytest.raises(ValueError, match="expected one of each task"):
        with_probs(prediction, snore=prediction.probs["arousal"])


def with_more_tasks(night: Night, prediction: Prediction) -> tuple[Night, Prediction]:
    """The same night by a model that was trained for limb movements and somebody's own task too."""
    n_seconds = 30 * len(prediction.scorable)
    tasks = (*TASKS, LIMB_MOVEMENT, Task("snore", events=("snoring",), needs=("RESP",)))
    yes = np.zeros(n_seconds, np.float32)
    for onset_s in range(2000, 3000, 40):
        yes[onset_s : onset_s + 3] = 0.9
    probs = np.stack([1 - yes, yes], 1)
    leg = replace(night.channels[0], slot="LEG_L", modality=Modality.EMG)
    marks = [Event("snoring", float(s), 3.0) for s in range(2000, 3000, 80)]
    scoring = replace(
        night.scoring,
        events=tuple(sorted((*night.scoring.events, *marks), key=lambda e: e.onset_s)),
        scored=night.scoring.scored | {"snoring"},
    )
    prediction = replace(
        prediction,
        tasks=tasks,
        probs=prediction.probs | {"limb_movement": probs, "snore": probs},
        usable=prediction.usable | {"LEG_L": np.ones(len(prediction.scorable), bool)},
    )
    return replace(night, channels=(*night.channels, leg), scoring=scoring), prediction


def test_every_task_of_the_model_reaches_every_file(tmp_path):
    night, prediction = with_more_tasks(*make_night(240))
    thresholds = THRESHOLDS | {"limb_movement": 0.5, "snore": 0.5}
    scores = summarise(night, prediction, thresholds, CARD)
    write_scores(scores, night, tmp_path / "score")
    summary = json.loads((tmp_path / "score" / "summary.json").read_text())
    kinds = [row["kind"] for row in rows(tmp_path / "score" / "events.csv")]
    assert summary["limb_movements"] == kinds.count("limb_movement") > 4 < summary["plms"]
    assert summary["snore_events"] == kinds.count("snoring") > 10
    assert summary["agreement_snore_recall"] == 1 and "agreement_limb_movement_f1" not in summary
    page = (tmp_path / "score" / "report.html").read_text(encoding="utf-8")
    assert all(words in page for words in ("PLM index", "Snore index"))
    assert {"Snoring", "Limb movement"} <= {lane["title"] for lane in drawn(page)["lanes"]}
    assert "Snore events: 13 in the scoring given" in page
    texts = list(mne.read_annotations(tmp_path / "score" / "annotations.edf").description)
    assert texts.count("Snoring") == kinds.count("snoring")
    assert texts.count("Limb movement") == kinds.count("limb_movement")


def test_a_task_that_the_model_never_learnt_is_not_a_count_of_zero(tmp_path):
    night, prediction = make_night(60)
    stages = replace(prediction, tasks=(STAGES,), probs={"stages": prediction.stage_probs})
    scores = summarise(night, stages, {}, CARD)
    assert scores.unavailable == dict.fromkeys(("breathing", "arousal"), "the model was not trained for it")
    assert not {"ahi_per_h", "arousals"} & scores.statistics.keys() and scores.agreement.keys() == {"stages"}
    write_scores(scores, night, tmp_path / "score")
    assert "Not available: the model was not trained for it." in (tmp_path / "score" / "report.html").read_text()


def test_signals_give_way_where_events_would_make_the_page_too_large(monkeypatch):
    night, prediction = make_night()
    scores = summarise(night, prediction, THRESHOLDS, CARD)
    first, cut = render(scores, night, read_signals(night)), "Left out, for the page would grow too large"
    most = len(first.encode()) - 1000
    assert cut not in first
    monkeypatch.setattr(report, "MOST_OF_PAGE", most)
    page = render(scores, night, read_signals(night))
    assert cut in page and len(page.encode()) <= most
