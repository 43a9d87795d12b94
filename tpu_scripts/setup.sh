#!/usr/bin/env bash
# Copy the current commit to every worker of a TPU VM and install it there.
#
#   setup.sh [--dry-run] NAME ZONE
#
# Run it again after a new commit: ~/bakein on the workers moves to it. Uncommitted changes stay
# behind. The checkout has its history, so that a run records the commit it was made from.

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse 'NAME ZONE' '' "$@"

folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
bundle=$folder/bakein.bundle
run git -C "$(dirname "$0")/.." bundle create --quiet "$bundle" HEAD
run gcloud compute tpus tpu-vm scp "$bundle" "${args[0]}:bakein.bundle" --zone="${args[1]}" \
  --worker=all

# TPU VMs come with Python 3.10; uv brings the one that bakein needs. It goes into the user's own
# site, which newer systems allow only when told so by the variable.
on_workers "${args[@]}" all <<'REMOTE'
git init --quiet bakein
cd bakein
git fetch --quiet ../bakein.bundle HEAD
git checkout --quiet --force --detach FETCH_HEAD
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
python3 -m uv venv --quiet --allow-existing --python 3.12 .venv
python3 -m uv pip install --quiet --python .venv --editable '.[tpu]'
REMOTE
