"""RERAs (respiratory effort-related arousals, AASM VIII): breathing against resistance that ends in an arousal.

That the effort rises or the flow is flattened, and that no hypopnea is there, is the rule of who scored the nights that
the model learnt from; here one is taken as marked. Its arousal is asked for where it counts: in the RDI.
"""

from dataclasses import replace

from data_pipeline.night import BREATHING_EVENTS
from data_pipeline.tasks import RERA
from sleepmami_jax.tasks.room import own_room

ROOM = replace(own_room(RERA), disturbed_by=BREATHING_EVENTS)
"""No RERA where an apnea or hypopnea is."""
