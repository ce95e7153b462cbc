"""Metrics to Weights & Biases, which keeps them on a server, or with `WANDB_MODE=offline` in the workdir."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from data_pipeline.whole_files import write_whole
from sleepmami_jax.config import ConfigError

ID = "wandb.id"
"""A file in the workdir: what the service calls this run, the same after each start."""


class WeightsAndBiases:
    """One run of a project. Only metrics and the configuration go there: no night's name, no signal.

    Metrics stand over their own step, so that steps which a restart did again lie on those before.

    Args:
      folder: where the run's id and the service's own files are kept.
      project: its name.
      name: of the run, for people.
      config: nested, as `config.to_dict` gives it, but for the folders that it names.
    """

    def __init__(self, folder: Path, project: str, name: str, config: dict[str, Any]) -> None:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"wandb={project!r}: wandb is not installed; `pip install 'sleepmami[wandb]'`, or set wandb=null"
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ID).exists():
            write_whole(folder / ID, secrets.token_hex(8))
        run = (folder / ID).read_text()
        self._run = wandb.init(project=project, name=name, id=run, resume="allow", dir=str(folder), config=config)
        self._run.define_metric("*", step_metric="step")

    def rewind(self, step: int) -> None:
        """Nothing is forgotten there."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """The values of one step."""
        self._run.log({"step": step, **values})

    def close(self) -> None:
        self._run.finish()
