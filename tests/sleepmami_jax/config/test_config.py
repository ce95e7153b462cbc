"""One tree of options: what can be set, and what is said when it cannot."""

import json
from dataclasses import replace

import pytest

from sleepmami_jax.config import (
    ConfigError,
    DataConfig,
    DataSource,
    Experiment,
    Finetuning,
    KernelConfig,
    MacroPretraining,
    MicroPretraining,
    ModalityConfig,
    ModelConfig,
    from_dict,
    load_experiment,
    override,
    to_dict,
)

EXPERIMENT = Experiment(name="small", objective=MicroPretraining())


@pytest.mark.parametrize(
    ("assignment", "read", "value"),
    [
        ("steps=7", lambda c: c.steps, 7),
        ("optimizer.learning_rate=3e-4", lambda c: c.optimizer.learning_rate, 3e-4),
        ("optimizer.clip_norm=2", lambda c: c.optimizer.clip_norm, 2.0),
        ("optimizer.schedule=wsd", lambda c: c.optimizer.schedule, "wsd"),
        ("name=2026", lambda c: c.name, "2026"),
        ("name=a=b", lambda c: c.name, "a=b"),
        ("objective.batch=8", lambda c: c.objective.batch, 8),
        ("model.micro.dim=32", lambda c: c.model.micro.dim, 32),
        ("model.modalities.EEG.token_s=3", lambda c: c.model.modalities.EEG.token_s, 3),
        ('model.modalities.EEG.slots=["C3"]', lambda c: c.model.modalities.EEG.slots, ("C3",)),
        (
            'model.modalities.EEG={"slots": ["C3"], "token_s": 2}',
            lambda c: c.model.modalities.EEG,
            ModalityConfig(("C3",), 2),
        ),
        ("data.nights=5", lambda c: c.data.nights, 5),
        ("data.nights=null", lambda c: c.data.nights, None),
        ("init=runs/a/model", lambda c: c.init, "runs/a/model"),
        ('model.modalities.EEG.slots=["C3", "C4"]', lambda c: c.model.modalities.EEG.slots, ("C3", "C4")),
        ('data.shards=[{"folder": "x"}]', lambda c: c.data.shards, (DataSource("x"),)),
        (" steps =9", lambda c: c.steps, 9),
    ],
)
def test_an_assignment_changes_one_value_and_no_other(assignment, read, value):
    changed = override(EXPERIMENT, [assignment])
    assert read(changed) == value
    assert type(read(changed)) is type(value)
    path = assignment.partition("=")[0].strip()
    before, after = flat(to_dict(EXPERIMENT)), flat(to_dict(changed))
    assert {k for k in before | after if before.get(k) != after.get(k)} <= {
        k for k in before | after if k == path or k.startswith((f"{path}.", f"{path}["))
    }


def flat(values, where=""):
    if isinstance(values, dict):
        return {
            k: v
            for name, part in values.items()
            for k, v in flat(part, f"{where}.{name}".lstrip(".")).items()
        }
    return {where: values}


def test_later_assignments_win_and_the_original_stays():
    assert override(EXPERIMENT, ["steps=1", "steps=2"]).steps == 2
    assert EXPERIMENT.steps == 100


def test_a_kernel_has_a_width_and_no_weight_below_nothing():
    macro = replace(EXPERIMENT, objective=MacroPretraining())
    with pytest.raises(ConfigError, match=r"KernelConfig.age_years: expected more than 0, found 0.0"):
        override(macro, ["objective.kernel.age_years=0"])
    with pytest.raises(ConfigError, match=r"KernelConfig.sex: expected at least 0, found -1.0"):
        override(macro, ["objective.kernel.sex=-1"])
    with pytest.raises(ConfigError, match=r"MacroPretraining.temperature: expected more than 0, found 0.0"):
        override(macro, ["objective.temperature=0"])


def test_the_fields_of_the_objective_at_hand_are_the_ones_that_can_be_set():
    macro = replace(EXPERIMENT, objective=MacroPretraining())
    assert override(macro, ["objective.kernel.age_years=4"]).objective.kernel == KernelConfig(age_years=4.0)
    with pytest.raises(ConfigError, match=r"objective\.mask_ratio: no such field"):
        override(macro, ["objective.mask_ratio=0.5"])
    tuned = replace(EXPERIMENT, objective=Finetuning())
    assert override(tuned, ["objective.freeze_micro=false"]).objective.freeze_micro is False


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        (
            "optimiser.learning_rate=1",
            "optimiser.learning_rate: no such field; did you mean optimizer.learning_rate?",
        ),
        (
            "optimizer.learning_rat=1",
            "optimizer.learning_rat: no such field; did you mean optimizer.learning_rate?",
        ),
        (
            "model.modalities.EEEG.token_s=1",
            "model.modalities.EEEG.token_s: no such field; did you mean model.modalities.EEG.token_s?",
        ),
        ("model.micro.zzz=1", "model.micro.zzz: no such field; there are dim, heads"),
        ('model.micro={"dims": 4}', "model.micro.dims: no such field; did you mean model.micro.dim?"),
        ("steps", "--set steps: expected name=value"),
        ("steps=ten", "steps: expected int, found 'ten'"),
        ("steps=1.5", "steps: expected int, found 1.5"),
        ("steps=true", "steps: expected int, found True"),
        ("steps=null", "steps: expected int, found None"),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate: expected float, found 'fast'"),
        ("optimizer.learning_rate=true", "optimizer.learning_rate: expected float, found True"),
        ("optimizer.learning_rate=NaN", "optimizer.learning_rate: expected a finite number, found nan"),
        ("optimizer.schedule=[1]", "optimizer.schedule: expected str, found [1]"),
        ("data.nights=1.5", "data.nights: expected int, found 1.5"),
        ("init=[1]", "init: expected str, found [1]"),
        ("model.modalities.EEG.slots=a", 'EEG.slots: expected a list such as ["a", "b"], found \'a\''),
        ("data.shards=a", 'data.shards: expected a list such as [{"folder": "shards"}], found \'a\''),
        ("steps=0", "Experiment.steps: expected at least 1, found 0"),
        ("seed=-1", "Experiment.seed: expected at least 0, found -1"),
        ("objective.batch=0", "MicroPretraining.batch: expected at least 1, found 0"),
        ("data.nights=0", "DataConfig.nights: expected at least 1, found 0"),
        ("optimizer.warmup_steps=-1", "OptimizerConfig.warmup_steps: expected at least 0, found -1"),
        ("model.modalities.EEG.slots=[null]", "model.modalities.EEG.slots[0]: expected str, found None"),
        ("data.shards=[3]", "data.shards[0]: expected a group of fields, found 3"),
        ('data.shards=[{"weight": 1}]', "data.shards[0]: folder is missing"),
        ("model.micro=3", "model.micro: expected a group of fields, found 3"),
        ("objective=3", "objective: set its fields one by one, such as objective.batch=8"),
        ("steps.more=3", "steps.more: steps has no fields of its own (it is 100)"),
    ],
)
def test_a_wrong_assignment_names_the_field_and_what_was_expected(assignment, says):
    with pytest.raises(ConfigError) as caught:
        override(EXPERIMENT, [assignment])
    assert says in str(caught.value)


def test_a_flag_is_true_or_false():
    with pytest.raises(ConfigError, match=r"objective\.freeze_micro: expected bool, found 1"):
        override(replace(EXPERIMENT, objective=Finetuning()), ["objective.freeze_micro=1"])


@pytest.mark.parametrize("through_json", [False, True])
def test_a_model_goes_through_a_dictionary_and_back(tiny, through_json):
    for model in (ModelConfig(), tiny):
        values = to_dict(model)
        if through_json:
            values = json.loads(json.dumps(values))
        assert from_dict(ModelConfig, values) == model
    assert tiny != ModelConfig()


def test_a_dictionary_may_leave_out_what_has_a_default():
    assert from_dict(ModelConfig, {"micro": {"dim": 8}}).micro.heads == ModelConfig().micro.heads
    data = DataConfig((DataSource("a"), DataSource("b", 0.5)), nights=3)
    assert from_dict(DataConfig, json.loads(json.dumps(to_dict(data)))) == data
    with pytest.raises(ConfigError, match="model: expected a group of fields, found 3"):
        from_dict(ModelConfig, 3, "model")
    with pytest.raises(ConfigError, match=r"model\.mikro: no such field; did you mean model\.micro\?"):
        from_dict(ModelConfig, {"mikro": {}}, "model")


GOOD = """
from sleepmami_jax.config import Experiment, MicroPretraining

def get_config():
    return Experiment(name="from a file", objective=MicroPretraining(), steps=5)
"""


def test_an_experiment_is_a_file(tmp_path):
    path = tmp_path / "tiny_micro.py"
    path.write_text(GOOD)
    assert load_experiment(path).name == "from a file"
    assert load_experiment(str(path), ["steps=6"]).steps == 6
    with pytest.raises(
        ConfigError, match=r"tiny_micr\.py: no such experiment file; did you mean .*tiny_micro\.py\?"
    ):
        load_experiment(tmp_path / "tiny_micr.py")
    with pytest.raises(ConfigError, match=r"experiments live in experiments/\*\.py"):
        load_experiment(tmp_path / "elsewhere" / "x.py")


def test_a_file_that_is_no_experiment_is_named(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("")
    with pytest.raises(ConfigError, match=r"empty\.py: an experiment file defines get_config\(\)"):
        load_experiment(path)
    path.write_text("def get_config():\n    pass\n")
    with pytest.raises(ConfigError, match=r"empty\.py: get_config\(\) gave None, expected an Experiment"):
        load_experiment(path)
