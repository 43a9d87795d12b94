#!/usr/bin/env bash
# Launch an experiment on all workers of a TPU VM. It goes on when the connection ends.
#
#   launch.sh [--dry-run] NAME ZONE -- EXPERIMENT [OPTIONS OF bakein run]
#
# For example: launch.sh bakein-1 us-east5-b -- experiments/quickstart.py --workdir runs/quickstart
#
# Several workers need a work directory that they share, such as a mounted bucket. It outlives the
# VM, too: after a preemption, create and set up the VM anew and launch the same command to resume.

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse 'NAME ZONE' '' "$@"
((${#rest[@]})) || die 'expected -- EXPERIMENT after NAME ZONE'

# setsid makes the run the leader of a process group of its own, which stop.sh ends as one.
on_workers "${args[@]}" all "${rest[@]}" <<'REMOTE'
cd bakein
mkdir -p runs
if kill -0 "$(cat runs/launch.pid 2>/dev/null)" 2>/dev/null; then
  echo "$(hostname): an experiment is running already; stop.sh ends it" >&2
  exit 1
fi
setsid .venv/bin/bakein run "$@" </dev/null >runs/launch.log 2>&1 &
echo $! >runs/launch.pid
REMOTE
