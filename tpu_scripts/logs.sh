#!/usr/bin/env bash
# Follow the log of the experiment on the first worker of a TPU VM, or on all workers.
#
#   logs.sh [--all] [--dry-run] NAME ZONE

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse 'NAME ZONE' '--all' "$@"

worker=0
if has --all; then worker=all; fi
on_workers "${args[@]}" "$worker" <<<'exec tail -n 100 -F bakein/runs/launch.log'
