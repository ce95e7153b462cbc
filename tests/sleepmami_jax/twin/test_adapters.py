"""The adapters are what the libraries expect, where those are installed; what they share is tested without them."""

import importlib
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from sleepmami_jax.twin.folder import FILES, read_twin, twin_module

torch = pytest.importorskip("torch", reason="needs `pip install -e .[torch]`")

CHANNELS = ["EEG C4-M1", "E1-M2", "Chin", "SPO2"]
LACKING = """
import sys
for name in ("braindecode", "sklearn", "skorch", "physioex", "scipy", "jax", "sleepmami_jax", "data_pipeline"):
    sys.modules[name] = None  # importing it is an error
sys.path.insert(0, sys.argv[1])
import numpy as np
from sleepmami_adapters import BraindecodeSleepMaMi, PhysioExSleepMaMi, SleepMaMiClassifier
x = 20 * np.random.default_rng(0).standard_normal((1, 2, 1, 3000))
assert PhysioExSleepMaMi(sys.argv[1], ["C4"]).encode(__import__("torch").from_numpy(x)).shape[:2] == (1, 2)
for build in (lambda: SleepMaMiClassifier(sys.argv[1]), lambda: BraindecodeSleepMaMi.from_pretrained(sys.argv[1])):
    try:
        build()
    except ImportError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def adapters():
    """`sleepmami_adapters`, with whatever it finds installed."""
    twin_module()
    sys.path.insert(0, str(FILES))
    yield importlib.import_module("sleepmami_adapters")
    sys.path.remove(str(FILES))


def library(name: str):
    """A module, or the reason why the test is skipped. One of torchaudio's libraries may not load: an OSError."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        pytest.skip(f"{name} cannot be imported ({error}); docs/export.md says how it is installed")


def windows(n: int, epochs: int = 1, rate_hz: int = 100, seed: int = 0) -> np.ndarray:
    """(n, 4, T) float32: noise as large as `CHANNELS` are, in microvolts and per cent."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 4, epochs * 30 * rate_hz)) * np.array([20, 30, 8, 1])[:, None]
    x[:, 3] = 95 + np.round(x[:, 3])
    return x.astype(np.float32)


def said(adapters, folder, x, channels=CHANNELS, rate_hz=100, unit="uV", model=None):
    """What both encoders say of windows: epochs (B, E, D), vector (B, Dm)."""
    with torch.no_grad():
        return adapters.Encoder(model or adapters.load(folder), channels, rate_hz, unit)(x)


# ------------------------------------------------------------------------------------------------ what is shared


def test_it_says_what_the_model_says_of_the_same_night(adapters, unmeasured):
    model = adapters.load(unmeasured)
    (x,) = windows(1, epochs=4)
    epochs, vector = said(adapters, unmeasured, x[None], model=model)
    names = ("C4-M1", "E1-M2", "CHIN", "SPO2")
    night = model.score_arrays({name: (samples, 100.0) for name, samples in zip(names, x, strict=True)})
    np.testing.assert_allclose(vector[0].numpy(), night["vector"], atol=1e-5)
    assert epochs.shape == (1, 4, adapters.width_of(model))
    stages = model.heads["stages"](epochs[0, :, -model.macro.norm.weight.numel() :]).softmax(-1)
    np.testing.assert_allclose(stages.detach().numpy(), night["probabilities"]["stages"], atol=1e-5)


def test_windows_do_not_see_each_other(adapters, unmeasured):
    x = windows(3, epochs=2)
    together, alone = said(adapters, unmeasured, x), said(adapters, unmeasured, x[1:2])
    for both, one in zip(together, alone, strict=True):
        np.testing.assert_allclose(both[1:2].numpy(), one.numpy(), atol=1e-5)


def test_a_channel_that_is_zero_is_as_one_that_is_not_there(adapters, unmeasured):
    x = windows(2, epochs=2)
    x[:, 1:] = 0
    for zero, missing in zip(
        said(adapters, unmeasured, x), said(adapters, unmeasured, x[:, :1], CHANNELS[:1]), strict=True
    ):
        np.testing.assert_array_equal(zero.numpy(), missing.numpy())
    assert np.abs(said(adapters, unmeasured, x)[0].numpy()).max() > 0
    epochs, vector = said(adapters, unmeasured, np.zeros_like(x))
    assert not epochs.any() and np.isfinite(vector.numpy()).all()


@pytest.mark.parametrize("rate_hz", [100, 128, 250, 257 / 1.5])
def test_any_rate(adapters, unmeasured, rate_hz):
    """The same waves at another rate are nearly the same to the model."""
    at = lambda hz: np.arange(round(60 * hz)) / hz  # noqa: E731
    waves = lambda t: 20 * sum(np.sin(2 * np.pi * f * t + f) for f in (1.3, 2.9, 6.1, 11.7, 13.3))  # noqa: E731
    expected = said(adapters, unmeasured, waves(at(200))[None, None], ["C4"], 200)[0].numpy()
    found = said(adapters, unmeasured, waves(at(rate_hz))[None, None], ["C4"], rate_hz)[0].numpy()
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("unit", ["uV", "mV", "V"])
def test_units(adapters, unmeasured, unit):
    x = windows(1, epochs=2)
    expected = said(adapters, unmeasured, x)[0].numpy()
    factor = {"uV": 1, "mV": 1e-3, "V": 1e-6}[unit]
    given = x * np.array([factor, factor, factor, 1], np.float32)[:, None]
    np.testing.assert_allclose(said(adapters, unmeasured, given, unit=unit)[0].numpy(), expected, atol=1e-3)
    for wrong in {"uV", "mV", "V"} - {unit}:
        with pytest.raises(ValueError, match=rf'C4, E1, CHIN cannot be in {wrong}: .* try unit="{unit}"'):
            said(adapters, unmeasured, given, unit=wrong)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unit": "volts"}, "unit 'volts': expected one of uV, mV, V"),
        ({"x": windows(1) / windows(1).std(-1, keepdims=True)}, "cannot be in uV: .* not standardised"),
        ({"channels": ["A", "B", "C", "D"]}, "the model knows none of them"),
        ({"channels": ["C4-M1", "EEG C4", "E1", "SPO2"]}, "'C4-M1' and 'EEG C4' are both C4"),
        ({"x": windows(1)[:, :3]}, r"expected \(windows, 4 channels, samples\)"),
        ({"x": windows(1)[..., :2500]}, "windows of 25 s at 100 Hz: expected a whole number of 30 s"),
    ],
)
def test_what_cannot_be_is_refused_by_name(adapters, unmeasured, change, says):
    with pytest.raises(ValueError, match=says):
        said(adapters, unmeasured, **{"x": windows(1)} | change)


def test_what_the_model_does_not_know_is_named(adapters, unmeasured):
    with pytest.warns(UserWarning, match=r"\['Fpz-Cz'\] are left out"):
        said(adapters, unmeasured, windows(1), ["Fpz-Cz", *CHANNELS[1:]])


def test_libraries_that_are_not_there_are_asked_for_when_they_are_used(unmeasured, tmp_path):
    done = subprocess.run(
        [sys.executable, "-P", "-c", LACKING, str(unmeasured)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "SleepMaMiClassifier needs scikit-learn (pip install 'scikit-learn')" in done.stdout
    assert "BraindecodeSleepMaMi needs braindecode>=1.8 (pip install 'braindecode>=1.8')" in done.stdout


# --------------------------------------------------------------------------------------------------- braindecode


@pytest.fixture
def network(adapters, unmeasured):
    library("braindecode")
    info = [{"ch_name": name} for name in CHANNELS]
    return adapters.BraindecodeSleepMaMi.from_pretrained(
        unmeasured, n_outputs=3, chs_info=info, n_times=3000, sfreq=100
    )


def test_braindecode_trains_it_and_it_comes_home(network, unmeasured, tmp_path):
    EEGClassifier = library("braindecode").EEGClassifier
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = windows(4), np.array([0, 1, 2, 0])
    classifier = EEGClassifier(
        network, optimizer=torch.optim.AdamW, lr=1e-3, batch_size=2, max_epochs=1, train_split=None, verbose=0
    )
    classifier.fit(x, y)
    assert classifier.predict_proba(x).shape == (4, 3)
    after = network.state_dict()
    for part in ("encoder.model.micro.", "encoder.model.macro.", "final_layer."):
        assert any((after[n] != before[n]).any() for n in after if n.startswith(part)), part
    network.model.save(tmp_path / "tuned")
    home, first = read_twin(tmp_path / "tuned"), read_twin(unmeasured)
    assert home.digest() != first.digest() and home.config == first.config


def test_braindecodes_own_ways(adapters, network, tmp_path):
    x = torch.from_numpy(windows(2))
    features = network(x, return_features=True)
    assert features["cls_token"] is None
    assert features["features"].shape == (2, network.final_layer.in_features)
    assert network.get_output_shape() == (1, 3) and (network.n_chans, network.n_times, network.sfreq) == (4, 3000, 100)
    assert "final_layer" in str(network)
    library("huggingface_hub")
    network.save_pretrained(tmp_path / "saved")
    again = adapters.BraindecodeSleepMaMi.from_pretrained(tmp_path / "saved").eval()
    np.testing.assert_array_equal(again(x).detach().numpy(), network.eval()(x).detach().numpy())
    other = adapters.BraindecodeSleepMaMi.from_pretrained(tmp_path / "saved", n_outputs=7)
    assert other(x).shape == (2, 7) and other.n_outputs == 7
    network.reset_head(2)
    assert network(x).shape == (2, 2) and network.n_outputs == 2


# ------------------------------------------------------------------------------------------------------ physioex


def test_a_sequence_is_one_stretch_of_a_night(adapters, unmeasured):
    network = adapters.PhysioExSleepMaMi(unmeasured, CHANNELS, n_classes=5)
    x = windows(2, epochs=3)
    sequences = torch.from_numpy(x).unflatten(2, (3, 3000)).transpose(1, 2)
    assert sequences.shape == (2, 3, 4, 3000)
    expected = said(adapters, unmeasured, x)[0]
    np.testing.assert_array_equal(network.encode(sequences).detach().numpy(), expected.numpy())
    assert expected.shape[-1] == network.embedding_dim and network(sequences).shape == (2, 3, 5)
    with pytest.raises(ValueError, match=r"expected \(B, L, C, 3000\) at 100 Hz"):
        network.encode(sequences[..., :2000])


def test_physioex_trains_it_and_embeds_a_night(adapters, unmeasured, tmp_path):
    trainer, embed = library("physioex.train.trainer"), library("physioex.models.embed")
    network = adapters.PhysioExSleepMaMi(unmeasured, CHANNELS[:1], n_classes=5)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.from_numpy(windows(2, epochs=3)[:, :1]).unflatten(2, (3, 3000)).transpose(1, 2)
    loader = torch.utils.data.DataLoader([(one, torch.tensor([0, 1, 2])) for one in x], batch_size=2)
    trainer.Trainer.train(network, (loader, loader), checkpoint_path=str(tmp_path), max_epochs=1, logger="none")
    after = network.state_dict()
    for part in ("encoder.model.micro.", "encoder.model.macro.", "clf."):
        assert any((after[n] != before[n]).any() for n in after if n.startswith(part)), part
    found = embed._extract_subject_sliding(network, x.flatten(0, 1)[None], 2, torch.device("cpu"))
    assert found.shape == (6, network.embedding_dim)


# ---------------------------------------------------------------------------------------------- NeuroAtlas-bench


def neuroatlas_batch(x: np.ndarray) -> dict:
    meta = {"dataset": "ours", "subject_id": 1, "sampling_rate": 100.0, "unit": "uV", "channels": CHANNELS}
    rows = len(x) if x.ndim < 4 else x.shape[0] * x.shape[1]
    return {"signals": {"eeg": torch.from_numpy(x)}, "label": torch.zeros(rows), "meta": [meta] * rows}


@pytest.fixture(params=["stand-in", "neuroatlas"])
def backbone(request, adapters, unmeasured):
    """Of the library's own `CheckpointSpec` where it is installed, and of what it has of it."""
    facts = {"identifier": "sleepmami", "model_family": "sleepmami", "embedding_key": "embedding"}
    if request.param == "stand-in":
        spec = SimpleNamespace(**facts, embedding_dim=None, checkpoint_path=str(unmeasured))
    else:
        helpers = library("neuroatlas.benchmarking_helpers")
        needed = {"variant": "tiny", "source_type": "local", "source_reference": "", "input_kind": "raw_timeseries"}
        expects = {"expected_channels": (), "expected_sampling_rate": None, "expected_epoch_seconds": 30.0}
        spec = helpers.CheckpointSpec(**facts, **needed, **expects, checkpoint_path=str(unmeasured))
    return adapters.NeuroAtlasSleepMaMi(spec, "cpu")


def test_neuroatlas_embeds_windows_and_sequences(adapters, backbone, unmeasured):
    x = windows(2, epochs=2)
    epochs, vector = said(adapters, unmeasured, x)
    found = backbone.extract_embeddings(neuroatlas_batch(x))
    np.testing.assert_array_equal(found, adapters.of_windows(epochs, vector).numpy())
    assert found.dtype == np.float32 and backbone.metadata()["checkpoint_id"] == "sleepmami"
    batch = neuroatlas_batch(x.reshape(2, 4, 2, 3000).swapaxes(1, 2))
    np.testing.assert_array_equal(backbone.extract_embeddings(batch), epochs.flatten(0, 1).numpy())
    np.testing.assert_array_equal(backbone.extract_embeddings(batch | {"_seq_target_idx": 1}), epochs[:, 1].numpy())
    assert backbone.forward_features(batch).requires_grad


@pytest.mark.parametrize("name", ["channels", "sampling_rate", "unit"])
def test_a_batch_that_does_not_say_what_it_holds(backbone, name):
    batch = neuroatlas_batch(windows(2))
    batch["meta"] = [batch["meta"][0], {k: v for k, v in batch["meta"][1].items() if k != name}]
    with pytest.raises(ValueError, match=f"meta: expected '{name}', the same for each window"):
        backbone.extract_embeddings(batch)


# -------------------------------------------------------------------------------------------------- scikit-learn


def test_scikit_learn(adapters, unmeasured):
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y, groups = windows(6), np.array(["wake", "sleep"] * 3), [0, 0, 1, 1, 2, 2]
    x[y == "sleep", 1:3] = 0
    given = adapters.SleepMaMiClassifier(str(unmeasured), channels=CHANNELS, sfreq=100)
    same = clone(given)
    assert same.get_params() == given.get_params() and same.get_params()["unit"] == "uV"
    assert cross_val_score(given, x, y, groups=groups, cv=GroupKFold(3), error_score="raise").shape == (3,)
    fitted = make_pipeline(given).fit(x, y)
    assert list(fitted.classes_) == ["sleep", "wake"] and fitted.score(x, y) == 1
    proba = fitted.predict_proba(x)
    assert proba.shape == (6, 2) and np.allclose(proba.sum(1), 1)
    features = make_pipeline(given, StandardScaler(), LogisticRegression()).fit(x, y)
    assert (features.predict(x) == y).all()


def test_scikit_learn_on_nights(adapters, unmeasured):
    """A dictionary says what an array of the same says; nights may differ in length."""
    x, y = windows(3, epochs=2), [0, 1, 0]
    of_arrays = adapters.SleepMaMiClassifier(str(unmeasured), channels=CHANNELS, sfreq=100).fit(x, y)
    names = ("C4-M1", "E1", "CHIN", "SPO2")
    nights = [{name: (s, 100.0) for name, s in zip(names, night, strict=True)} for night in x]
    of_nights = adapters.SleepMaMiClassifier(str(unmeasured)).fit(nights, y)
    np.testing.assert_allclose(of_nights.transform(nights), of_arrays.transform(x), atol=1e-5)
    short = {name: (s[:3000], rate) for name, (s, rate) in nights[0].items()}
    assert len(of_nights.predict([nights[1], short])) == 2
    with pytest.raises(ValueError, match="expected `channels` and `sfreq`"):
        of_nights.transform(x)
    from sklearn.model_selection import GroupKFold, cross_val_score

    scores = cross_val_score(of_nights, nights * 2, [0, 1, 0, 1, 0, 1], groups=[0, 0, 0, 1, 1, 1], cv=GroupKFold(2))
    assert np.isfinite(scores).all()
