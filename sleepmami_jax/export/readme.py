"""The card of a model folder, `README.md`: what a reader must know of the model, in plain Markdown.

It begins with the front matter by which the Hugging Face hub sorts models; the first line that a reader sees says whose
nights the model has learned from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from data_pipeline.modalities import RATE_HZ, Modality
from data_pipeline.tasks import Task, TaskKind
from sleepmami_jax.config import ModelConfig

SIMULATED = "simulated"
"""The cohort of nights that `sleepmami simulate` made."""
LICENCE = "Apache-2.0"
RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment."
REPOSITORY, PACKAGE = "sleepmami-jax", "sleepmami"

_FRONT = """---
license: {licence}
library_name: {library}
pipeline_tag: feature-extraction
tags:
- sleep
- polysomnography
- eeg
- {framework}
---
"""
FRAMEWORKS = {REPOSITORY: "jax", "transformers": "pytorch"}
"""Library that loads the folder -> what it computes with."""

_USE = """```
pip install {package}
sleepmami diagnose night.edf
sleepmami score night.edf --model FOLDER --out night
```"""

_LIMITS_OF_SIMULATION = (
    "Simulated nights are simpler than people: what is measured on them says that the parts work, and nothing about\n"
    "  how well this model reads a recording of a person. Compare it with a scoring of your own (`--scoring`) first.",
    "Thresholds of events and the population that a night is compared with come from simulated nights too.",
)
_LIMITS = (
    "It was measured on no other nights than those of its results; those of another laboratory, montage, age or\n"
    "  disorder may be read worse, without a sign of it.",
    "A sensor that is missing is masked, and what depends on it is told less well or not at all; the report names it.",
)


def trained_on(card: dict[str, Any]) -> str:
    """Whose nights a model learned from, in words that go on from "trained on".

    >>> trained_on({"training": []})
    'nothing: its parameters are random'

    Args:
      card: as of a `ModelFolder`.
    """
    training = card["training"]
    cohorts = sorted({cohort for phase in training for cohort in phase["cohorts"]})
    if not cohorts:
        return "nothing: its parameters are random"
    if adapted := card.get("adapted"):
        nights = ", ".join(cohorts) if cohorts != [SIMULATED] else "simulated nights only"
        return f"{nights}; then adapted to {adapted['nights']} nights without labels"
    if cohorts == [SIMULATED]:
        return "simulated nights only; it has never seen a recording of a person"
    return f"up to {max(phase['nights'] or 0 for phase in training)} nights of {', '.join(cohorts)}"


def model_name(card: dict[str, Any]) -> str:
    """The name of the run that a model came from last."""
    return card["training"][-1]["name"] if card["training"] else "untrained"


def readme(
    config: ModelConfig,
    tasks: Sequence[Task],
    thresholds: dict[str, float],
    card: dict[str, Any],
    numbers: str,
    use: str = _USE.format(package=PACKAGE),
    library: str = REPOSITORY,
) -> str:
    """The card as Markdown; arguments as of a `ModelFolder`.

    Args:
      numbers: how many parameters there are, and how they are stored, in words.
      use: how it is used, in Markdown.
      library: of `FRAMEWORKS`.
    """
    simulated = {cohort for phase in card["training"] for cohort in phase["cohorts"]} == {SIMULATED}
    limits = (*(_LIMITS_OF_SIMULATION if simulated else ()), *_LIMITS)
    parts = {
        "What it reads": "\n".join(_reads(config)),
        "What it says": "\n".join(_says(tasks, thresholds)),
        "How it was trained": "\n".join(_trained(card)),
        "Measured": card.get("results", "").strip() or "Nothing is measured yet.",
        "Limits": "\n".join(f"- {limit}" for limit in limits),
        "Use": use,
        "Licence": f"{LICENCE}, as the program's. {RESEARCH_USE}",
    }
    front = _FRONT.format(licence=LICENCE.lower(), library=library, framework=FRAMEWORKS[library])
    begin = f"{front}\nTrained on {trained_on(card)}.\n\n# {model_name(card)}\n\n{RESEARCH_USE} {numbers}\n"
    return begin + "".join(f"\n## {title}\n\n{text}\n" for title, text in parts.items())


def _reads(config: ModelConfig) -> Iterator[str]:
    yield "A whole night of any non-empty set of these channels, at any rate; each is brought to the rate given:\n"
    for name in Modality:
        if (modality := config.modalities[name]) is not None:
            yield f"- {name}: {', '.join(modality.slots)} ({RATE_HZ[name]} Hz)"


def _says(tasks: Sequence[Task], thresholds: dict[str, float]) -> Iterator[str]:
    yield "- a vector of the night, and micro tokens of each epoch"
    for task in tasks:
        needs = " or ".join(task.needs)
        if task.kind is TaskKind.STAGES:
            yield f"- stages W, N1, N2, N3, REM of each epoch of 30 s, from {needs}"
        else:
            kinds = ", ".join(" or ".join(kinds).replace("_", " ") for kinds in task.events)
            above = thresholds.get(task.name)  # none until fitted
            called = "" if above is None else f"; called above a probability of {above:g}"
            yield f"- {task.plural} ({kinds}), from {needs}{called}"


def _trained(card: dict[str, Any]) -> Iterator[str]:
    if not card["training"]:
        yield "Not at all."
        return
    yield "| run | objective | steps | seed | nights | people | hours | cohorts |"
    yield "|---|---|---|---|---|---|---|---|"
    for phase in card["training"]:
        told = [phase[fact] for fact in ("name", "objective", "steps", "seed", "nights", "subjects", "hours")]
        yield f"| {' | '.join('?' if fact is None else str(fact) for fact in told)} | {', '.join(phase['cohorts'])} |"
    for phase in card["training"]:
        for model, nights in phase.get("silver", {}).items():
            count = "1 night" if nights == 1 else f"{nights} nights"
            yield f"\n{phase['name']}: {count} with silver labels by {model}, a model's scoring and no person's."
    if adapted := card.get("adapted"):
        yield f"\nThen adapted to {adapted['nights']} nights without labels: {adapted['change']} as in training."
    versions = card["training"][-1].get("versions", {})
    if versions:
        yield f"\nWith {', '.join(f'{name} {number}' for name, number in versions.items())}."
