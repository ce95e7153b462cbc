"""Hypnograms in the words of languages and tools."""

import numpy as np
import pytest

from data_pipeline.annotations import read_scoring, scoring_from
from data_pipeline.annotations.stage_words import is_light_sleep, stage_of, stage_of_column, stage_word
from data_pipeline.night import RecordingError
from data_pipeline.readers import Annotation

W, N1, N2, N3, REM = range(5)
VOCABULARIES = {
    "german": "Wachzustand,Leichtschlaf,Stadium 2,Tiefschlaf,Traumschlaf",
    "german, short": "Wach,S1,S2,S4,REM-Schlaf",
    "french": "Éveil,Stade 1,Stade II,Sommeil lent profond,Sommeil paradoxal",
    "french, without accents": "EVEIL,STADE 1,STADE 2,SOMMEIL LENT PROFOND,SOMMEIL PARADOXAL",
    "french, short": "V,SL1,SL2,SL3,SP",
    "spanish": "Vigilia,Fase 1,Fase 2,Sueño profundo,MOR",
    "portuguese": "Vigília,Estágio 1,Estágio 2,Estágio N3,Sono REM",
    "italian": "Veglia,Stadio 1,Stadio 2,Sonno profondo,Sonno REM",
    "dutch": "Waak,Slaap 1,Slaap 2,Diepe slaap,REM-slaap",
    "danish": "Vågen,Søvnstadie 1,N2,Dyb søvn,REM-søvn",
    "finnish": "Valve,Kevyt uni,Vaihe 2,Syvä uni,REM-uni",
    "polish": "Czuwanie,Stadium 1,Stadium 2,Sen głęboki,Sen REM",
    "turkish": "Uyanıklık,Evre 1,Evre 2,Derin uyku,REM uykusu",
    "greek": "Εγρήγορση,Στάδιο 1,Στάδιο 2,Στάδιο 3,REM",
    "russian": "Бодрствование,Стадия 1,Стадия 2,Стадия 3,БДГ",
    "japanese": "覚醒,睡眠段階1,ノンレム2,深睡眠,レム睡眠",
    "chinese": "清醒期,浅睡期,中睡期,深睡期,快速眼动期",
    "korean": "각성,1단계,비렘 2,깊은 수면,렘수면",
    "embla": "SLEEP-S0,SLEEP-S1,SLEEP-S2,SLEEP-S4,SLEEP-REM",
    "profusion": "0,1,2,3,5",
    "pandas": "0.0,1.0,2.0,4.0,5.0",
    "excel": '"0,0","1,0","2,0","3,0","5,0"',
    "alice": "Wake,NonREM1,NonREM2,NonREM3,REM",
    "noxturnal": "sleep-wake,sleep-n1,sleep-n2,sleep-n3,sleep-rem",
    "spaces": "Wake,NREM 1,Non-REM 2,NREM Stage 3,R",
    "numbered": "0: Wake,1: Light,2: N2,3: SWS,5: REM",
    "remarks": "W (wake),N1 [auto],N2 sleep,N3/N4,R (tonic)",
    "explained": "Wake (W),Light sleep (N1),Light sleep (N2),Deep sleep (N3),REM sleep (R)",
    "light 1 and 2": "Veille,Sommeil léger 1,Sommeil léger 2,Sommeil profond,Paradoxal",
    "wearable": "Awake,Light,N2,Deep,REM",
    "stages": "Stage - W,Stage - N1,Stage-2,Stage IV,Stage R",
}


@pytest.mark.parametrize("words", VOCABULARIES.values(), ids=VOCABULARIES)
def test_vocabularies(tmp_path, words):
    words = words[1:-1].split('","') if words.startswith('"') else words.split(",")
    rows = "".join(f'{30 * place},30,"{word}"\n' for place, word in enumerate(words))
    path = tmp_path / "n.csv"
    path.write_text("onset_s,duration_s,stage\n" + rows, encoding="utf-8")
    scoring, notes = read_scoring(path, 150)
    assert scoring.stages.tolist() == [W, N1, N2, N3, REM] and scoring.scored == {"stages"} and notes == ()


NOT_SCORED = [
    "MT",
    "Art",
    "UNS",
    "Bewegungszeit",
    "non scoré",
    "?",
    "-1",
    "-2.0",
    "9",
    "NaN",
    "-",
    "不明",
    "Sleep stage ?",
]


@pytest.mark.parametrize("word", NOT_SCORED)
def test_what_says_that_nobody_scored(word):
    assert stage_of_column(word) == -1


@pytest.mark.parametrize("word", ["N1/N2", "NREM", "N2?", "A", "11", "Stage 7 of 9", "Quiet sleep", "N5", "Blorp"])
def test_what_is_no_single_stage(word):
    assert stage_of_column(word) is None


def test_short_words_mean_a_stage_only_where_one_is_expected():
    for word in ("V", "SP", "2", "2.0", "deep", "M", "MT", "movement", "light", "slow wave"):
        assert stage_of(word) is None, word
    assert [stage_of(w) for w in ("Éveil", "Tiefschlaf", "NREM 2", "Sleep stage 2.0", "Stage - 1")] == [
        W,
        N3,
        N2,
        N2,
        N1,
    ]
    assert is_light_sleep("Leichtschlaf") and not is_light_sleep("light")
    assert stage_word("Sleep stage Blorp") == "Blorp" and stage_word("Stageplay") is None


def epochs(*words: str) -> list[Annotation]:
    return [Annotation(30.0 * place, 30.0, word) for place, word in enumerate(words)]


def test_a_stage_that_nobody_understands_leaves_all_unscored():
    night = ["Sleep stage W"] * 4 + ["Sleep stage Smith"] * 3 + ["Sleep stage 2"] * 93
    scoring, notes = scoring_from(epochs(*night), 3000)
    assert scoring.scored == frozenset() and scoring.unclear == {"stages"} and (scoring.stages == -1).all()
    assert "3 stage mark(s), 3 %" in " ".join(notes) and "the first at 120 s" in " ".join(notes)
    assert "Smith" not in " ".join(notes)
    scoring, notes = scoring_from(epochs(*["Sleep stage 2"] * 99, "Sleep stage Smith"), 3000)
    assert scoring.scored == {"stages"} and scoring.stages[-1] == -1 and "1 stage mark(s), 1 %" in notes[-1]


def test_a_word_that_fills_the_epochs_between_known_stages_is_one():
    night = ["N1", "N2", "Wobble", "N3", "Wobble", "R", "Wobble", "N2"]
    assert scoring_from(epochs(*night), 240)[0].unclear == {"stages"}
    beside = [*epochs(*["N2"] * 8), *(Annotation(30.0 * k, 30.0, "Wobble") for k in (1, 3, 5))]
    assert scoring_from(beside, 240)[0].scored == {"stages"}  # as long as an epoch, and no stage: N2 is there


def test_light_sleep_is_what_the_others_leave():
    assert scoring_from(epochs("W", "Leichtschlaf", "N2"), 90)[0].stages.tolist() == [W, N1, N2]
    assert scoring_from(epochs("W", "N1", "Leichtschlaf"), 90)[0].stages.tolist() == [W, N1, N2]
    for others in (("W", "REM"), ("N1", "N2")):
        assert scoring_from(epochs(*others, "Leichtschlaf"), 90)[0].unclear == {"stages"}


def test_a_scoring_of_which_no_stage_counts_is_refused_by_name(tmp_path):
    path = tmp_path / "n.csv"
    path.write_text("onset_s,duration_s,stage\n" + "".join(f"{30 * k},30,{'WL'[k % 2]}ight\n" for k in range(10)))
    with pytest.raises(RecordingError, match=r"n\.csv: .*'Sleep stage Light' \(5\).*no stage counts"):
        read_scoring(path, 300)


def test_not_scored_over_the_whole_night_gives_way():
    marks = [*epochs("Sleep stage N2", "Sleep stage R"), Annotation(0.0, 60.0, "Sleep stage ?")]
    scoring, notes = scoring_from(sorted(marks, key=lambda a: a.onset_s), 60)
    assert scoring.stages.tolist() == [N2, REM] and notes == ()


def test_stage_4_where_only_rem_can_be_is_not_taken_for_n3():
    night = ["0", "1", "2", "3", "2", "4", "1", "2", "4", "0", "2", "4", "2", "3", "2", "4", "1", "2", "4", "0"] * 2
    scoring, _ = scoring_from(epochs(*(f"Sleep stage {code}" for code in night)), 30 * len(night))
    assert scoring.unclear == {"stages"} and not (scoring.stages == N3).any()
    rk = ["0", "1", "2", "3", "4", "3", "4", "3", "2", "3", "4", "3", "2", "1", "0"] * 2
    scoring, _ = scoring_from(epochs(*(f"Sleep stage {code}" for code in rk)), 30 * len(rk))
    assert np.bincount(scoring.stages).tolist()[N3] == 16
