#!/usr/bin/env bash
# Run an experiment on Google Kubernetes Engine by XPK (pip install xpk), on the same configuration.
#
#   gke.sh create                          the cluster and its TPU slices
#   gke.sh launch -- EXPERIMENT [OPTIONS]  the current commit in an image, as a workload
#   gke.sh status                          the workload, and what the cluster costs an hour
#   gke.sh wait                            until the workload is done
#   gke.sh logs                            follow the logs of all its workers
#   gke.sh stop                            delete the workload; launching it again resumes it
#   gke.sh delete --yes                    the cluster
#
# After a preemption, an interruption (status 75) or an abort (134, a host that lost another one)
# GKE starts the workload again, RETRIES times.

set -euo pipefail
source "$(dirname "$0")/common.sh"
verb=${1-}
[[ $verb != --help ]] || { show_help && exit; }
[[ " create launch status wait logs stop delete " == *" $verb "* ]] ||
  die 'expected create, launch, status, wait, logs, stop or delete; see gke.sh --help'
shift
parse '--yes' "$@"
# The cluster and the workload have the same name; XPK's documents: docs/usage of its repository.
on_cluster() { run xpk "$@" --cluster="$NAME" --project="$PROJECT" --zone="$ZONE"; }

create() {
  local capacity=--on-demand
  if [[ $SPOT == yes ]]; then capacity=--spot; fi
  on_cluster cluster create --tpu-type="$TYPE" --num-slices="$SLICES" "$capacity"
}

launch() {
  local line=''
  ((${#rest[@]})) || die 'expected -- EXPERIMENT after launch'
  [[ $STORE == gs://* ]] ||
    die "$config: STORE is '$STORE'; on GKE it must be gs://BUCKET: what a container writes elsewhere ends with it"
  want_store
  # XPK lays the folder over the image as /app, where the command starts. git would not read a
  # checkout that belongs to somebody else. exec: SIGTERM reaches the run, and its status XPK,
  # which starts again after 42 and 127 to 255 without being told.
  printf -v line '%q ' "${command[@]}" "${rest[@]}"
  line="git config --global --add safe.directory /app \
&& python -m pip install --quiet --editable '.[tpu]' && exec bakein $line"

  folder=${TMPDIR:-/tmp}/$NAME # a command that is only printed must find it later
  if ! $dry_run; then
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
  fi
  run git clone --quiet --no-hardlinks "$here/.." "$folder/bakein"
  on_cluster workload create --workload="$NAME" --tpu-type="$TYPE" --num-slices="$SLICES" \
    --base-docker-image=python:3.12 --script-dir="$folder/bakein" --command="$line" \
    --max-restarts="$RETRIES" --restart-on-exit-codes=75 --termination-grace-period-seconds=120
}

wait_for_it() { # statuses: docs/usage/workloads.md of XPK
  local status=0
  on_cluster workload list --wait-for-job-completion="$NAME" || status=$?
  case $status in
  0) $dry_run || echo "done; while the cluster is there it costs $(hourly): gke.sh delete --yes" ;;
  125) echo "failed: gke.sh logs; the cluster costs $(hourly): gke.sh delete --yes" >&2 ;;
  *) echo "gke.sh wait: xpk ended with $status; the workload goes on: gke.sh status" >&2 ;;
  esac
  return "$status"
}

case $verb in
create) create ;;
launch) launch ;;
status)
  on_cluster workload list --filter-by-job="$NAME"
  $dry_run || echo "while the cluster is there it costs $(hourly), and its CPU nodes"
  ;;
wait) wait_for_it ;;
logs)
  run kubectl logs --selector="xpk.google.com/workload=$NAME" --container=jax-tpu --prefix \
    --follow --tail=100 --max-log-requests=256
  ;;
stop) on_cluster workload delete --workload="$NAME" --force ;;
delete)
  has --yes || die "this deletes the cluster $NAME: add --yes"
  on_cluster cluster delete --force
  ;;
esac
