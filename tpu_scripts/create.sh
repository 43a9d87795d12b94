#!/usr/bin/env bash
# Create the TPU VM of the configuration: one host, a slice of several, or several slices.
#
#   create.sh [--dry-run]
#
# With QUEUED=yes it asks the queue and comes back at once: status.sh says how far it is.

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse '' "$@"
[[ $SLICES == 1 || $QUEUED == yes ]] || die "$config: SLICES=$SLICES needs QUEUED=yes"

if [[ $QUEUED == no ]]; then
  create=(tpu-vm create "$NAME" --version="$VERSION")
elif ((SLICES == 1)); then
  create=(queued-resources create "$NAME" --node-id="$NAME" --runtime-version="$VERSION")
else
  create=(queued-resources create "$NAME" --node-count="$SLICES" --node-prefix="$NAME"
    --runtime-version="$VERSION")
fi
create+=(--accelerator-type="$TYPE")
if [[ $SPOT == yes ]]; then create+=(--spot); fi
tpu "${create[@]}"
