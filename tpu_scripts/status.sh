#!/usr/bin/env bash
# Show the TPU, what it has cost so far, and the run on each worker with the last line of its log.
#
#   status.sh [--dry-run]

# shellcheck disable=SC2119 # run_states without arguments: whatever is running
set -euo pipefail
source "$(dirname "$0")/common.sh"
parse '' "$@"

if $dry_run; then
  if [[ $QUEUED == yes ]]; then queue_state; fi
  nodes
  run_states
  exit
fi

seconds() { # of a time such as 2026-11-27T20:03:11.123Z, with GNU's date or that of a Mac
  date -u -d "$1" +%s 2>/dev/null || date -u -j -f %FT%T "${1%%[.Z]*}" +%s
}

echo "$NAME: $SLICES × $TYPE in $ZONE, $chips chips"
if [[ $QUEUED == yes ]]; then
  queue=$(queue_state)
  echo "queue: ${queue:-nothing asked for}"
fi
lines=$(nodes)
if [[ -z $lines ]]; then
  echo 'VM: none, and nothing to pay for it'
  exit
fi

now=$(date +%s) oldest=$(date +%s)
while IFS=$'\t' read -r node state workers created; do
  echo "VM: $node $state, $workers workers, created $created"
  since=$(seconds "$created")
  if ((since < oldest)); then oldest=$since; fi
done <<<"$lines"
hours=$(LC_ALL=C awk -v seconds="$((now - oldest))" 'BEGIN { printf "%.2f", seconds / 3600 }')
if [[ -n $PRICE ]]; then
  echo "cost so far: about $(usd "$hours") for $hours hours: an estimate from PRICE=$PRICE of" \
    "${PRICE_DATE:-an unknown date}, for these VMs alone, without disks and network"
else
  echo "cost so far: $hours hours of $chips chips; for the money, set PRICE in $config"
fi
if ! awk -F '\t' '$2 != "READY" { exit 1 }' <<<"$lines"; then exit; fi
run_states
