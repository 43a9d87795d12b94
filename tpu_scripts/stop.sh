#!/usr/bin/env bash
# Stop the experiment on all workers of a TPU VM. Launching it again resumes it.
#
#   stop.sh [--dry-run] NAME ZONE
#
# The VM stays, and costs: delete.sh removes it.

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse 'NAME ZONE' '' "$@"

# KILL, because jax.distributed catches TERM; a run may be killed at any moment without harm.
on_workers "${args[@]}" all <<'REMOTE'
cd bakein
if kill -KILL -- "-$(cat runs/launch.pid 2>/dev/null)" 2>/dev/null; then
  echo "$(hostname): stopped"
else
  echo "$(hostname): no experiment was running"
fi
rm -f runs/launch.pid
REMOTE
