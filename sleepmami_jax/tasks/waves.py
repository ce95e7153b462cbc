"""Waves of the EEG: spindles and K-complexes. As marked, and told as the field does: per minute of N2 and N3.

Their densities are counted in `tasks.indices`.
"""

from dataclasses import replace

from data_pipeline.tasks import K_COMPLEX, SPINDLE, Task
from sleepmami_jax.tasks.room import Room, own_room
from sleepmami_jax.tasks.stages import MOST_CYCLES


def _room(task: Task) -> Room:
    plain, parts = own_room(task), {"n2_n3": "N2 and N3", "n2": "N2", "n3": "N3"}
    parts |= {f"cycle{n}": f"cycle {n}" for n in range(1, MOST_CYCLES + 1)}
    densities = (
        (f"{task.name}_density_{part}_per_min", f"Density in {words}", "/min") for part, words in parts.items()
    )
    return replace(plain, rows=(*plain.rows, *densities))


ROOMS = (_room(SPINDLE), _room(K_COMPLEX))
