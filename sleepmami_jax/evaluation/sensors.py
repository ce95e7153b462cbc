"""Which sensors a model is shown: some of its channels, as if the others had never been recorded."""

from __future__ import annotations

from collections.abc import Sequence

from data_pipeline.nearest import suggestion
from sleepmami_jax.data.arrays import Slots


def channels_of(names: Sequence[str], slots: Slots) -> tuple[str, ...]:
    """The channels that `names` stand for, in the model's order.

    Args:
      names: channels such as "C4", or modalities such as "EEG", which stand for all their channels.
      slots: what the model looks at.

    Raises:
      ValueError: a name that is neither, or that this model does not look at; the nearest one is named.
    """
    known = {slot: (slot,) for names in slots.values() for slot in names}
    known |= {modality.value: names for modality, names in slots.items()}
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is no channel that this model looks at{suggestion(name, known)}")
    chosen = {slot for name in names for slot in known[name]}
    if not chosen:
        raise ValueError("no channel is named: nothing would be left to look at")
    return tuple(slot for names in slots.values() for slot in names if slot in chosen)
