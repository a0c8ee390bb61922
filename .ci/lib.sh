# Shared by the scripts of this folder: steps with headers and times. Sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
started_s=$SECONDS

# step NAME COMMAND…: prints a header, runs the command, prints how long it took. The first failure ends the script.
step() {
  local name=$1 from_s=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  "$@" || { printf '=== %s: FAILED after %d s\n' "$name" $((SECONDS - from_s)); exit 1; }
  printf '=== %s: ok, %d s\n' "$name" $((SECONDS - from_s))
}

total() {
  printf '\n=== all done in %d s\n' $((SECONDS - started_s))
}
