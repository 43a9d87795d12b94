#!/usr/bin/env bash
# Create a TPU VM.
#
#   create.sh [--spot] [--queued] [--dry-run] NAME ZONE TYPE VERSION
#
# --spot    cheap, and may be taken away at any moment; a run resumes from its checkpoint
# --queued  wait in the queue for capacity instead of failing where there is none
#
# For example: create.sh --spot --queued bakein-1 us-east5-b v6e-8 v2-alpha-tpuv6e
# Types:       gcloud compute tpus accelerator-types list --zone=ZONE
# Versions:    gcloud compute tpus versions list --zone=ZONE

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse 'NAME ZONE TYPE VERSION' '--spot --queued' "$@"
name=${args[0]} zone=${args[1]} type=${args[2]} version=${args[3]}

if has --queued; then
  create=(queued-resources create "$name" --node-id="$name" --runtime-version="$version")
else
  create=(tpu-vm create "$name" --version="$version")
fi
create+=(--zone="$zone" --accelerator-type="$type")
if has --spot; then create+=(--spot); fi
run gcloud compute tpus "${create[@]}"
