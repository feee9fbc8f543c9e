# shellcheck shell=bash
# Runs named steps one after the other, whatever becomes of each, and sums them up in a table. Sourced after common.sh.

steps_names=() steps_results=() steps_seconds=()

# step NAME COMMAND…: with `set -e` inside, also in functions. What it prints stays visible.
step() {
  local name=$1 begin=$SECONDS status
  shift
  say ""
  say "==> $name"
  set +e
  (set -e && "$@")
  status=$?
  set -e
  steps_names+=("$name") steps_seconds+=($((SECONDS - begin)))
  if [ $status -eq 0 ]; then
    steps_results+=(passed)
  else
    steps_results+=(FAILED)
    say "FAILED: $name (status $status)"
  fi
}

# skip NAME REASON
skip() {
  say ""
  say "==> $1: skipped, $2"
  steps_names+=("$1") steps_seconds+=(0) steps_results+=("skipped: $2")
}

# The table; its last line is `N passed, N failed`, and its status says whether all passed. Nothing run is a failure.
summary() {
  local index passed=0 failed=0
  printf '\n%-34s %9s  %s\n' step seconds result
  for index in "${!steps_names[@]}"; do
    printf '%-34s %9d  %s\n' "${steps_names[$index]}" "${steps_seconds[$index]}" "${steps_results[$index]}"
    case ${steps_results[$index]} in
      passed) passed=$((passed + 1)) ;;
      FAILED) failed=$((failed + 1)) ;;
    esac
  done
  printf '%-34s %9d\n' total "$SECONDS"
  printf '%d passed, %d failed\n' $passed $failed
  [ $failed -eq 0 ] && [ $passed -gt 0 ]
}
