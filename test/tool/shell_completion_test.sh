#!/usr/bin/env bash
# Completes command lines of cistern-trace as bash does on a tab. shell_completion_test.sh PROGRAM COMPLETION
set -u
program=$1
source "$2"
cd "$(mktemp -d)" || exit 1
trap 'rm -rf "$PWD"' EXIT
touch "a trace" another
failures=0

expect() {  # WORDS FOUND: the last word is being written; FOUND may be a pattern
  local words found
  read -r -a words <<<"$1"
  [[ $1 == *" " ]] && words+=("")
  COMP_WORDS=("$program" "${words[@]}")
  COMP_CWORD=${#words[@]}
  COMPREPLY=()
  _cistern_trace
  found="${COMPREPLY[*]:-}"
  # shellcheck disable=SC2053
  if [[ $found != $2 ]]; then
    echo "'cistern-trace $1' became '$found', not '$2'"
    failures=$((failures + 1))
  fi
}

expect "re" "record replay report"
expect "--v" "--version"
expect "print --" "*--call*--summary*"
expect "print --sum" "--summary"
expect "print " "*a trace*"
expect "print an" "another"
expect "record --st" "--stacks"
expect "record bas" "*bash*"
expect "record -o an" "another"
expect "export --format " "pprof heaptrack speedscope"
expect "export --format = h" "heaptrack"
expect "diff --by p" "peak"
expect "replay --on j" "jemalloc"
expect "frobnicate --" ""
exit $((failures != 0))
