"""The configuration as plain values and back, and changes by name: what is said when one cannot be made."""

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
        return {k: v for name, part in values.items() for k, v in flat(part, f"{where}.{name}".lstrip(".")).items()}
    return {where: values}


def test_later_assignments_win_and_the_original_stays():
    assert override(EXPERIMENT, ["steps=1", "steps=2"]).steps == 2
    assert EXPERIMENT.steps == 100


@pytest.mark.parametrize("turn", [1, -1])
def test_what_only_fits_together_may_come_in_any_order(turn):
    fits = [
        "model.macro.head_dim=40",
        "model.macro.dim=80",
        "model.macro.seconds_dim=60",
        "model.macro.fast_dim=20",
        "model.macro.state=8",
    ]
    assert override(EXPERIMENT, fits[::turn]).model.macro.head_dim == 40
    with pytest.raises(ConfigError, match=r"head_dim: expected a divisor of 96, twice seconds_dim, found 40"):
        override(EXPERIMENT, fits[:2])


def test_a_task_is_given_by_name_or_as_a_record():
    tuned = replace(EXPERIMENT, objective=Finetuning())
    snore = '{"name": "snore", "events": [["snoring"]], "needs": ["RESP"]}'
    tasks = override(tuned, [f'objective.tasks=["stages", {snore}]']).objective.tasks
    assert [task.name for task in tasks] == ["stages", "snore"]
    assert from_dict(Finetuning, json.loads(json.dumps(to_dict(Finetuning(tasks=tasks))))).tasks == tasks
    with pytest.raises(
        ConfigError, match=r"tasks\[0\].kind: 'a' is not known; there are 'stages', 'events', 'types', 'measured'"
    ):
        override(tuned, ['objective.tasks=[{"name": "snore", "kind": "a"}]'])


def test_a_group_may_be_given_whole_and_changed_after():
    whole = ['model.micro={"dim": 32, "heads": 2}', "model.micro.heads=8"]
    micro = override(EXPERIMENT, ["model.micro.experts=8", *whole]).model.micro
    assert (micro.dim, micro.heads, micro.experts) == (32, 8, 4)
    with pytest.raises(ConfigError, match=r"steps\.more: steps has no fields of its own \(it is 3\)"):
        override(EXPERIMENT, ["steps=3", "steps.more=4"])


def test_the_fields_of_the_objective_at_hand_are_the_ones_that_can_be_set():
    macro = replace(EXPERIMENT, objective=MacroPretraining())
    assert override(macro, ["objective.kernel.age_years=4"]).objective.kernel == KernelConfig(age_years=4.0)
    with pytest.raises(ConfigError, match=r"objective\.mask: no such field"):
        override(macro, ["objective.mask.time=0.5"])
    tuned = replace(EXPERIMENT, objective=Finetuning())
    assert override(tuned, ["objective.freeze_micro=false"]).objective.freeze_micro is False


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        (
            "optimiser.learning_rate=1",
            "optimiser: no such field; did you mean 'optimizer'?",
        ),
        (
            "optimizer.learning_rat=1",
            "optimizer.learning_rat: no such field; did you mean 'learning_rate'?",
        ),
        (
            "model.modalities.EEEG.token_s=1",
            "model.modalities.EEEG: no such field; did you mean 'EEG'?",
        ),
        ("model.micro.zzz=1", "model.micro.zzz: no such field; there are 'dim', 'heads'"),
        ('model.micro={"dims": 4}', "model.micro.dims: no such field; did you mean 'dim'?"),
        ("steps", "--set steps: expected name=value"),
        ("steps=ten", "steps: expected a whole number, found 'ten'"),
        ("steps=1.5", "steps: expected a whole number, found 1.5"),
        ("steps=true", "steps: expected a whole number, found True"),
        ("steps=null", "steps: expected a whole number, found None"),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate: expected a number, found 'fast'"),
        ("optimizer.learning_rate=true", "optimizer.learning_rate: expected a number, found True"),
        ("optimizer.learning_rate=NaN", "optimizer.learning_rate: expected a finite number, found nan"),
        ("optimizer.schedule=[1]", "optimizer.schedule: expected 'cosine' or 'wsd', found [1]"),
        ("data.nights=1.5", "data.nights: expected a whole number, found 1.5"),
        ("init=[1]", "init: expected a text, found [1]"),
        (
            "model.modalities.EEG.slots=a",
            'model.modalities.EEG.slots: expected a list such as ["a", "b"], found \'a\'',
        ),
        ("data.shards=a", "data.shards: expected a list such as [{\"folder\": …}], found 'a'"),
        ("steps=0", "steps: expected at least 1, found 0"),
        ("seed=-1", "seed: expected from 0 to 2**31 - 1, found -1"),
        ("objective.batch=0", "objective.batch: expected at least 1, found 0"),
        ("data.nights=0", "data.nights: expected at least 1, found 0"),
        ("optimizer.warmup_steps=-1", "optimizer.warmup_steps: expected at least 0, found -1"),
        ("model.modalities.EEG.slots=[null]", "model.modalities.EEG.slots[0]: expected a text, found None"),
        ("data.shards=[3]", "data.shards[0]: expected a group of fields, found 3"),
        ('data.shards=[{"weight": 1}]', "data.shards[0].folder: is missing"),
        ("model.micro=3", "model.micro: expected a group of fields, found 3"),
        ("objective=3", "objective: set its fields one by one, such as batch"),
        ("steps.more=3", "steps.more: steps has no fields of its own (it is 100)"),
    ],
)
def test_a_wrong_assignment_names_the_field_and_what_was_expected(assignment, says):
    with pytest.raises(ConfigError) as caught:
        override(EXPERIMENT, [assignment])
    assert str(caught.value).startswith(says)


def test_a_flag_is_true_or_false():
    with pytest.raises(ConfigError, match=r"objective\.freeze_micro: expected true or false, found 1"):
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
    with pytest.raises(ConfigError, match=r"model\.mikro: no such field; did you mean 'micro'\?"):
        from_dict(ModelConfig, {"mikro": {}}, "model")
