#!/usr/bin/env bash
# Delete the TPU VM and everything on its disks. What is in STORE stays.
#
#   delete.sh --yes [--dry-run]
#
# --yes  required: what is not in STORE is lost

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse '--yes' "$@"
has --yes || die "this deletes $NAME and its disks: add --yes"

delete=(tpu-vm delete "$NAME")
if [[ $QUEUED == yes ]]; then delete=(queued-resources delete "$NAME" --force); fi
tpu "${delete[@]}" --quiet
