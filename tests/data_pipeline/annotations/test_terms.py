"""Every word has one meaning."""

import pytest

from data_pipeline.annotations.terms import kind_of, stage_of, stage_of_column

W, N1, N2, N3, REM = range(5)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Sleep stage W", W),
        ("Sleep stage 1", N1),
        ("Sleep stage N2", N2),
        ("Sleep stage 3", N3),
        ("Sleep stage 4", N3),  # R&K
        ("Sleep stage R", REM),
        ("Sleep stage ?", -1),
        ("Movement time", -1),
        ("Stage 2 sleep|2", N2),
        ("STAGE - N3", N3),
        ("REM", REM),
        ("4", None),  # REM or R&K 4: a bare digit in running text says nothing
        ("Arousal", None),
        ("Recording starts", None),
    ],
)
def test_stage_terms(text, code):
    assert stage_of(text) == code


def test_codes_of_a_stage_column():
    assert [stage_of_column(c) for c in ("0", "1", "2", "3", "4", "5", "6", "9", "", "?", "n2", "x")] == [
        W, N1, N2, N3, N3, REM, -1, -1, -1, -1, N2, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Obstructive apnea", "obstructive_apnea"),
        ("central apnoea", "central_apnea"),
        ("APNEA-MIXED", "mixed_apnea"),
        ("Apnoea", "apnea"),
        ("HYP-O", "hypopnea"),
        ("HYP-C", "hypopnea"),
        ("Obstructive hypopnoea", "hypopnea"),
        ("Hypopnea with arousal", "hypopnea"),
        ("Hypopnea w/ arousal", "hypopnea"),
        ("Hypopnoe mit Arousal", "hypopnea"),
        ("Hypopnea_3pct", "hypopnea"),
        ("ARO SPONT", "arousal"),
        ("Respiratory effort related arousal|RERA", "rera"),
        ("Arousal (PLM)", "arousal"),
        ("Arousal resulting from periodic leg movement|Arousal (PLM)", "arousal"),
        ("micro-arousal", "arousal"),
        ("Hypopnea related arousal", "arousal"),
        ("desat", "desaturation"),
        ("SpO2 desaturation", "desaturation"),
        ("PLM", "limb_movement"),
        ("Limb movement - left", "limb_movement"),
        ("K-complex", "k_complex"),
        ("Sleep spindle", "spindle"),
        ("SpO2 artefact", "artifact"),
        ("Arousal@@EEG C4-M1", "arousal"),
        ("patient says he has apnea at home", None),
        ("Unsure", None),
        ("Lights off", None),
    ],
)
def test_event_terms(text, kind):
    assert kind_of(text) == kind
