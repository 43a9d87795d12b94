#!/usr/bin/env bash
# Copy the current commit to every worker of the TPU, install it there, and mount an NFS STORE as
# runs/; in a bucket the run writes by itself.
#
#   setup.sh [--dry-run]
#
# Run it again after a new commit: ~/bakein on the workers moves to it. Uncommitted changes stay
# behind. The checkout has its history, so that a run records the commit it was made from.

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse '' "$@"
want_ssh_key

folder=${TMPDIR:-/tmp} # a command that is only printed must find it later
if ! $dry_run; then
  folder=$(mktemp -d)
  trap 'rm -r "$folder"' EXIT
fi
bundle=$folder/$NAME.bundle
run git -C "$here/.." bundle create --quiet "$bundle" HEAD
copy=(tpu-vm scp)
if ((SLICES > 1)); then copy=(queued-resources scp --node=all); fi
tpu "${copy[@]}" "$bundle" "$NAME:bakein.bundle" --worker=all --quiet

# TPU VMs come with Python 3.10; uv brings the one that bakein needs. It goes into the user's own
# site, which newer systems allow only when told so by the variable.
# A new VM's own upgrades may hold the lock of apt for minutes.
on_workers all "$STORE" <<'REMOTE'
store=$1
git init --quiet bakein
cd bakein
git fetch --quiet ../bakein.bundle HEAD
git checkout --quiet --force --detach FETCH_HEAD
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv
python3 -m uv venv --quiet --allow-existing --python 3.12 .venv
python3 -m uv pip install --quiet --python .venv --editable '.[tpu]'

mkdir -p runs
if [[ -z $store || $store == gs://* ]] || mountpoint --quiet runs; then exit; fi
install() { sudo apt-get -qq -o DPkg::Lock::Timeout=600 "$@" >/dev/null; }
command -v mount.nfs >/dev/null || { install update && install install nfs-common; }
# flock must reach the other machines, and let go of one that was taken away. From 4 on NFS locks
# on the server, by leases; before, a server keeps the locks of a VM that never comes back.
if ! sudo mount -t nfs -o vers=4.1 "$store" runs; then
  echo "$(hostname): $store cannot be mounted by NFSv4.1: tpu_scripts/README.md, step 4" >&2
  exit 1
fi
sudo chown "$(id -u)" runs
REMOTE
