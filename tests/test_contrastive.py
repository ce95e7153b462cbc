"""Contrast between modalities against plain numpy, and the same on one device as on four."""

import numpy as np
import pytest

from sleepmami_jax.objectives.contrastive import leave_one_out, unit
from tests.meshes import BATCH, M, on_one_device, same_on_four


def contrast_case(seed=0):
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((BATCH, M, 5)).astype(np.float32)
    present = rng.random((BATCH, M)) < 0.7
    present[0] = np.arange(M) == 2  # one modality alone has nothing to be told apart from
    return raw, present


def leave_one_out_by_loops(raw, present, log_scale):
    z = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    valid = [(b, m) for b, m in np.argwhere(present) if present[b].sum() > 1]

    def rest(b, m):
        total = sum(z[b, other] for other in range(M) if other != m and present[b, other])
        return total / np.linalg.norm(total)

    losses, found = [], []
    for b, m in valid:
        rivals = [g for g, other in valid if other == m]
        forth = np.array([z[b, m] @ rest(g, m) for g in rivals]) * np.exp(log_scale)
        back = np.array([rest(b, m) @ z[g, m] for g in rivals]) * np.exp(log_scale)
        own = rivals.index(b)
        losses += [np.log(np.exp(v).sum()) - v[own] for v in (forth, back)]
        found.append(forth.argmax() == own)
    return np.mean(losses), np.mean(found)


@pytest.fixture(scope="module")
def contrast():
    """The compiled loss: (raw vectors, present, log_scale) -> loss, accuracy."""
    return on_one_device(lambda raw, present, scale, axes: leave_one_out(unit(raw), present, scale, axes))


def test_leave_one_out_equals_plain_infonce(contrast):
    raw, present = contrast_case()
    found = contrast(raw, present, np.float32(1.2))
    np.testing.assert_allclose(found, leave_one_out_by_loops(raw, present, 1.2), atol=1e-6)


def test_the_learnt_temperature_stops_at_one_hundredth(contrast):
    raw, present = contrast_case()
    at = [contrast(raw, present, np.float32(scale))[0] for scale in (np.log(100), 20.0)]
    assert at[0] == pytest.approx(at[1], rel=1e-5)


def test_leave_one_out_is_the_same_on_four_devices():
    raw, present = contrast_case()
    linear = np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)

    def loss(params, batch, keys, axes):
        value, found = leave_one_out(
            unit(batch["raw"] @ params["w"]), batch["present"], params["scale"], axes
        )
        return value, {"found": found}

    value = same_on_four(loss, {"w": linear, "scale": np.float32(1)}, {"raw": raw, "present": present})
    assert value == pytest.approx(leave_one_out_by_loops(raw @ linear, present, 1)[0], abs=1e-5)
