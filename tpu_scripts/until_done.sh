#!/usr/bin/env bash
# Run an experiment until it is done: create the TPU, wait for it, set it up, launch, watch; after
# a preemption or an interruption, start again. Run it again and it goes on from where things are.
#
#   until_done.sh [--delete] [--dry-run] -- EXPERIMENT [OPTIONS OF bakein run]
#
# --delete  when it ends, done or failed, delete the TPU; needs STORE, where the study stays.
#           After a failure the end of the logs is kept, beside the configuration. A run that was
#           alive when the workers fell silent is left alone.
#
# Ctrl-C ends this script alone: the TPU and the run on it go on.
# Status: 0 the study is done, 1 it failed or was given up, 2 wrong arguments, 130 Ctrl-C.

set -euo pipefail
source "$(dirname "$0")/common.sh"
parse '--delete' "$@"
((${#rest[@]})) || die 'expected -- EXPERIMENT'
want_store
if [[ $SPOT == yes && -z $STORE ]]; then
  die "$config: STORE is empty; with SPOT=yes the VM's disk may be gone at any moment"
fi
if has --delete && [[ -z $STORE ]]; then die "--delete needs STORE, where the study stays"; fi
want_ssh_key

script() { # NAME [ARG ...]: another script, with the configuration that this one was given
  local name=$1
  shift
  "$here/$name" ${overrides[@]+"${overrides[@]}"} "$@"
}

if $dry_run; then
  echo '# until the TPU is READY:'
  script create.sh --dry-run
  if [[ $QUEUED == yes ]]; then queue_state; fi
  nodes
  echo '# then, and after each interruption:'
  script setup.sh --dry-run
  script launch.sh --dry-run -- "${rest[@]}"
  echo "# until the run is done, every $POLL seconds:"
  run_states "${command[@]}" "${rest[@]}"
  echo "# after a preemption$(if has --delete; then echo ', and at the end'; fi):"
  script delete.sh --yes --dry-run
  exit
fi

said=$(mktemp)
trap 'rm -f "$said"' EXIT
quietly() { # gcloud has a word for each connection: shown only where something failed
  local status=0
  "$@" 2>"$said" || status=$?
  ((status == 0)) || cat "$said" >&2
  return "$status"
}

again=0     # starts after the first
tries=0     # of them, since a run got on
looks=0     # that saw this start alive
crashed=''  # not empty: the last of them came after a crash
short=false # whether capacity is missing
failures=0  # steps towards a run that failed in a row
misses=0    # looks in a row without an answer
silent=0    # since when that is so
idle=false  # whether nothing ran when the workers were last heard, or there was no TPU
ready=0     # seconds that the TPU was seen to be ready
last=''     # what was said last

say() { # the same thing once
  if [[ $* != "$last" ]]; then echo "$(date +%T) $*" >&2; fi
  last=$*
}

summary() { # WHAT
  local hours
  hours=$(LC_ALL=C awk -v seconds="$ready" 'BEGIN { printf "%.2f", seconds / 3600 }')
  last=''
  say "$1: $(printf '%q ' "${rest[@]}")"
  say "started again $again times; the TPU was ready for $hours hours while this script looked on" \
    "${PRICE:+(about $(usd "$hours"), an estimate)}"
}

# What says why a run failed is on the disks that go: the end of each log comes beside the
# configuration. Where it does not come, nobody goes on paying for it.
keep_logs() {
  local logs
  logs=$(dirname "$config")/$NAME-$(date -u +%Y%m%dT%H%M%SZ).log
  quietly on_workers all >"$logs" <<'REMOTE' || true
if [[ -e bakein.log ]]; then tail -c 1000000 bakein.log | sed "s/^/$(hostname): /"; fi
REMOTE
  if [[ -s $logs ]]; then
    say "the end of the workers' logs is in $logs"
  else
    rm -f "$logs"
    say 'no log could be kept'
  fi
}

finish() { # STATUS WHAT [keep]: with keep, the TPU may be in use, and --delete does not count
  trap - INT
  summary "$2"
  if [[ $state == ABSENT ]]; then
    say "$NAME is not there, and costs nothing"
  elif has --delete && [[ ${3-} != keep ]]; then
    if (($1)) && [[ $state == READY ]]; then keep_logs; fi
    if script delete.sh --yes; then
      say "$NAME is deleted"
    else
      say "$NAME could not be deleted, and costs $(hourly)"
    fi
  else
    say "$NAME stays as it is; while it is there it costs $(hourly): delete.sh --yes"
  fi
  exit "$1"
}

interrupted() {
  echo >&2
  summary 'interrupted'
  say "$NAME and the run on it stay as they are; the same command goes on from there"
  say "status.sh shows them; while $NAME is there it costs $(hourly): delete.sh --yes"
  exit 130
}
trap interrupted INT

start_again() { # WHY
  ((tries < RETRIES)) || finish 1 "given up after RETRIES=$RETRIES; the last reason: $1"
  ((++tries, ++again))
  say "start $tries of at most $RETRIES again: $1"
}

# A step failed though the workers answer: what fails five times is wrong, and costs meanwhile.
failed() { # WHAT
  ((++failures < 5)) || finish 1 "given up: $1, 5 times in a row"
  say "$1; trying again"
}

# Nothing was heard, which says nothing about the run: it needs no network of ours, and that comes
# back. One miss before a laptop slept and one after it are no long silence: hence the five.
unheard() { # WHAT
  ((misses++)) || silent=$SECONDS
  if ((misses >= 5 && SECONDS - silent >= PATIENCE)); then
    set -- "given up after $(((SECONDS - silent) / 60)) minutes: $1"
    if $idle; then finish 1 "$1"; fi
    say 'the run may be going on: status.sh shows it, the same command watches it again'
    finish 1 "$1" keep
  fi
  say "$1; trying again"
}

pause() { # the longer, the longer nothing was heard
  local i
  for ((i = 0; i <= misses && i < 10; i++)); do sleep "$POLL"; done
}

create() {
  local answer
  $short || say "asking for $SLICES × $TYPE in $ZONE"
  if answer=$(script create.sh 2>&1); then
    created=true short=false
    return
  fi
  # Only a lack of capacity passes by itself, and costs nothing: README.md has what else the cloud
  # may say.
  if [[ $answer == *'no more capacity'* ]]; then
    $short || echo "$answer" >&2
    short=true
    say "no capacity in the zone; asking again every $POLL seconds"
    return
  fi
  echo "$answer" >&2
  # What failed on the way here may have been created all the same.
  state=$(quietly tpu_state) || state=SILENT
  read -r state _ <<<"$state"
  finish 1 'the TPU could not be created'
}

begin() {
  if ! script setup.sh; then
    failed 'setup.sh failed'
    return
  fi
  idle=false # where launch.sh fails, some may run
  if ! script launch.sh -- "${rest[@]}"; then
    failed 'launch.sh failed'
  else
    failures=0 looks=0 mine=true
    say 'launched'
  fi
}

# One word for how the run is on all workers together. A worker that was taken away pulls the
# others down, with whatever status: what was interrupted comes before what failed. 134, SIGABRT, is
# how jax ends the processes that hear nothing from another one: an interruption, but no excuse for
# one that failed beside it. "over": not all answered, and of those that did, one has ended.
# A second word, crashed, where one ended as no interruption from outside ends it.
verdict() { # WORKERS, with the lines of run_states on standard input
  awk -v workers="$1" '
    $1 == "run" { n++; state = $3 == "exited" ? $4 : $3; seen[state]++ }
    END {
      split("running gone none 0 75 143", outside, " ")
      for (i in outside) calm += seen[outside[i]]
      crashed = calm < n ? " crashed" : ""
      if (n != workers) print (n > seen["running"] + seen["busy"]) ? "over" : "unseen"
      else if (seen["busy"]) print "busy"
      else if (seen["stopped"]) print "stopped"
      else if (seen["none"] == n) print "none"
      else if (seen["gone"] || seen["none"]) print "interrupted" crashed
      # 143: SIGTERM came before the run could hear it, or after; stop.sh says "stopped".
      else if (seen["75"] || seen["143"] || seen["134"] &&
        seen["134"] + seen["0"] + seen["running"] == n)
        print (seen["running"] ? "ending" : "interrupted") crashed
      else if (seen["0"] + seen["running"] < n) print "failed"
      else print seen["running"] ? "running" : "done"
    }'
}

mine=false # whether this script saw the run alive: how an earlier one ended is no answer
endings=0
watch() { # WORKERS
  local workers=$1 states how crash
  # The status is not looked at: where one worker does not answer, the others may have.
  states=$(quietly run_states "${command[@]}" "${rest[@]}") || true
  read -r how crash <<<"$(verdict "$workers" <<<"$states")"
  if [[ $how == unseen || $how == over ]]; then
    if [[ $how == over ]]; then idle=true; fi
    unheard "$(grep -c '^run ' <<<"$states") of $workers workers answered"
    return
  fi
  misses=0 idle=true
  if ! $mine && [[ " done stopped failed " == *" $how "* ]]; then how=none; fi
  case $how in
  none) begin ;;
  running)
    mine=true idle=false endings=0 failures=0
    # A crash comes again at the same step, however far it is; what came from outside is forgiven.
    if ((++looks == 10)) && [[ -z $crashed ]]; then tries=0; fi
    say "running: $(sed -n 's/^log [^ ]* //p' <<<"$states" | head -n 1)"
    ;;
  ending)
    idle=false
    say 'it was interrupted and is saving'
    if ((++endings < 5)); then return; fi
    interrupted_run "$crash"
    ;;
  interrupted) interrupted_run "$crash" ;;
  busy) finish 1 'another experiment is running: stop.sh ends it' keep ;;
  done) finish 0 'done' ;;
  stopped) finish 1 'stopped by stop.sh' keep ;;
  failed)
    script logs.sh --all >&2 || true
    finish 1 "failed: $(awk '$1 == "run" { print $2, $3, $4 }' <<<"$states" | paste -s -d ';' -)"
    ;;
  esac
}

interrupted_run() { # [crashed]
  endings=0
  if $mine; then # else this is the same interruption still, or one before this script came
    start_again 'the run was interrupted'
    crashed=$1
  fi
  script stop.sh --now >&2 || true # where one worker was taken away, the others wait for it
  mine=false                       # until it is launched, "stopped" is this script's own doing
  begin
}

where="$NAME --project=$PROJECT --zone=$ZONE"
state=''
created=false
asked=false
looked=$SECONDS
while true; do
  if ! answer=$(quietly tpu_state); then
    $asked || finish 1 'the cloud did not say how the TPU is' keep
    answer=SILENT
  fi
  read -r state workers <<<"$answer"
  asked=true
  if [[ $state == READY ]]; then ready=$((ready + SECONDS - looked)); fi
  looked=$SECONDS
  case $state in
  READY) watch "$workers" ;;
  ABSENT)
    idle=true misses=0
    if $created; then
      start_again "$NAME is not there any more"
      created=false crashed=''
    fi
    create
    ;;
  PREEMPTED | TERMINATED | SUSPENDED | GONE)
    [[ -n $STORE ]] || finish 1 "$NAME is $state, and STORE is empty: what is on its disk goes with it"
    say "$NAME is $state: deleting what is left of it"
    created=true idle=true misses=0
    script delete.sh --yes || failed 'delete.sh failed'
    ;;
  FAILED) finish 1 "the queue refused: gcloud compute tpus queued-resources describe $where" ;;
  STOPPED) finish 1 "somebody stopped $NAME: gcloud compute tpus tpu-vm start $where" keep ;;
  UNKNOWN) finish 1 "$NAME is UNKNOWN: gcloud compute tpus tpu-vm describe $where" keep ;;
  SILENT) unheard 'the cloud did not say how the TPU is' ;;
  *)
    failures=0 misses=0
    say "$NAME is $state; waiting"
    ;;
  esac
  pause
done
