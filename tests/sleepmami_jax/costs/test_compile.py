"""What a compiled step moves between devices, and the compilation for a TPU that is not here."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from data_pipeline.modalities import SLOTS, Modality
from sleepmami_jax.config import Experiment, Finetuning, MacroPretraining, MicroPretraining
from sleepmami_jax.costs.collectives import Collective, collectives
from sleepmami_jax.costs.flops import night_costs, total
from sleepmami_jax.costs.sizes import size
from sleepmami_jax.models.sleepmami import structure
from sleepmami_jax.training.phases import plan
from sleepmami_jax.training.step import lower
from tests.conftest import shallow_config
from tests.support.batches import received
from tests.support.meshes import mesh_of

WHOLE, SPLIT = P(), P("data")


def program_of(function, *arguments, out=WHOLE):
    run = jax.shard_map(function, mesh=mesh_of(4), in_specs=SPLIT, out_specs=out, check_vma=False)
    return jax.jit(run).lower(*arguments).compile().as_text()


def found(function, *arguments, **options):
    return collectives(program_of(function, *arguments, **options), 4)


def test_collectives_are_read_from_the_program():
    x = jnp.ones((16, 32), jnp.float32)
    (gather,) = found(lambda x: jax.lax.all_gather(x, "data", tiled=True), x)
    assert gather == Collective("all-gather", 16 * 32 * 4, 16 * 32 * 4, 4, 1)
    assert gather.sent == 16 * 32 * 4 * 3 / 4 and gather.given == 4 * 32 * 4
    (reduce,) = found(lambda x: jax.lax.psum(x, "data"), x)
    assert reduce == Collective("all-reduce", 4 * 32 * 4, 4 * 32 * 4, 4, 1)
    assert reduce.sent == 2 * 4 * 32 * 4 * 3 / 4
    (scatter,) = found(lambda x: jax.lax.psum_scatter(x, "data", tiled=True), x, out=SPLIT)
    assert scatter == Collective("reduce-scatter", 32 * 4, 32 * 4, 4, 1)
    assert scatter.sent == 32 * 4 * 3 and scatter.given == 4 * 32 * 4
    (swap,) = found(lambda x: jax.lax.all_to_all(x, "data", 1, 0, tiled=True), x, out=SPLIT)
    assert (swap.kind, swap.group) == ("all-to-all", 4)
    assert not found(lambda x: x.sum(keepdims=True), x, out=SPLIT)


def test_a_collective_in_a_loop_counts_as_often_as_it_runs():
    def loop(x):
        return jax.lax.scan(lambda carry, _: (jax.lax.psum(carry, "data") / 4, None), x, length=7)[0]

    (reduce,) = found(loop, jnp.ones((16, 32)))
    assert reduce.times == 7


def test_more_devices_with_as_much_work_each_have_as_much_to_tell():
    model = shallow_config()

    def given(devices):
        objective = MacroPretraining(batch=4 * devices, night_epochs=16)
        lowered, mesh = lower(Experiment("weak", objective, model=model), jax.devices()[:devices])
        program = lowered.compile().as_text()
        return sum(c.given for c in collectives(program, mesh.size))

    two = given(2)
    gradients = 4 * total(night_costs(model, 16)).parameters
    assert two > 0.5 * gradients  # heads have none
    assert given(4) == pytest.approx(two, rel=0.05)


TPU_PROGRAM = """
%condition (p: (s32[], f32[8,4])) -> pred[] {
  %bound.1 = s32[]{:T(128)} constant(12)
  %p = (s32[], f32[8,4]) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %bound.1), direction=LT
}

%body (p: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %a = f32[2,4]{1,0:T(8,128)} parameter(0)
  %g = (f32[2,4]{1,0:T(8,128)}, f32[8,4]{1,0:T(8,128)}) all-gather-start(%a), replica_groups=[1,4]<=[4]
  %c = f32[4]{0} all-gather(%a), replica_groups=[1,4]<=[4], frontend_attributes={chain_id="3"}
  %d = f32[4]{0} all-gather(%a), replica_groups=[1,4]<=[4], frontend_attributes={chain_id="3"}
  %s = (f32[2,4]{1,0}, f32[2,4]{1,0}, u32[]{:S(2)}, u32[]) collective-permute-start(%a), source_target_pairs={{0,1}}
}

ENTRY %main (a: f32[8,4]) -> f32[8,4] {
  %w = (s32[], f32[8,4]) while(%t), condition=%condition, body=%body
  %r = (f32[8,4]{1,0}, /*index=1*/bf16[16]{0}) all-reduce(%x, %y), replica_groups={{0,1,2,3}}, to_apply=%sum
}
"""


def test_programs_for_tpus_combine_and_split_operations_and_name_no_trip_counts():
    gather, chain, shift, reduce = collectives(TPU_PROGRAM, 4)
    assert chain == Collective("all-gather", 16, 16, 4, 12)
    assert gather == Collective("all-gather", 8 * 4 * 4, 8 * 4 * 4, 4, 12)
    assert shift == Collective("collective-permute", 2 * 4 * 4, 2 * 4 * 4, 4, 12)
    assert reduce == Collective("all-reduce", 8 * 4 * 4 + 16 * 2, 8 * 4 * 4, 4, 1)


@pytest.mark.parametrize(
    "objective",
    [
        MicroPretraining(batch=4, decoder_dim=16),
        MacroPretraining(batch=4, night_epochs=16),
        MacroPretraining(batch=4, night_epochs=8, freeze_micro=False),
        Finetuning(batch=4, epochs=6),
        Finetuning(batch=4, epochs=6, freeze_micro=False),
    ],
    ids=["micro", "macro", "macro from signals", "finetuning", "finetuning of all"],
)
def test_a_plan_has_the_shapes_of_the_real_thing(prepared, tmp_path, objective):
    from sleepmami_jax.training.phases import build

    data = replace(prepared, scored=isinstance(objective, Finetuning))
    experiment = Experiment("plan", objective, data, shallow_config())
    planned, batch = plan(experiment)
    real = build(experiment, None, tmp_path, lambda *_: lambda: None, range(objective.batch))
    shapes = {name: (v.shape, v.dtype) for name, v in real.params.items()}
    assert {name: (v.shape, v.dtype) for name, v in planned.params.items()} == shapes
    assert planned.trainable == real.trainable
    first = received(next(real.batches))
    real.batches.close()
    jax.tree.map(lambda v, s: np.testing.assert_equal((v.shape, v.dtype), (s.shape, s.dtype)), first, batch)


def test_without_libtpu_it_is_named():
    without = "import sys; sys.modules['libtpu'] = None"  # before JAX looks for it
    command = "from sleepmami_jax.costs.compile import compile_ahead; compile_ahead(None, 'v5e:2x2', None)"
    run = subprocess.run(
        [sys.executable, "-c", f"{without}; {command}"],
        env={k: v for k, v in os.environ.items() if k != "TPU_LIBRARY_PATH"},  # JAX itself sets it
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "RuntimeError: no libtpu to compile with: pip install -e .[tpu]" in run.stderr


def few_blocks():
    """A model as wide as `small`, so that its weights are split, that libtpu compiles in a quarter of the time."""
    small = size("small")
    modalities = replace(small.modalities, **dict.fromkeys(set(SLOTS) - {Modality.EEG, Modality.SPO2}))
    return replace(small, modalities=modalities, macro=replace(small.macro, levels=1, seconds_depth=0))


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_the_step_compiles_for_a_tpu_that_is_not_here(tmp_path):
    root = Path(__file__).parents[3]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root), *sys.path]),
        "TPU_SKIP_MDS_QUERY": "1",
    }
    environment |= {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_ACCELERATOR_TYPE": "v5litepod-4"}
    (tmp_path / "few.py").write_text(
        "from sleepmami_jax.recipes.macro_tiny import get_config as base\n"
        "from dataclasses import replace\n"
        "from sleepmami_jax.config import ComputeConfig, MacroPretraining, MeshConfig\n"
        "from tests.sleepmami_jax.costs.test_compile import few_blocks\n"
        "def get_config():\n"
        "    return replace(base(), model=few_blocks(), objective=MacroPretraining(batch=16, night_epochs=16),\n"
        "        init=None, mesh=MeshConfig(fsdp=2), compute=ComputeConfig('bfloat16', 'names', True))\n"
    )
    command = [sys.executable, "-m", "sleepmami_jax.cli", "compile", "--config", str(tmp_path / "few.py")]
    run = subprocess.run(
        [*command, "--topology", "v5e:2x2"],
        env=environment | {"GLIBC_TUNABLES": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout[run.stdout.index("{") :])
    assert (report["chip"], report["chips"], report["mesh"]["fsdp"]) == ("TPU v5 lite", 4, 2)
    assert 0 < report["arguments_bytes"] + report["temporary_bytes"] < 0.1 * report["hbm_bytes"]
    assert {"all-gather", "reduce-scatter"} <= report["collectives"].keys()
    weights = structure(few_blocks())[1].items()
    largest = max(weight.size for name, weight in weights if not name.startswith("micro/"))  # frozen, in no step
    assert report["largest_gather_bytes"] == largest * 2  # in bfloat16
