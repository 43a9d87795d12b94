# shellcheck shell=bash disable=SC2034 # the scripts that source this file use the variables
# What the scripts of this folder share: help, arguments, --dry-run. Sourced, not run.

dry_run=false
args=()   # positional arguments
given=' ' # flags that were given, between spaces
rest=()   # what follows --

# The help of a script is the comment at its head.
show_help() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

die() {
  echo "${0##*/}: $*; see ${0##*/} --help" >&2
  exit 2
}

# parse "NAME ZONE ..." "--flag ..." "$@": wants exactly those positionals, takes those flags.
parse() {
  local names flags=" $2 "
  read -ra names <<<"$1"
  shift 2
  while (($#)); do
    case $1 in
    --help) show_help && exit ;;
    --dry-run) dry_run=true ;;
    --) shift && rest=("$@") && break ;;
    -*)
      [[ $flags == *" $1 "* ]] || die "unknown option $1"
      given+="$1 "
      ;;
    *) args+=("$1") ;;
    esac
    shift
  done
  ((${#args[@]} == ${#names[@]})) || die "expected ${names[*]}, got ${#args[@]} arguments"
}

has() { [[ $given == *" $1 "* ]]; }

# Run a command, or with --dry-run print it, quoted for pasting into a shell.
run() {
  if $dry_run; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

# on_workers NAME ZONE WORKER [ARG ...]: run the script on standard input on the workers of the
# TPU VM, in the home directory, with ARG ... as its "$@".
on_workers() {
  local name=$1 zone=$2 worker=$3
  shift 3
  run gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker="$worker" \
    --command="$(printf '%q ' set -eu -- "$@" && echo && cat)"
}
