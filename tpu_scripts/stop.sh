#!/usr/bin/env bash
# Stop the experiment on all workers. It saves first; launching it again resumes it.
#
#   stop.sh [--now] [--dry-run]
#
# --now  do not wait until it has saved: what came after the last checkpoint is done again
#
# The VM stays, and costs: delete.sh removes it.

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse '--now' "$@"
patience=120 # seconds to save
if has --now; then patience=0; fi

on_workers all "$patience" <<'REMOTE'
if [[ ! -e bakein.pid ]] || flock --nonblock bakein.pid true; then
  echo "$(hostname): no experiment was running"
  exit
fi
group=$(cat bakein.pid)
if (($1 > 0)); then kill -TERM -- "-$group"; fi
if ! flock --timeout "$1" bakein.pid true; then
  kill -KILL -- "-$group"
  flock bakein.pid true
fi
echo stopped >bakein.exit
echo "$(hostname): stopped"
REMOTE
