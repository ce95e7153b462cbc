"""The fixed filterbank: power in the right band at the right time, of usable seconds alone."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
from scipy.signal import welch

from data_pipeline.modalities import MODALITIES, RATE_HZ, SLOTS, Modality
from data_pipeline.night import EPOCH_S
from data_pipeline.tasks import FAST_HZ
from sleepmami_jax.models.stem import FAST, POWER_FLOOR, Look, features, filters, looks_of, n_features

EEG_HZ, AT_ONCE = RATE_HZ[Modality.EEG], 40
SILENT = 0.25 * np.log(POWER_FLOOR) + 0.5


@partial(jax.jit, static_argnums=(2, 3))
def compiled(signal, usable, modality, token_s):
    return features(signal, usable, modality, token_s)


def one_channel(signal, usable, modality, token_s):
    """(B, T), (B, 30) -> (B, n, F), always as many at a time: to compile once."""
    spare = [(0, -len(signal) % AT_ONCE), (0, 0)]
    signal, usable = (np.pad(v, spare).reshape(-1, AT_ONCE, 1, v.shape[1]) for v in (np.float32(signal), usable))
    parts = [compiled(*part, modality, token_s)[:, 0] for part in zip(signal, usable, strict=True)]
    return np.concatenate(parts)[: len(parts) * AT_ONCE - spare[0][1]]


def measured(signal, modality, token_s, usable=None):
    """Power of each look (B, looks, bands), read back from the features of one channel (B, T)."""
    usable = np.ones((len(signal), EPOCH_S), bool) if usable is None else usable
    x = one_channel(signal, usable, modality, token_s)
    power, first, found = np.exp(4 * (x - 0.5)) - POWER_FLOOR, 0, []
    for look in looks_of(modality, token_s):
        n = len(look.bands_hz) * int(token_s / look.hop_s)
        found.append(power[..., first : first + n].reshape(len(x), -1, len(look.bands_hz)))
        first += n
    assert first == x.shape[-1] == n_features(modality, token_s)
    return found


def usual_token_s(modality: Modality) -> int:
    return modality.facts.token_s or 5


def times(rate_hz: int) -> np.ndarray:
    return np.arange(EPOCH_S * rate_hz) / rate_hz


def bins_of(look: Look, rate_hz: int) -> list[np.ndarray]:
    """Frequencies of the bins in each band."""
    bins_hz = np.arange(round(look.window_s * rate_hz) // 2 + 1) / look.window_s
    return [bins_hz[(bins_hz >= low) & (bins_hz <= high)] for low, high in look.bands_hz]


def by_rfft(signal: np.ndarray, look: Look, rate_hz: int) -> np.ndarray:
    """(T,) -> (looks, bands): windows of the reflected epoch, one after another."""
    window, hop = round(look.window_s * rate_hz), int(look.hop_s * rate_hz)
    before = (window - hop) // 2
    reflected = np.pad(signal, (before, window - hop - before), mode="reflect")
    taper = np.hanning(window + 2)[1:-1]
    bins_hz = np.arange(window // 2 + 1) / look.window_s
    # A bin beside 0 loses power with the constant; what white noise leaves of it is known from its filters.
    tone = taper[:, None] * np.exp(2j * np.pi * np.outer(np.arange(window), np.arange(window // 2 + 1)) / window)
    blind = tone - taper[:, None] * tone.mean(0) / taper.mean()
    gain = (np.abs(blind) ** 2).sum(0)
    rows = []
    for start in range(0, len(signal) // hop * hop, hop):
        x = reflected[start : start + window]
        x = (x - (x * taper).sum() / taper.sum()) * taper
        power = np.abs(np.fft.rfft(x)) ** 2 / np.maximum(gain, 1e-12)
        row = []
        for low, high in look.bands_hz:
            own = np.flatnonzero((bins_hz >= low) & (bins_hz <= high))
            spread = own[np.linspace(0, len(own) - 1, min(len(own), 4)).astype(int)]
            row.append(power[spread].mean())
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("modality", [*SLOTS, Modality.SNORE])
def test_powers_are_those_of_a_windowed_fourier_transform(modality):
    rate_hz, token_s = RATE_HZ[modality], usual_token_s(modality)
    signal = np.cumsum(np.random.default_rng(0).standard_normal(EPOCH_S * rate_hz)) / 5 + 3
    found = measured(signal[None], modality, token_s)
    for look, ours in zip(looks_of(modality, token_s), found, strict=True):
        np.testing.assert_allclose(ours[0], by_rfft(signal, look, rate_hz), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("modality", [*SLOTS, Modality.SNORE])
def test_a_sine_raises_its_own_band_most_whatever_its_phase(modality):
    rate_hz, token_s = RATE_HZ[modality], usual_token_s(modality)
    phases = np.linspace(0, 2 * np.pi, 8, endpoint=False)[:, None]
    looks = looks_of(modality, token_s)
    wanted = [
        (i, j, bins[(len(bins) - 1) // 2]) for i, k in enumerate(looks) for j, bins in enumerate(bins_of(k, rate_hz))
    ]
    sines = np.concatenate([np.sin(2 * np.pi * hz * times(rate_hz) + phases) for _, _, hz in wanted])
    found = measured(sines, modality, token_s)
    for row, (i, j, hz) in enumerate(wanted):
        edge = -int(-looks[i].window_s / 2 // looks[i].hop_s)  # beyond it no window reaches over the epoch's ends
        power = found[i][8 * row : 8 * row + 8, edge:-edge]
        assert (power.argmax(-1) == j).all(), (looks[i], hz)
        if (
            hz * looks[i].window_s > 1.5 and hz < 0.35 * rate_hz
        ):  # a single period, and two samples of one, have a phase
            assert np.ptp(np.log(power[..., j])) < 0.03, (looks[i], hz)


@pytest.mark.parametrize("modality", SLOTS)
def test_white_noise_of_unit_variance_has_power_1_in_every_band(modality):
    rate_hz, token_s = RATE_HZ[modality], usual_token_s(modality)
    noise = np.random.default_rng(0).standard_normal((200, EPOCH_S * rate_hz))
    for power in measured(noise, modality, token_s):
        np.testing.assert_allclose(power.mean((0, 1)), 1, atol=0.1)


def test_bands_have_the_density_that_welch_has():
    rng = np.random.default_rng(1)
    white = rng.standard_normal((60, EPOCH_S * EEG_HZ))
    coloured = np.apply_along_axis(np.convolve, 1, white, [1, 0.8, 0.3, -0.2], mode="same")
    found = measured(coloured, Modality.EEG, 1)
    for look, power in zip(looks_of(Modality.EEG, 1), found, strict=True):
        hz, density = welch(coloured, EEG_HZ, "hann", int(look.window_s * EEG_HZ), axis=-1)
        expected = [density[:, np.isin(hz, bins)].mean() * EEG_HZ / 2 for bins in bins_of(look, EEG_HZ)]
        usual = [i for i, bins in enumerate(bins_of(look, EEG_HZ)) if bins[0] * look.window_s > 1.5]
        np.testing.assert_allclose(power.mean((0, 1))[usual], np.array(expected)[usual], rtol=0.06)


def test_waves_below_one_hertz_have_bands_of_their_own():
    slow = np.stack([np.sin(2 * np.pi * hz * times(EEG_HZ)) for hz in (0.3, 0.75)])
    _, below, above = measured(slow, Modality.EEG, 1)
    inside = below[:, 3:-3]
    assert (inside[0, :, 0] > 2 * inside[0, :, 1]).all() and (inside[1, :, 1] > 5 * inside[1, :, 0]).all()
    assert (inside.max(-1) > 1.5 * above[:, 3:-3].max(-1)).all()


def test_a_spindle_is_seen_at_its_place():
    t, onset_s = times(EEG_HZ), 12.3
    rng = np.random.default_rng(0)
    inside = (t >= onset_s) & (t < onset_s + 0.6)
    burst = np.where(inside, np.sin(2 * np.pi * 13.5 * t) * np.sin(np.pi * (t - onset_s) / 0.6), 0.0)
    fast = measured((rng.standard_normal(t.shape) * 0.3 + 2 * burst)[None], Modality.EEG, 1)[0][0]
    assert fast.shape == (EPOCH_S * FAST_HZ, len(FAST.bands_hz))
    sigma = FAST.bands_hz.index((13, 15))
    centre_s = (np.arange(len(fast)) + 0.5) / FAST_HZ
    assert abs(centre_s[fast[:, sigma].argmax()] - (onset_s + 0.3)) <= 1 / FAST_HZ
    near = np.abs(centre_s - onset_s - 0.3) < 0.3
    far = np.abs(centre_s - onset_s - 0.3) > 0.9
    assert fast[near, sigma].min() > 3 * fast[far, sigma].max()
    assert (fast[near].argmax(-1) == sigma).all()


def test_a_look_is_in_the_middle_of_its_token():
    spike = np.zeros(EPOCH_S * EEG_HZ)
    spike[17 * EEG_HZ + EEG_HZ // 2] = 50
    for look, power in zip(looks_of(Modality.EEG, 1), measured(spike[None], Modality.EEG, 1), strict=True):
        loudest = np.flatnonzero(power[0, :, -1] > 0.999 * power[0, :, -1].max())
        middle = (loudest.mean() + 0.5) * float(look.hop_s)
        assert abs(middle - 17.5) < 0.51 * float(look.hop_s), look


@pytest.mark.parametrize("modality", SLOTS)
def test_unusable_seconds_are_not_heard(modality):
    rate_hz, token_s = RATE_HZ[modality], usual_token_s(modality)
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((40, EPOCH_S * rate_hz)) + 4
    usable = np.ones((40, EPOCH_S), bool)
    usable[:, [5, 6, 21]] = False
    dirty = np.where(np.repeat(usable, rate_hz, 1), signal, 1e4 * rng.standard_normal(signal.shape))
    dirty[:, 5 * rate_hz] = np.nan
    for look, whole, part, ours in zip(
        looks_of(modality, token_s),
        measured(signal, modality, token_s),
        measured(signal, modality, token_s, usable),
        measured(dirty, modality, token_s, usable),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, part)
        energy = filters(look, rate_hz)[2]
        share = usable[0].astype(float) @ energy
        # What is left of a window counts as if it were the whole: noise keeps its power, wherever half of it is heard.
        some = (share > 0.45) & (share < 0.99)
        assert some.any() or (modality is Modality.EMG and look.window_s == 0.5)
        if some.any():
            assert part[:, some].mean() == pytest.approx(whole[:, some].mean(), rel=0.2), look
        untouched = share > 1 - 1e-6
        # The level is taken from the whole epoch, and no window hears it.
        np.testing.assert_allclose(part[:, untouched], whole[:, untouched], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("modality", [*SLOTS, Modality.PPG, Modality.SNORE])
def test_a_constant_is_silence_also_beside_gaps(modality):
    signal = np.full((2, EPOCH_S * RATE_HZ[modality]), 7.0)
    usable = np.ones((2, EPOCH_S), bool)
    usable[1, 3:11] = False
    for power in measured(signal, modality, usual_token_s(modality), usable):
        np.testing.assert_allclose(power, 0, atol=1e-6)
    nothing = one_channel(signal, np.zeros_like(usable), modality, usual_token_s(modality))
    np.testing.assert_allclose(nothing, SILENT, atol=1e-6)


def test_beyond_its_ends_an_epoch_is_reflected():
    """A wave that is even about both ends goes on as it was."""
    samples = np.arange(EPOCH_S * EEG_HZ)
    even = np.cos(np.pi * samples * 2 * 2 * EPOCH_S / (len(samples) - 1))  # 2 Hz, but for a sample
    for look, power in zip(looks_of(Modality.EEG, 1), measured(even[None], Modality.EEG, 1), strict=True):
        own = np.argmax(power[0].mean(0))
        middle = np.median(power[0, :, own])
        np.testing.assert_allclose(power[0, [0, -1], own], middle, rtol=0.05, err_msg=str(look))


def test_every_modality_and_length_of_token_has_its_features():
    checked = 0
    for modality in MODALITIES:
        if modality.facts.is_code:
            continue
        for token_s in (1, 3, 5, 30):
            if token_s * RATE_HZ[modality] < 2:
                continue
            width = n_features(modality, token_s)
            x = jax.eval_shape(
                lambda s, u, m=modality, n=token_s: features(s, u, m, n),
                jax.ShapeDtypeStruct((2, 3, EPOCH_S * RATE_HZ[modality]), np.float32),
                jax.ShapeDtypeStruct((2, 3, EPOCH_S), bool),
            )
            assert x.shape == (2, 3, EPOCH_S // token_s, width) and x.dtype == np.float32
            assert 0 < width < 64 * token_s
            checked += 1
    assert checked > 25


def test_tokens_of_any_length_measure_the_same_windows():
    signal = np.random.default_rng(0).standard_normal((1, EPOCH_S * EEG_HZ))
    for one, six in zip(measured(signal, Modality.EEG, 1), measured(signal, Modality.EEG, 6), strict=True):
        np.testing.assert_allclose(one, six, rtol=1e-3, atol=1e-5)


def test_channels_do_not_hear_each_other():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((2, 3, EPOCH_S * EEG_HZ)).astype(np.float32)
    usable = rng.random((2, 3, EPOCH_S)) > 0.2
    together = np.asarray(compiled(signal, usable, Modality.EEG, 1)).reshape(6, EPOCH_S, -1)
    alone = one_channel(signal.reshape(6, -1), usable.reshape(6, -1), Modality.EEG, 1)
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_nothing_is_differentiated():
    signal = np.random.default_rng(0).standard_normal((1, 1, EPOCH_S * EEG_HZ)).astype(np.float32)
    usable = np.ones((1, 1, EPOCH_S), bool)
    gradient = jax.jit(jax.grad(lambda s: features(s, usable, Modality.EEG, 1).sum()))(signal)
    assert not np.asarray(gradient).any()


def test_a_band_without_a_bin_is_refused():
    with pytest.raises(ValueError, match="holds no bin; expected a wider band or a longer window"):
        filters(replace(FAST, bands_hz=((1.2, 1.8),)), EEG_HZ)
