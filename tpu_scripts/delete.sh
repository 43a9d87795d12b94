#!/usr/bin/env bash
# Delete a TPU VM and everything on its disks.
#
#   delete.sh --yes [--queued] [--dry-run] NAME ZONE
#
# --yes     required: what is not in a bucket is lost
# --queued  the VM was created with --queued: deletes the queued resource too

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse 'NAME ZONE' '--yes --queued' "$@"
has --yes || die "this deletes ${args[0]} and its disks: add --yes"

delete=(tpu-vm delete "${args[0]}")
if has --queued; then delete=(queued-resources delete "${args[0]}" --force); fi
run gcloud compute tpus "${delete[@]}" --zone="${args[1]}" --quiet
