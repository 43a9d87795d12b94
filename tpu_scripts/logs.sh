#!/usr/bin/env bash
# Follow the log of the experiment on the first worker, or show the end of it on all workers.
#
#   logs.sh [--all] [--dry-run]

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse '--all' "$@"

if has --all; then
  # Not followed: an interrupt here would leave a tail behind on each of them.
  on_workers all <<'REMOTE'
tail -n 20 bakein.log | sed "s/^/$(hostname): /"
REMOTE
else
  on_workers 0 <<<'exec tail -n 100 -F bakein.log'
fi
