"""One word that is not understood leaves its family unscored, never negative."""

import pytest

from data_pipeline.annotations import merge_scorings, read_scoring, scoring_from
from data_pipeline.annotations.terms import families_of, is_vocabulary, kind_of
from data_pipeline.night import BREATHING_EVENTS
from data_pipeline.readers import Annotation


def marks(text: str, n: int, length_s: float | None = 15.0, first_s: float = 10.0) -> list[Annotation]:
    return [Annotation(first_s + 60 * k, length_s, text) for k in range(n)]


def scored(*annotations: list[Annotation], **options):
    return scoring_from([a for of_word in annotations for a in of_word], 6000, **options)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (
            "Obstruktive Apnoe,Apnée obstructive,Apnea ostruttiva,Apneia obstrutiva,bezdech obturacyjny",
            "obstructive_apnea",
        ),
        ("阻塞性呼吸暂停,閉塞性無呼吸,ObstructiveApnea,A. Obstructive,obstr. Apn.", "obstructive_apnea"),
        ("Zentrale Apnoe,Apnée centrale,Apneu centraal,中枢性無呼吸", "central_apnea"),
        ("Hypopnoe,Hypopnée,Ipopnea,Hipopneia,hypopnea30,低呼吸,H. Central", "hypopnea"),
        ("Weckreaktion,Micro-éveil,Microdespertar,微觉醒", "arousal"),
        ("Beinbewegung links,Mouvement de jambe,Movimiento de piernas,LegMovement,腿动", "limb_movement"),
        ("Entsättigung,Désaturation,SpO2-Abfall,AbsoluteDesaturation,血氧下降", "desaturation"),
        ("Schlafspindel,Fuseau,Huso", "spindle"),
    ],
)
def test_words_of_many_languages(words, kind):
    assert {word: kind_of(word) for word in words.split(",")} == dict.fromkeys(words.split(","), kind)


@pytest.mark.parametrize(
    ("word", "families"),
    [
        ("Apnö obstr. unklar", {"breathing events"}),
        ("pause respiratoire", {"breathing events"}),
        ("SpO2 event Typ B", {"desaturations"}),
        ("bilateral leg mvmt", {"limb movements"}),
        ("Awakening", {"arousals"}),
        ("Apnea, patient supine", {"breathing events"}),
        ("Cheyne-Stokes respiration", set()),
        ("SpO2 probe off", set()),
        ("Respiratory belt adjusted", set()),
        ("Tachycardia", set()),
        ("PLM series", set()),
        ("Anna Muster", set()),
    ],
)
def test_the_family_of_an_unknown_word(word, families):
    assert kind_of(word) is None and families_of(word) == families


def test_one_unknown_word_leaves_its_family_unscored():
    known = [marks("Hypopnea", 20), marks("Arousal", 9, 5.0)]
    assert scored(*known)[0].scored == {*BREATHING_EVENTS, "arousal"}
    scoring, notes = scored(*known, marks("Apnö obstr. Blorp", 1, first_s=99.0))
    assert scoring.scored == {"arousal"} and scoring.unclear >= BREATHING_EVENTS and len(scoring.events) == 29
    (note,) = [n for n in notes if n.startswith("Breathing")]
    assert "not scored: 1 mark(s)" in note and "the first at 99 s" in note and "Blorp" not in note
    # Neither does it help to say that they were looked for.
    looked_for = scored(*known, marks("Blorp-Apnö", 1), scored=[*BREATHING_EVENTS, "arousal"])[0]
    assert looked_for.scored == {"arousal"}


def test_a_word_of_which_nothing_tells_may_be_any_event_of_its_length():
    known = [marks("OA", 25, 20.0), marks("LM", 20, 1.0)]
    scoring, notes = scored(*known, marks("H", 20))
    assert scoring.scored == {"limb_movement"} and "'H' (20)" in " ".join(notes)
    assert scored(*known, marks("H", 2))[0].scored > {"apnea"}  # a remark, not a term
    assert scored(*known, marks("H", 20, None))[0].scored > {"apnea"}
    points = [marks("OA", 25, None), marks("H", 20, None)]
    assert scored(*points)[0].scored == frozenset()
    for other in ("Tachycardia", "MCAP-A1", "Slow wave", "Body position: left"):  # known to be none of these
        assert scored(*known, marks(other, 20))[0].scored > {"apnea"}


def test_a_remark_is_no_term():
    known = marks("SpO2 desaturation", 9)
    assert scored(known, marks("SpO2 finger cold", 2, None))[0].scored == {"desaturation"}
    assert scored(known, marks("SpO2 finger cold", 3, None))[0].scored == frozenset()
    assert scored(known, marks("now SpO2 of him is low at rest", 3, None))[0].scored == {"desaturation"}


def test_what_one_file_leaves_unclear_another_cannot_make_sure():
    hypopneas, apneas = scored(marks("Hypopnea", 20))[0], scored(marks("Apnö Blorp", 20), marks("LM", 9))[0]
    merged, _ = merge_scorings([hypopneas, apneas])
    assert merged.scored == {"limb_movement"} and merged.unclear >= BREATHING_EVENTS
    foreign, stages = scored(marks("Sleep stage Blorp", 20, 30.0))[0], scored(marks("Sleep stage 2", 20, 30.0))[0]
    assert merge_scorings([foreign, stages])[0].scored == {"stages"}


def test_what_is_typed_is_not_repeated(tmp_path):
    path = tmp_path / "n.csv"
    path.write_text("onset_s,duration_s,type\n10,5,Hypopnea\n" + "20,9,Anna Muster\n" * 30 + "30,9,H\n" * 4)
    text = " ".join(read_scoring(path, 60)[1])
    assert "34 mark(s)" in text and "'H' (4), 1 other word(s) not shown" in text and "Muster" not in text
    assert not is_vocabulary("Anna Muster") and is_vocabulary("Obstruktive Apnoe") and not is_vocabulary("apnea 1960")
