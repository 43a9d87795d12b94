# shellcheck shell=bash disable=SC2034 # the scripts that source this file use the variables
# What the scripts of this folder share: help, configuration, arguments, --dry-run, the state of
# the TPU. Sourced, not run.

here=$(cd "$(dirname "$0")" && pwd)
config=$here/tpu.env
keys=' NAME PROJECT ZONE TYPE VERSION SPOT QUEUED SLICES STORE PRICE PRICE_DATE '
keys+='RETRIES POLL PATIENCE '
dry_run=false
given=' '     # flags that were given, between spaces
rest=()       # what follows --
overrides=()  # --key=value and --config=FILE, as they were given

# The help of a script is the comment at its head, and what all of them take.
show_help() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
  echo "Configuration: $config. --config=FILE reads another, --key=value wins over it"
  echo '(--zone=us-east1-d). --dry-run prints the commands that change something.'
}

die() {
  echo "${0##*/}: $*" >&2
  exit 2
}

# parse "--flag ..." "$@": takes those flags, and reads the configuration.
parse() {
  local flags=" $1 " override key
  shift
  while (($#)); do
    case $1 in
    --help) show_help && exit ;;
    --dry-run) dry_run=true ;;
    --) shift && rest=("$@") && break ;;
    --config=*) config=${1#*=} overrides+=("$1") ;;
    --*=*) overrides+=("$1") ;;
    -*)
      [[ $flags == *" $1 "* ]] || die "unknown option $1; see ${0##*/} --help"
      given+="$1 "
      ;;
    *) die "unexpected argument $1; see ${0##*/} --help" ;;
    esac
    shift
  done
  read_config
  for override in ${overrides[@]+"${overrides[@]}"}; do
    key=$(tr a-z- A-Z_ <<<"${override%%=*}")
    key=${key#__}
    [[ $key != CONFIG ]] || continue
    [[ $keys == *" $key "* ]] || die "unknown option ${override%%=*}; see ${0##*/} --help"
    printf -v "$key" %s "${override#*=}"
  done
  check_config
}

has() { [[ $given == *" $1 "* ]]; }

# Lines of KEY=VALUE with comments. Read, not sourced: a file of settings runs nothing.
read_config() {
  local line number=0 key
  for key in $keys; do unset "$key"; done # what the environment says does not count
  [[ -f $config ]] || die "$config is not there: cp $here/tpu.env.example $config, and fill it in"
  while IFS= read -r line || [[ -n $line ]]; do
    ((++number))
    read -r line <<<"${line%%#*}" # without the comment and the spaces round it
    [[ -n $line ]] || continue
    key=${line%%=*}
    [[ $line == *=* && $keys == *" $key "* ]] ||
      die "$config, line $number: $line: expected KEY=VALUE with KEY one of$keys"
    printf -v "$key" %s "${line#*=}"
  done <"$config"
}

# want KEY REGEX WHAT: dies unless the whole value of KEY is of that form.
want() {
  [[ ${!1} =~ ^($2)$ ]] || die "$config: $1 is '${!1}'; it must be $3"
}

check_config() {
  local key
  for key in $keys; do
    [[ -n ${!key+set} ]] || die "$config: $key is missing; tpu.env.example says what it is"
  done
  want NAME '[a-z]([-a-z0-9]{0,38}[a-z0-9])?' 'small letters, digits and -, 40 at most'
  want PROJECT '[a-z][-a-z0-9:.]+' 'the ID of a Google Cloud project'
  want ZONE '[a-z]+-[a-z]+[0-9]+-[a-z]' 'a zone, such as us-east5-b'
  want TYPE '(v4|v5p|v5litepod|v6e)-[1-9][0-9]*' 'v4-N, v5p-N, v5litepod-N or v6e-N'
  want VERSION '[^[:space:]]+' 'a version of the TPU software, such as v2-alpha-tpuv6e'
  want SPOT 'yes|no' 'yes or no'
  want QUEUED 'yes|no' 'yes or no'
  want SLICES '[1-9][0-9]*' 'a number of slices'
  want STORE '(gs://[-a-z0-9._]+|[^[:space:]:]+:/[^[:space:]]*)?' 'gs://BUCKET, HOST:/SHARE or empty'
  want PRICE '([0-9]+(\.[0-9]+)?)?' 'USD per chip and hour, or empty'
  want PRICE_DATE '([0-9]{4}-[0-9]{2}-[0-9]{2})?' 'a date, such as 2026-11-27, or empty'
  want RETRIES '0|[1-9][0-9]*' 'a number without leading zeros'
  want POLL '[0-9]+(\.[0-9]+)?' 'a number of seconds'
  want PATIENCE '0|[1-9][0-9]*' 'a whole number of seconds'

  # In v4-N and v5p-N, N counts TensorCores: two a chip. The other types count chips.
  # https://docs.cloud.google.com/tpu/docs/v4, /v5p, /v5e, /v6e: configurations
  chips=${TYPE##*-}
  local on_one_host=8
  if [[ $TYPE == v4-* || $TYPE == v5p-* ]]; then chips=$((chips / 2)) on_one_host=4; fi
  distributed=false
  command=(run) # of bakein, before what the user gives
  if ((chips > on_one_host || SLICES > 1)); then distributed=true command+=(--distributed); fi
  chips=$((chips * SLICES))
}

# Run a command, or with --dry-run print it, quoted for pasting into a shell.
run() {
  if $dry_run; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

tpu() { run gcloud compute tpus "$@" --project="$PROJECT" --zone="$ZONE"; }

# on_workers WORKER [ARG ...]: run the script on standard input on worker WORKER, or all, in the
# home directory, with ARG ... as its "$@". It asks nothing: who could answer at night?
on_workers() {
  local worker=$1 node=$1 target=(tpu-vm ssh "$NAME")
  shift
  if ((SLICES > 1)); then target=(queued-resources ssh "$NAME" --node="$node"); fi
  tpu "${target[@]}" --worker="$worker" --quiet \
    --command="$(printf '%q ' set -eu -- "$@" && echo && cat)"
}

# The nodes of the TPU, one a line: name, state, number of workers, time of creation.
# Fields: https://docs.cloud.google.com/tpu/docs/reference/rest/v2/projects.locations.nodes
nodes() {
  local filter="name ~ /$NAME\$"
  if [[ $QUEUED == yes ]]; then filter="queuedResource ~ /$NAME\$"; fi
  tpu tpu-vm list --filter="$filter" \
    --format='value(name.basename(),state,networkEndpoints.len(),createTime)'
}

# The state of the queued resource; nothing where there is none.
queue_state() {
  tpu queued-resources list --filter="name ~ /$NAME\$" --format='value(state.state)'
}

# READY and the number of workers; or ABSENT; or the state that keeps the TPU from being ready.
# GONE: the queue says that the TPU is there, and it is not. States: the REST pages of nodes and of queuedResources.
tpu_state() {
  local queue='' lines other
  if [[ $QUEUED == yes ]]; then
    queue=$(queue_state) || return # set -e does not hold where the caller looks at the status
    case $queue in
    '') echo ABSENT && return ;;
    ACTIVE) ;;
    *) echo "$queue" && return ;;
    esac
  fi
  lines=$(nodes) || return
  other=$(awk -F '\t' '$2 != "READY" { print $2; exit }' <<<"$lines")
  if [[ -z $lines ]]; then
    [[ -n $queue ]] && echo GONE || echo ABSENT
  else
    echo "${other:-READY} $(awk -F '\t' '{ n += $3 } END { print n }' <<<"$lines")"
  fi
}

# run_states [ARG ...]: how the run is on each worker: run HOST none | running | exited CODE | gone,
# and the last line of its log. The run holds a lock on bakein.pid, which ends with it however it
# ends; a number could belong to another process after the machine was started anew. gone: nobody
# saw how it ended. busy: it is running, and is not `bakein ARG ...`.
run_states() {
  on_workers all "$@" <<'REMOTE'
state=none
if [[ -e bakein.pid ]]; then
  if ! flock --nonblock bakein.pid true; then
    state=running
    if (($#)) && [[ $(printf '%q ' "$@") != "$(cat bakein.command)" ]]; then state=busy; fi
  elif [[ -e bakein.exit ]]; then
    state="exited $(cat bakein.exit)"
  else
    state=gone
  fi
fi
printf '%s\n' "run $(hostname) $state" "log $(hostname) $(tail -n 1 bakein.log 2>/dev/null)"
REMOTE
}

# usd HOURS: what all the chips cost for so long; nothing where PRICE is not known.
usd() {
  [[ -z $PRICE ]] || LC_ALL=C awk -v chips="$chips" -v price="$PRICE" -v hours="$1" \
    'BEGIN { printf "%.2f USD", chips * price * hours }'
}

# What an hour costs, as half a sentence.
hourly() {
  if [[ -n $PRICE ]]; then
    echo "about $(usd 1) an hour ($chips chips at $PRICE USD, a price of ${PRICE_DATE:-unknown date})"
  else
    echo "money ($chips chips; PRICE is not set)"
  fi
}

# gcloud talks to several workers at once only with a key that the agent holds.
want_ssh_key() {
  if $distributed && ! $dry_run && ! ssh-add -l >/dev/null 2>&1; then
    die 'several workers need your key in the SSH agent: ssh-add ~/.ssh/google_compute_engine'
  fi
}

# A VM's own disk is of no use where several hosts write, or where it may be gone tomorrow. In a
# bucket the run writes by itself, below the name of the experiment; all else is mounted as runs/.
want_store() {
  local word path
  if [[ ${rest[0]} == -* ]]; then
    die "expected -- EXPERIMENT [OPTIONS]: ${rest[0]} comes after it"
  fi
  if [[ -z $STORE ]] && $distributed; then
    die "$config: STORE is empty; a study on several hosts needs one: gs://BUCKET or HOST:/SHARE"
  fi
  [[ $STORE == gs://* ]] || return 0
  for word in "${rest[@]}"; do
    if [[ $word == --workdir || $word == --workdir=* ]]; then return; fi
  done
  path=${rest[0]%%.py*}
  word=${path##*/}${rest[0]#"$path"}
  word=${word/.py/}
  command+=(--workdir="$STORE/${word//[^A-Za-z0-9._-]/-}")
}
