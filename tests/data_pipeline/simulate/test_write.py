"""The files keep the truth."""

import csv

import edfio
import mne
import numpy as np
import pytest

from data_pipeline.night import EPOCH_S, STAGES
from data_pipeline.simulate.sites import SITES
from data_pipeline.simulate.write import RECORD_S
from tests.support.simulated import truth_of


@pytest.mark.parametrize("index", [0, 1])
def test_annotations_are_the_truth_in_the_words_of_the_site(cohort, index):
    out, paths = cohort
    truth, site = truth_of(out, paths[index]), SITES["ab"[index]]
    if site.embedded:
        rows = [(a.onset, a.duration, a.text) for a in edfio.read_edf(paths[index]).annotations]
    else:
        with paths[index].with_suffix(".csv").open() as file:
            rows = [(float(r["onset_s"]), float(r["duration_s"]), r["event"]) for r in csv.DictReader(file)]
    words = dict(zip(STAGES, site.stage_words, strict=True))
    expected = [(30.0 * i, 30.0, words[stage]) for i, stage in enumerate(truth["stages"])]
    expected += [(e["onset_s"], e["duration_s"], site.event_words[e["kind"]]) for e in truth["events"] if e["scored"]]
    assert sorted(rows) == sorted(expected)
    assert {words[stage] for stage in truth["stages"]} <= {row[2] for row in rows}


@pytest.mark.parametrize("index", [0, 1])
def test_files_open_in_edfio_and_mne_with_the_stated_labels_rates_and_units(cohort, index):
    out, paths = cohort
    site = SITES["ab"[index]]
    edf = edfio.read_edf(paths[index])
    stated = [(lead.label, lead.rate_hz, lead.unit) for lead in site.leads]
    assert [(s.label, s.sampling_frequency, s.physical_dimension) for s in edf.signals] == stated
    n_epochs = len(truth_of(out, paths[index])["stages"])
    assert edf.duration == 30 * n_epochs
    raw = mne.io.read_raw_edf(paths[index], verbose="error")
    assert raw.ch_names == [lead.label for lead in site.leads]
    assert raw.n_times == 30 * n_epochs * max(lead.rate_hz for lead in site.leads)
    if index == 0:
        assert edf.local_patient_identification == "X X X X"
        ours = edf.get_signal("EEG C3-M2").data[:2000]
        np.testing.assert_allclose(raw.get_data("EEG C3-M2")[0, :2000] * 1e6, ours, atol=1e-3)


def test_a_data_record_divides_nights_of_any_length_exactly():
    """edfio refuses signals whose durations, samples / (samples of a record / seconds), differ by rounding."""
    samples = np.arange(1, 1200)  # of one signal in one record; those of annotations are not ours to choose
    for n_epochs in range(6 * 120, 9 * 120 + 1):
        records = n_epochs * EPOCH_S / RECORD_S
        assert records == int(records)
        np.testing.assert_array_equal(samples * records / (samples / RECORD_S), n_epochs * EPOCH_S)
