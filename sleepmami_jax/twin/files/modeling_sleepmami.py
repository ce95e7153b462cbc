"""SleepMaMi for transformers: `AutoModel.from_pretrained(FOLDER, trust_remote_code=True)`.

It is the `SleepMaMi` of `sleepmami_torch.py`, with all of its methods, that transformers can also load, move, train and
save: what it saves is a folder like the one that it came from.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import cached_file

from .sleepmami_folder import check, digest
from .sleepmami_torch import FOR_TRANSFORMERS, FORM, PARTS, SleepMaMi

WHERE = ("revision", "cache_dir", "token", "local_files_only", "subfolder", "proxies")
"""What transformers can be told of where files are."""


class SleepMaMiConfig(PretrainedConfig):
    """`config.json` of an exported folder, as it stands, in `described`.

    Raises:
      ValueError: it is damaged, or was changed after it was written.
    """

    model_type = FOR_TRANSFORMERS["model_type"]

    def __init__(self, **said):
        # transformers adds wishes of its own, such as a dtype, which are none of the model's.
        super().__init__(**{name: value for name, value in said.items() if name not in PARTS})
        self.described = {name: said[name] for name in PARTS if name in said} | FOR_TRANSFORMERS
        if said:  # without, transformers asks for what is usual
            check(self.described, FORM)

    def to_diff_dict(self) -> dict:
        return self.described


class SleepMaMiModel(SleepMaMi, PreTrainedModel):
    """See `SleepMaMi`; `score_arrays` scores a night."""

    config_class = SleepMaMiConfig
    main_input_name = "tokens"
    _keep_in_fp32_modules_strict = ("norm", "A_log", "dt_bias", r"\.D$", "router", "^heads")  # as `in_bfloat16` does

    def __init__(self, config: SleepMaMiConfig):
        PreTrainedModel.__init__(self, config)
        self.build(config.described)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """transformers makes a model without numbers: those that no file has are made again."""
        for name, value in module.constants().items() if hasattr(module, "constants") else ():
            getattr(module, name).copy_(torch.from_numpy(value.copy()))

    @classmethod
    def from_pretrained(cls, folder: str | Path, *args, output_loading_info: bool = False, **options):
        """As of transformers, which would make up what a file lacks.

        Args:
          folder: a folder, or `owner/name` on the hub, of which description and weights are those of one commit.

        Raises:
          ValueError: weights are missing, none of this model, of another shape, or not those that were saved with
            the description.
        """
        if commit := getattr(options.get("config"), "_commit_hash", None):
            options["revision"] = commit
        where = {name: options[name] for name in WHERE if name in options}
        model, info = super().from_pretrained(folder, *args, output_loading_info=True, **options)
        wrong = [*info["missing_keys"], *info["unexpected_keys"], *(found[0] for found in info["mismatched_keys"])]
        if wrong:
            raise ValueError(f"{folder}: {len(wrong)} weights do not fit its config.json, first {min(wrong)}")
        weights = cached_file(folder, "model.safetensors", _raise_exceptions_for_missing_entries=False, **where)
        if weights is None or digest(Path(weights)) != model.described["weights_sha256"]:
            raise ValueError(
                f"{folder}: model.safetensors is not the file that config.json describes; `save_pretrained` writes both"
            )
        return (model, info) if output_loading_info else model

    def save_pretrained(
        self, save_directory: str | Path, is_main_process: bool = True, state_dict: dict[str, Tensor] | None = None, **_
    ) -> None:
        """As `save`: whole and float32, whatever else transformers can be asked for."""
        if is_main_process:
            self.save(save_directory, state_dict)
