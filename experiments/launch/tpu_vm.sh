#!/bin/bash
# On every worker of a Cloud TPU VM slice, from a machine that stays on, such as in its tmux:
#
#     experiments/launch/tpu_vm.sh NAME ZONE gs://BUCKET/runs/micro pretrain --config micro_tiny
#
# The workers see the same shards, such as in a bucket mounted with gcsfuse or on a Filestore. After a preemption set the
# new VMs up as these were, and start it with the same words; the run goes on.

name=$1 zone=$2 workdir=$3 # what follows goes to `sleepmami`, quoted once more for the shells of the workers
printf -v run ' %q' "$workdir" .venv/bin/sleepmami "$4" --workdir "$workdir" --distributed "${@:5}"
gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
    --command="cd ~/sleepmami-jax && experiments/launch/supervise.sh$run"
