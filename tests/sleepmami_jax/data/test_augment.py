"""What each augmentation does, measured on its result; and that it is the same however a batch is computed."""

from functools import partial

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from data_pipeline.modalities import RATE_HZ, SLOTS, Modality
from data_pipeline.night import EPOCH_S
from sleepmami_jax.config import Augmentation
from sleepmami_jax.data.augment import EQUALISED, KNOTS_HZ, augmented
from sleepmami_jax.training.sharding import AXES
from tests.support.meshes import keys_of, mesh_of

ALL = Augmentation(equaliser_db=3, gain_db=2, noise=0.3, flip=0.5, drop_channel=0.3, only_eeg=0.2, shortest_crop=0.5)
C = sum(map(len, SLOTS.values()))
FIXED = (Modality.SPO2,)  # its values mean something


def windows(n=4, e=3, lengths=None, seed=0) -> dict:
    """Windows of noise in which every channel is good, with known labels; padded after `lengths` epochs."""
    rng = np.random.default_rng(seed)
    mask = np.arange(e) < np.full(n, e)[:, None] if lengths is None else np.arange(e) < np.array(lengths)[:, None]
    batch = {
        "stage": np.where(mask, rng.integers(0, 5, (n, e)), -1).astype(np.int32),
        "seconds": {"arousal": np.where(mask[..., None], rng.integers(0, 2, (n, e, 30)), -1).astype(np.int8)},
        "epoch_mask": mask,
        "night": np.arange(n, dtype=np.int32),
    }
    for m, slots in SLOTS.items():
        usable = np.broadcast_to(mask[..., None, None], (n, e, len(slots), EPOCH_S)).copy()
        signal = rng.standard_normal((n, e, len(slots), EPOCH_S * RATE_HZ[m])).astype(np.float32)
        signal *= mask[..., None, None]
        batch[m.value] = {"signal": signal, "usable": usable, "present": usable.any(-1)}
    return batch


def without(batch, *modalities):
    """The same batch, these modalities not recorded."""
    blank = {m.value: jax.tree.map(np.zeros_like, batch[m.value]) for m in modalities}
    return batch | blank


def changed(batch, seed=0, **options):
    """The batch after an augmentation of these fields, from keys of its own."""
    run = jax.jit(partial(augmented, config=Augmentation(**options)))
    return jax.device_get(run(batch, keys_of(len(batch["stage"]), seed)))


def shown(batch) -> np.ndarray:
    """(N, C) bool: channels with anything usable."""
    return np.concatenate([batch[m]["usable"].any((1, 3)) for m in SLOTS], 1)


def spectrum(batch, m) -> np.ndarray:
    """(N, C, F) of whole windows."""
    x = np.asarray(batch[m]["signal"], np.float64)
    return np.fft.rfft(x.swapaxes(1, 2).reshape(*x.shape[::2], -1))


def test_nothing_to_do_is_the_very_same_batch():
    batch = windows()
    assert augmented(batch, keys_of(4), Augmentation()) is batch
    still = changed(batch, only_eeg=1e-9)  # goes all the way, and does nothing
    jax.tree.map(np.testing.assert_array_equal, still, batch)


def test_the_equaliser_is_a_curve_over_log_frequency_half_of_it_shared():
    batch, far = windows(64, 2), []
    found = changed(batch, equaliser_db=3)
    for m in SLOTS:
        if m not in EQUALISED:
            np.testing.assert_array_equal(found[m]["signal"], batch[m]["signal"])
            continue
        gain = 20 * np.log10(np.abs(spectrum(found, m) / spectrum(batch, m)))[..., 1:]
        hz = np.fft.rfftfreq(2 * EPOCH_S * RATE_HZ[m], 1 / RATE_HZ[m])[1:]
        at = [np.abs(hz - knot).argmin() for knot in KNOTS_HZ]
        assert gain[..., at].std((0, 1)) == pytest.approx(3, abs=0.6)
        own = gain[..., at]
        weights = [np.interp(np.log(hz), np.log(hz[at]), one) for one in np.eye(len(at))]
        straight = own @ np.array(weights)
        assert np.abs(gain - straight).max() < 0.1
        within = np.mean([np.corrcoef(own[:, a].ravel(), own[:, b].ravel())[0, 1] for a, b in pairs(own.shape[1])])
        assert within == pytest.approx(0.5, abs=0.15)
        far.append(own[:, 0].ravel())
    assert np.abs(np.corrcoef(far)[np.triu_indices(len(far), 1)]).max() < 0.2  # and nothing by two modalities


def pairs(n):
    return [(a, b) for a in range(n) for b in range(a)]


def test_gain_is_of_each_channel_and_leaves_values_alone():
    batch = windows(64, 1)
    found, gains = changed(batch, gain_db=2), []
    for m in SLOTS:
        ratio = found[m]["signal"] / np.where(batch[m]["signal"] == 0, np.nan, batch[m]["signal"])
        db = 20 * np.log10(np.nanmedian(ratio, -1))[:, 0]
        np.testing.assert_allclose(ratio, np.broadcast_to(10 ** (db[:, None, :, None] / 20), ratio.shape), rtol=1e-4)
        gains.append(db)
        assert (m in FIXED) == (not db.any())
    gains = np.concatenate([db for m, db in zip(SLOTS, gains, strict=True) if m not in FIXED], 1)
    assert gains.std(0) == pytest.approx(2, abs=0.6) and gains.mean() == pytest.approx(0, abs=0.3)
    correlation = np.corrcoef(gains.T)
    assert np.abs(correlation[np.triu_indices(len(correlation), 1)]).max() < 0.5


def test_what_is_louder_than_signals_are_is_cut_as_they_are():
    batch = windows(8, 1)
    batch["EEG"]["signal"] = batch["EEG"]["signal"] * 4
    assert np.abs(changed(batch, gain_db=20)["EEG"]["signal"]).max() == Modality.EEG.facts.clip


def test_noise_is_white_or_pink_up_to_its_amount_and_above_the_high_pass():
    batch = windows(32, 2)
    found = changed(batch, noise=0.5)
    for m in SLOTS:
        noise = found[m]["signal"] - batch[m]["signal"]
        if m in FIXED:
            assert not noise.any()
            continue
        sd = noise.std((1, 3))
        assert sd.max() <= 0.5 * 1.05 and sd.max() > 0.4 and sd.min() < 0.1, m
        power = np.abs(spectrum({m: {"signal": noise}}, m)) ** 2
        hz = np.fft.rfftfreq(2 * EPOCH_S * RATE_HZ[m], 1 / RATE_HZ[m])
        corner = m.facts.high_pass_hz
        assert power[..., hz < corner].max() < 1e-5 * power.max()
        low, high = (power[..., (hz >= f) & (hz < 1.5 * f)].mean(-1) for f in (1.1 * corner, hz[-1] / 1.5))
        slope = np.log10(high / low) / np.log10(hz[-1] / 1.5 / (1.1 * corner))
        pink = slope < -0.5
        assert 0.2 < pink.mean() < 0.8, m
        assert slope[pink].mean() == pytest.approx(-1, abs=0.2) and slope[~pink].mean() == pytest.approx(0, abs=0.2)


def test_a_sign_changes_only_where_it_is_arbitrary_and_eyes_together():
    batch = windows(64, 1)
    found = changed(batch, flip=0.5)
    sign = {m: np.sign(found[m]["signal"] * batch[m]["signal"]).mean((1, 3)) for m in SLOTS}
    for m in (Modality.EEG, Modality.SPO2):
        assert (sign[m] == 1).all()
    for m in (Modality.RESP, Modality.ECG, Modality.EMG, Modality.EOG):
        np.testing.assert_array_equal(np.abs(sign[m]), 1)
        assert 0.3 < (sign[m] < 0).mean() < 0.7
    np.testing.assert_array_equal(sign[Modality.EOG][:, 0], sign[Modality.EOG][:, 1])
    for m in (Modality.RESP, Modality.EMG):
        assert (sign[m][:, 0] != sign[m][:, 1]).any()


def test_a_dropped_channel_is_one_that_was_not_recorded_and_one_stays():
    batch = without(windows(64, 2), Modality.EEG, Modality.EMG)
    found = changed(batch, drop_channel=0.3)
    recorded = shown(batch)
    kept = shown(found)
    assert not (kept & ~recorded).any()
    assert kept[recorded].mean() == pytest.approx(0.7, abs=0.06)
    for m in SLOTS:
        there = np.repeat(found[m]["usable"], RATE_HZ[m], -1)
        np.testing.assert_array_equal(found[m]["signal"], np.where(there, batch[m]["signal"], 0))
        np.testing.assert_array_equal(found[m]["present"], found[m]["usable"].any(-1))
    alone = shown(changed(batch, drop_channel=1.0))
    assert (alone.sum(1) == 1).all() and (alone & recorded).any(1).all()
    assert len({*alone.argmax(1)}) == recorded[0].sum()  # any of them


def test_one_channel_of_the_eeg_alone_where_there_is_one():
    batch = windows(64, 1)
    for m in SLOTS:  # a third of the examples has no EEG, and one channel is never there
        if m is Modality.EEG:
            batch[m]["usable"][::3] = False
            batch[m]["usable"][:, :, 2] = False
    found = shown(changed(batch, only_eeg=0.5))
    alone = found.sum(1) == 1
    assert not alone[::3].any() and (found[::3] == shown(batch)[::3]).all()
    assert 0.3 < alone.sum() / (~(np.arange(64) % 3 == 0)).sum() < 0.7
    assert {*found[alone].argmax(1)} == {0, 1, 3, 4, 5}
    np.testing.assert_array_equal(found[~alone], shown(batch)[~alone])
    always = shown(changed(batch, only_eeg=1.0, drop_channel=1.0))
    assert (always.sum(1) == 1).all() and always[1::3, :6].any(1).all()


def test_what_is_cut_off_is_padding():
    lengths = np.tile([10, 6], 32)
    batch = windows(64, 10, lengths)
    found = changed(batch, shortest_crop=0.5)
    mask = found["epoch_mask"]
    assert not (mask & ~batch["epoch_mask"]).any()
    kept = mask.sum(1)
    assert {*kept[::2]} == {*range(6, 11)} and {*kept[1::2]} == {4, 5, 6}  # rounded up
    starts = mask.argmax(1)
    assert {*starts[::2]} >= {0, 1, 2, 3} and (starts + kept <= lengths).all()
    assert (starts + kept == lengths)[kept < lengths].any()
    inside = (np.arange(10) >= starts[:, None]) & (np.arange(10) < (starts + kept)[:, None])
    np.testing.assert_array_equal(mask, inside)  # consecutive
    np.testing.assert_array_equal(found["stage"], np.where(mask, batch["stage"], -1))
    labels = np.where(mask[..., None], batch["seconds"]["arousal"], -1)
    np.testing.assert_array_equal(found["seconds"]["arousal"], labels)
    assert found["seconds"]["arousal"].dtype == np.int8 and found["stage"].dtype == np.int32
    for m in SLOTS:
        np.testing.assert_array_equal(found[m]["usable"], batch[m]["usable"] & mask[..., None, None])
        np.testing.assert_array_equal(found[m]["signal"], batch[m]["signal"] * mask[..., None, None])


def test_what_stands_where_nothing_is_usable_does_not_matter():
    batch = windows(4, 4, [4, 3, 2, 4])
    batch["EEG"]["usable"][0, 1, 2, 5:9] = False
    clean, dirty = jax.tree.map(np.copy, batch), batch
    for m in SLOTS:
        bad = ~np.repeat(batch[m]["usable"], RATE_HZ[m], -1)
        dirty[m]["signal"][bad], clean[m]["signal"][bad] = 1e3, 0
    run = jax.jit(partial(augmented, config=ALL))
    one, other = (jax.device_get(run(b, keys_of(4))) for b in (clean, dirty))
    for m in SLOTS:
        jax.tree.map(np.testing.assert_array_equal, one[m], other[m])
        assert not one[m]["signal"][~np.repeat(one[m]["usable"], RATE_HZ[m], -1)].any()
        assert np.isfinite(one[m]["signal"]).all()


def test_an_example_is_the_same_in_parts_on_devices_and_alone_and_compiles_once():
    batch, keys, traced = windows(4, 3), keys_of(4), []

    @jax.jit
    def run(batch, keys):
        traced.append(0)
        return augmented(batch, keys, ALL)

    whole = jax.device_get(run(batch, keys))
    run(batch, keys_of(4, 1))
    assert len(traced) == 1
    devices = jax.jit(
        jax.shard_map(partial(augmented, config=ALL), mesh=mesh_of(4), in_specs=(P(AXES), P(AXES)), out_specs=P(AXES))
    )
    halves = [jax.device_get(run(jax.tree.map(lambda v, s=s: v[s], batch), keys[s])) for s in (slice(2), slice(2, 4))]
    for other in (jax.device_get(devices(batch, keys)), jax.tree.map(lambda *v: np.concatenate(v), *halves)):
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(whole), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6, err_msg=str(path))
    again = jax.device_get(run(batch, keys))
    jax.tree.map(np.testing.assert_array_equal, whole, again)
    assert not np.array_equal(whole["EEG"]["signal"][0], whole["EEG"]["signal"][1] * 0)


def test_single_epochs_are_windows_of_one():
    batch, options = windows(6, 1), {"equaliser_db": 3.0, "flip": 0.5, "drop_channel": 0.3}
    single = {m.value: jax.tree.map(lambda v: v[:, 0], batch[m]) for m in SLOTS}
    single |= {"stage": batch["stage"][:, 0], "seconds": {}, "night": batch["night"]}
    expected, found = changed(batch, **options), changed(single, **options)
    for m in SLOTS:
        jax.tree.map(np.testing.assert_array_equal, found[m], jax.tree.map(lambda v: v[:, 0], expected[m]))
    np.testing.assert_array_equal(found["stage"], single["stage"])
    assert found["stage"].ndim == 1
