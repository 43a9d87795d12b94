#!/usr/bin/env bash
# Launch an experiment on all workers of the TPU. It goes on when the connection ends.
#
#   launch.sh [--dry-run] -- EXPERIMENT [OPTIONS OF bakein run]
#
# For example: launch.sh -- experiments/quickstart.py
#
# The same command again resumes it. until_done.sh does that, and all that comes before.

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse '' "$@"
((${#rest[@]})) || die 'expected -- EXPERIMENT'
want_store

# --distributed: jax finds the other hosts in the metadata of the VM. Several slices need no more:
# the queued resource writes MEGASCALE_COORDINATOR_ADDRESS, _NUM_SLICES and _SLICE_ID there
# (tpu-env), where libtpu and jax look for them: jax/_src/clusters/cloud_tpu_cluster.py.
#
# setsid makes the run the leader of a process group of its own, which stop.sh ends as one. TERM
# goes to the whole group: the shell outlives it, to write down how the run ended.
on_workers all "$STORE" "${command[@]}" "${rest[@]}" <<'REMOTE'
store=$1
shift
cd bakein
mkdir -p runs
if [[ -n $store && $store != gs://* ]] && ! mountpoint --quiet runs; then
  echo "$(hostname): STORE is not mounted; setup.sh does that" >&2
  exit 1
fi
exec 9>>~/bakein.pid
if ! flock --nonblock 9; then
  echo "$(hostname): an experiment is running already; stop.sh ends it" >&2
  exit 1
fi
rm -f ~/bakein.exit
printf '%q ' "$@" >~/bakein.command
echo "== $(date -u +%FT%TZ) bakein $*" >>~/bakein.log
setsid bash -c 'trap : TERM; "$@"; echo $? >~/bakein.exit' bash .venv/bin/bakein "$@" \
  </dev/null >>~/bakein.log 2>&1 &
echo $! >~/bakein.pid
REMOTE
