#!/bin/sh
# Starts a run again until it is done, and gives up when it fails three times without a new step:
#
#     experiments/launch/supervise.sh runs/micro sleepmami pretrain --config micro_tiny --workdir runs/micro
#
# SIGTERM goes to the run, which saves and stops; then so does this script. Its exit status is that of the run.

workdir=$1
shift
case $workdir in gs://*) read="gcloud storage cat" ;; *) read=cat ;; esac
child='' stop=0 failures=0 before=0
trap 'stop=1; kill -TERM "$child" 2>/dev/null' TERM INT

while :; do
    "$@" &
    child=$!
    [ "$stop" = 1 ] && kill -TERM "$child" # the signal came before the run had a number
    wait "$child"
    status=$?
    while kill -0 "$child" 2>/dev/null; do # the signal ended the wait, the run is still saving
        wait "$child"
        status=$?
    done
    [ "$status" = 0 ] || [ "$stop" = 1 ] && exit "$status"
    steps=$($read "$workdir/metrics.jsonl" 2>/dev/null | wc -l)
    if [ "$steps" -gt "$before" ]; then failures=0 before=$steps; else failures=$((failures + 1)); fi
    if [ "$failures" -ge 3 ]; then
        echo "supervise: ended with $status three times at step $steps; giving up" >&2
        exit "$status"
    fi
    echo "supervise: ended with $status at step $steps; starting again" >&2
    sleep "${SUPERVISE_PAUSE_S:-10}"
done
