"""What a model needs to know of its own nights: fitted on some as they are, and on some with something put wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from data_pipeline.night import STAGES as STAGE_NAMES
from data_pipeline.night import Night
from data_pipeline.tasks import STAGES, TaskKind
from sleepmami_jax.config import DataConfig
from sleepmami_jax.data.nights import night_of
from sleepmami_jax.data.source import PreparedFolder, chosen_nights, with_nights
from sleepmami_jax.evaluation.measures import index_of
from sleepmami_jax.metrics.staging import staging_metrics
from sleepmami_jax.pretrained import Pretrained
from sleepmami_jax.run.progress import Progress
from sleepmami_jax.scoring.prediction import Prediction
from sleepmami_jax.tasks import counted_events, rooms_of
from sleepmami_jax.trust.fit import fit_risk, fit_temperature, tempered
from sleepmami_jax.trust.judge import Tokens
from sleepmami_jax.trust.looks import Look, look
from sleepmami_jax.trust.measures import KAPPA_WRONG, chosen, index_is_wrong, of_epochs, of_night
from sleepmami_jax.trust.reference import LEAST_SD, Reference, Risk, usual
from sleepmami_jax.trust.shifts import ALONE, SHIFTS, Shift

AS_THEY_ARE = 0.25
"""Of the cases: what is usual is known from few nights, what can go wrong is many things."""
FEWEST_CASES = 8
LEAST_TOKEN_SD = 1e-3
KAPPA_LOST = 0.1
"""A hypnogram that a shift has made worse by so much is called wrong too."""
NOTHING = Risk((), (), (), 0.0, 0, 0)


@dataclass(frozen=True)
class Case:
    """A night as it is, or with one thing put wrong, and what a model makes of it.

    Attributes:
      shift: what was done to it, "" for nothing.
      changed: slots of the channels that it changed.
      looks, tokens: see `trust.judge`.
      prediction: the model's.
      human_stages: (E,) codes, -1 where nobody scored.
      indices: by name of a task of events that was scored, the index by the model and by the scorer.
    """

    shift: str
    changed: frozenset[str]
    looks: tuple[Look, ...]
    tokens: Tokens
    prediction: Prediction
    human_stages: np.ndarray
    indices: dict[str, tuple[float | None, float | None]]

    @property
    def kappa(self) -> float | None:
        known = (self.human_stages >= 0) & self.prediction.scorable
        return staging_metrics([self.human_stages], [self.prediction.stages])["kappa"] if known.any() else None


def cases_of(model: Pretrained, night: Night, shifts: Sequence[Shift], seed: int) -> Iterator[Case]:
    """The night as it is, then with each of the shifts.

    Args:
      seed: of what a shift leaves to chance.
    """
    clean = {channel.slot: look(channel) for channel in night.channels if not channel.modality.facts.is_side}
    yield _case(model, night, "", frozenset(), clean)
    for place, shift in enumerate(shifts):
        moved = shift.apply(night, np.random.default_rng([seed, place]))
        was = {channel.slot: channel.samples for channel in night.channels}
        same = {channel.slot for channel in moved.channels if channel.samples is was[channel.slot]}
        looks = {c.slot: clean[c.slot] if c.slot in same else look(c) for c in moved.channels if c.slot in clean}
        yield _case(model, moved, shift.name, frozenset(looks) - same, looks)


def _case(model: Pretrained, night: Night, shift: str, changed: frozenset[str], looks: dict[str, Look | None]) -> Case:
    prediction, tokens = model.listen(night)
    scoring, indices = night.scoring, {}
    rooms = [room for room in rooms_of(prediction.tasks) if room.task.name not in prediction.unavailable]
    for room in rooms:
        if scoring is not None and room.task.was_scored(scoring.scored) and "stages" in scoring.scored:
            sides = [prediction.monitored_stages(room.task, s) for s in (prediction.stages, scoring.stages)]
            found = counted_events(room, rooms, prediction.probs, model.thresholds, sides[0])
            said, truth = index_of(room, [found, room.counted(scoring.events, sides[1])], sides)
            indices[room.task.name] = said, truth
    stages = scoring.stages if scoring is not None else np.full(night.n_epochs, -1, np.int8)
    return Case(shift, changed, tuple(filter(None, looks.values())), tokens, prediction, stages, indices)


def fit_reference(
    model: Pretrained, data: DataConfig, *, cases: int, seed: int, progress: Progress
) -> Reference | None:
    """Fits everything on nights of `data`: those for validation, and of those for training as many as are missing.

    Args:
      cases: how many to look at, at most: `AS_THEY_ARE` of them nights as they are, the others validation nights with
        something put wrong.
      seed: decides what.

    Returns:
      None with fewer than `FEWEST_CASES`, or where no night has scored stages: there is nothing to be wrong about.
    """
    clean = round(AS_THEY_ARE * cases)
    validation, training = _nights(data, "val")[:clean], _nights(data, "train")
    nights = validation + training[: clean - len(validation)]
    if cases < FEWEST_CASES or not validation:
        return None
    tick, rng = progress("what is usual, and what is not", cases), np.random.default_rng(seed)
    groups = []
    for place, (folder, index) in enumerate(nights):
        night = night_of(folder, index)
        possible = [shift for shift in SHIFTS if shift.matters and shift.fits(night)]
        most = len(range(place, cases - len(nights), len(validation))) if place < len(validation) else 0
        alone = [ALONE] if most and ALONE.fits(night) else []
        picked = alone + [possible[i] for i in sorted(rng.permutation(len(possible))[: most - len(alone)])]
        groups.append([])
        for case in cases_of(model, night, picked, seed + place):
            groups[-1].append(case)
            tick()
    staged = [group for group in groups if group[0].kappa is not None]
    met = Counter[str]()
    for folder, index in training:
        met.update(folder.manifest.nights[index].stage_counts)
    never = tuple(stage for stage in STAGE_NAMES if training and not met[stage])
    return reference_of(model, staged, never) if staged else None


def _nights(data: DataConfig, split: str) -> list[tuple[PreparedFolder, int]]:
    found = with_nights(replace(data, split=split, scored=True, nights=None, skip=0))
    folders = [PreparedFolder.open(source.folder) for source in found.shards]
    by_folder = [[(folder, n) for n in chosen_nights(folder.manifest, found)] for folder in folders]
    longest = max(map(len, by_folder), default=0)
    return [nights[i] for i in range(longest) for nights in by_folder if i < len(nights)]  # a night of each in turn


def reference_of(model: Pretrained, groups: Sequence[Sequence[Case]], never: tuple[str, ...] = ()) -> Reference:
    """The reference that cases give, those of one night together, the night as it is first; `never` as of it."""
    clean = [group[0] for group in groups]
    looks = [seen for case in clean for seen in case.looks]
    kinds = list(dict.fromkeys(seen.modality for seen in looks))
    reference = Reference(
        looks={str(k): usual(np.stack([seen.shape for seen in looks if seen.modality is k]), LEAST_SD) for k in kinds},
        levels={str(k): usual(np.array([[s.level] for s in looks if s.modality is k]), LEAST_SD) for k in kinds},
        tokens={
            str(k): usual(np.concatenate([x[there] for x, there in of_kind]), LEAST_TOKEN_SD)
            for k in kinds
            if (of_kind := [case.tokens[k] for case in clean if k in case.tokens])
        },
        temperature={},
        epoch=NOTHING,
        epoch_astray=NOTHING,
        night={},
        never=never,
        nights=len(clean),
        shifted=sum(len(group) - 1 for group in groups),
    )
    cases, is_well, best = [], [], []
    shifted = [group for group in groups if len(group) > 1]  # validation nights: the model was trained on the others
    for group in shifted or groups:
        for case in group:
            cases.append(case)
            is_well.append(case.shift in ("", ALONE.name))
            best.append(case.kappa if is_well[-1] else group[0].kappa)
    # As many nights in which all is well as in which something is not: nobody knows the true share.
    well = np.array(is_well)
    weight = np.where(well, 1 / well.sum(), 1 / max((~well).sum(), 1))
    kappas = [case.kappa for case in cases]
    known = [i for i, kappa in enumerate(kappas) if kappa is not None]
    astray = {i: kappas[i] < KAPPA_WRONG or (best[i] or 0) - kappas[i] > KAPPA_LOST for i in known}
    on_course = [i for i in known if not astray[i]] or known
    temperature = _temperature([cases[i] for i in on_course], weight[on_course])
    reference = replace(reference, temperature={STAGES.name: temperature})
    return _with_risks(model, reference, cases, weight, astray)


def _temperature(cases: Sequence[Case], weight: np.ndarray) -> float:
    known = [(case.human_stages >= 0) & case.prediction.scorable for case in cases]
    probs = [case.prediction.stage_probs[k] for case, k in zip(cases, known, strict=True)]
    codes = [case.human_stages[k] for case, k in zip(cases, known, strict=True)]
    counts = [np.full(len(c), w) for c, w in zip(codes, weight, strict=True)]
    return fit_temperature(np.concatenate(probs), np.concatenate(codes), np.concatenate(counts))


def _with_risks(
    model: Pretrained, reference: Reference, cases: Sequence[Case], weight: np.ndarray, astray: Mapping[int, bool]
) -> Reference:
    """`astray`: by place of a case whose kappa is known, whether its stages are wrong."""
    probs = [tempered(case.prediction.stage_probs, reference.temperature[STAGES.name]) for case in cases]
    stages = [case.prediction.stages for case in cases]
    measures = [
        of_night(reference, case.looks, case.tokens, p, s) for case, p, s in zip(cases, probs, stages, strict=True)
    ]
    night: dict[str, Risk] = {}
    staging = next(task for task in model.folder.tasks if task.kind is TaskKind.STAGES)
    known, wrong = list(astray), np.array(list(astray.values()))
    night[STAGES.name] = fit_risk([chosen(measures[i], staging, None) for i in known], wrong, weight[known])
    of_stages = [float(night[STAGES.name](chosen(m, staging, None))) for m in measures]
    for task in model.folder.tasks:
        told = [i for i, case in enumerate(cases) if task.name in case.indices]
        if told:
            own = [chosen(measures[i], task, of_stages[i]) for i in told]
            off = np.array([index_is_wrong(*cases[i].indices[task.name]) for i in told])
            night[task.name] = fit_risk(own, off, weight[told])
    sides = []
    for side in (False, True):
        of_side = [i for i in known if astray[i] == side] or known
        rows, wrong_epochs, counts = [], [], []
        for i in of_side:
            scored = (cases[i].human_stages >= 0) & cases[i].prediction.scorable
            own = of_epochs(reference, cases[i].tokens, probs[i], stages[i])
            rows.append({name: values[scored] for name, values in own.items()})
            wrong_epochs.append(cases[i].human_stages[scored] != stages[i][scored])
            counts.append(np.full(int(scored.sum()), weight[i]))
        sides.append(fit_risk(rows, np.concatenate(wrong_epochs), np.concatenate(counts)))
    return replace(reference, epoch=sides[0], epoch_astray=sides[1], night=night)
