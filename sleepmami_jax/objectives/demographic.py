"""Demographic-Guided Contrastive Learning (DGCL): how alike two nights should be is how alike the two people are.

    w_ij = sum_f lambda_f k_f(i, j) / sum_f lambda_f        over the factors known of both
    L = - mean_i sum_{j != i} (w_ij / sum_{k != i} w_ik) log softmax_j (z_i . z_j / tau)

Age and BMI have Gaussian kernels, sex an equality kernel, and the identity kernel joins the views of one person's
nights, so that a night of which nothing is known still learns. With the identity alone, and nights of as many people,
this is NT-Xent (SimCLR, Chen et al. 2020).
The paper gives the idea and not the formula; this one is of the family of y-aware InfoNCE (Dufumier et al. 2021).

With `rule="class"` w_ij is 1 for views of one person and for two people who agree in every factor that has weight
and is known of both, of which there must be one; otherwise 0. This is supervised contrast (SupCon, Khosla et al.
2020, equation 2), the ablation that asks what the distances add.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sleepmami_jax.config import KernelConfig
from sleepmami_jax.models.transformer import MASKED
from sleepmami_jax.objectives.parts import against_all
from sleepmami_jax.objectives.reduce import global_index, global_mean

NIGHTS_AT_ONCE = 512


def similarity(
    people: dict[str, jax.Array], others: dict[str, jax.Array], same: jax.Array, kernel: KernelConfig
) -> jax.Array:
    """(A, B) how alike, in [0, 1]; 0 or 1 with `kernel.rule="class"`.

    Args:
      people, others: `age_years`, `bmi`, `sex` and a `_known` bool of each, (A,) and (B,).
      same: (A, B) bool, one and the same person.
      kernel: weights and bandwidths. A factor without weight does not count, whatever the rule.
    """
    total = kernel.identity * same.astype(jnp.float32)
    weight = jnp.full(same.shape, kernel.identity, jnp.float32)
    common, agree = jnp.zeros_like(same), jnp.ones_like(same)
    for name, strength, width in (
        ("age_years", kernel.age, kernel.age_years),
        ("bmi", kernel.bmi, kernel.bmi_kg_m2),
        ("sex", kernel.sex, None),
    ):
        if not strength:
            continue
        known = people[f"{name}_known"][:, None] & others[f"{name}_known"][None, :]
        difference = people[name][:, None] - others[name][None, :]
        close = difference == 0 if width is None else jnp.abs(difference) <= width
        alike = close if width is None else jnp.exp(-0.5 * (difference / width) ** 2)
        total = total + strength * jnp.where(known, alike, 0.0)
        weight = weight + strength * known
        common, agree = common | known, agree & (close | ~known)
    if kernel.rule == "class":
        return (same | (common & agree)).astype(jnp.float32)
    return total / jnp.maximum(weight, 1e-6)


def dgcl(
    z: jax.Array,  # (2, N, P) unit vectors of two views of this device's nights
    people: dict[str, jax.Array],  # demographics of the nights, (N,)
    person: jax.Array,  # (N,) int, whose nights they are
    kernel: KernelConfig,
    temperature: float,
    axes,
    nights_at_once: int = NIGHTS_AT_ONCE,
) -> tuple[jax.Array, jax.Array]:
    """The loss over the global batch, and the share of views that are nearer to the other one than to any stranger."""
    z = z.astype(jnp.float32).swapaxes(0, 1)  # (N, 2, P)
    own = global_index(len(z), axes)

    def against(others):
        """Each view against both views of the others, (N, 2) each.

        The logsumexp of the logits, their sum weighted by how alike the nights are, the sum of these weights, the
        logit of the night's other view and the largest of other people's. A view is not compared with itself.
        """
        their_z, their_people, whose, place = others
        same = person[:, None] == whose  # (N, K)
        alike = similarity(people, their_people, same, kernel)[:, None, :, None]
        logits = jnp.einsum("nvp,kwp->nvkw", z, their_z, precision="highest") / temperature
        night = (own[:, None] == place)[:, None, :, None]
        itself = night & jnp.eye(2, dtype=bool)[:, None]  # (N, 2, K, 2)
        target = jnp.where(itself, 0.0, alike)
        others = jnp.where(itself, MASKED, logits)
        return (
            jax.nn.logsumexp(others, (2, 3)),
            (target * jnp.where(itself, 0.0, logits)).sum((2, 3)),
            target.sum((2, 3)),
            jnp.where(night, others, MASKED).max((2, 3)),
            jnp.where(same[:, None, :, None], MASKED, others).max((2, 3)),
        )

    parts = against_all(against, (z, people, person, own), nights_at_once, axes)
    total, agreement, weight, other_view, rival = parts
    weight = weight.sum(0)
    losses = weight * jax.nn.logsumexp(total, 0) - agreement.sum(0)
    # Without the identity kernel a night may be like no other: its loss is then 0, not 0/0.
    loss, _ = global_mean(losses / jnp.maximum(weight, 1e-12), 1.0, axes)
    accuracy, _ = global_mean(other_view.max(0) > rival.max(0), 1.0, axes)
    return loss, accuracy


def view_mask(key: jax.Array, present: jax.Array, crop: float, drop_modality: float, drop_epochs: float):
    """(E, M) -> (E, M) bool: one random view of a night, as what of it may be seen.

    A crop of consecutive epochs at least `crop` of the night long, without some epochs and some modalities; at least
    one modality that is there is kept.
    """
    epochs, modalities = present.shape
    # One draw for everything: each random call is a large program to compile.
    draw = jax.random.uniform(key, (2 + 2 * modalities + epochs,))
    share, place_draw = crop + (1 - crop) * draw[0], draw[1]
    modality_draw, stay_draw, epoch_draw = jnp.split(draw[2:], [modalities, 2 * modalities])
    there = present.any(-1)
    length = there.sum()
    kept = jnp.ceil(length * share)
    start = jnp.floor(place_draw * (length - kept + 1))
    place = jnp.cumsum(there) - 1  # among the night's epochs
    inside = (place >= start) & (place < start + kept) & there
    inside &= epoch_draw >= drop_epochs
    seen = (present & inside[:, None]).any(0)
    stays = jnp.argmax(jnp.where(seen, stay_draw, -1.0))
    dropped = (modality_draw < drop_modality).at[stays].set(False)
    return present & inside[:, None] & ~dropped[None]
