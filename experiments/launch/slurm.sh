#!/bin/bash
# One task a node, all devices of it; where your nodes differ, say so before the script's name (--gpus-per-node=4):
#
#     sbatch --nodes=4 experiments/launch/slurm.sh pretrain --config micro_tiny --workdir runs/micro
#
# Slurm tells the processes of each other. Two minutes before the time limit, or when the job is preempted with a time
# of grace, all tasks get SIGTERM: the run saves, exits with 75, and is queued again. Do it with scancel --signal=TERM ID;
# a plain scancel saves too and queues nothing.

#SBATCH --job-name=sleepmami
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" sleepmami "$1" --distributed "${@:2}"
status=$?
case $status in 75 | 143) scontrol requeue "$SLURM_JOB_ID" ;; esac # 143: SIGTERM came before there was anything to save
exit "$status"
