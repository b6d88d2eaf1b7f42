#!/usr/bin/env fish
# Completes command lines of cistern-trace as fish does on a tab. fish_completion_test.fish PROGRAM COMPLETION
set -p PATH (path dirname (path resolve $argv[1]))
source $argv[2]
set -g work (mktemp -d)
cd $work; or exit 1
touch "a trace" another
set -g failures 0

function expect # LINE FOUND: the last word is being written; FOUND may be a pattern
    set -l found (complete -C "cistern-trace $argv[1]" | string replace -r '\t.*' '' | sort | string join ' ')
    if not string match -q -- $argv[2] "$found"
        echo "'cistern-trace $argv[1]' became '$found', not '$argv[2]'"
        set failures (math $failures + 1)
    end
end

expect re "record replay report"
expect --v --version
expect "print --" "*--call*--summary*"
expect "print --sum" --summary
expect "print " "a trace another"
expect "print an" another
expect "record --st" --stacks
expect "record bas" "*bash*"
expect "record -- bas" "*bash*"
expect "record -o an" another
expect "record --output=an" --output=another
expect "export --format " "heaptrack pprof speedscope"
expect "export --format=h" --format=heaptrack
expect "diff --by p" peak
expect "replay --on j" jemalloc
expect "replay --on=new,j" --on=new,jemalloc
expect "frobnicate --" ""
cd /
rm -rf $work
exit (math "min($failures, 1)")
