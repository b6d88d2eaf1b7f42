# Completion of cistern-trace's commands, options and files for fish. What there is to choose from is asked of the tool
# itself.

function __cistern_trace_named # PROGRAM [COMMAND]: the options, and without a command the commands, that --help names
    $argv --help 2>/dev/null | awk -F '   *' '
        /^[A-Za-z].*:$/ { section = $1 }
        section == "Commands:" && /^  [a-z]/ { print $2 "\t" $3 }
        section == "Options:" && /^  -/ {
            sub(/ .*/, "", $2)
            count = split($2, names, ",")
            for (i = 1; i <= count; ++i) print names[i] "\t" $3
        }'
end

function __cistern_trace_program_at # WORDS: the index of the program to be recorded; nothing if there is none yet
    set -l i 3
    while test $i -le (count $argv)
        switch $argv[$i]
            case --
                math $i + 1
                return
            case -o --output --max-size --sample --toggle-signal
                set i (math $i + 1)
            case '-*'
            case '*'
                echo $i
                return
        end
        set i (math $i + 1)
    end
end

function __cistern_trace_values # COMMAND OPTION: what there is to choose from; nothing where it may be anything
    switch "$argv"
        case 'export --format'
            string split ' ' 'pprof heaptrack speedscope'
        case 'diff --by'
            string split ' ' 'bytes calls peak live'
        case 'print --call'
            string split ' ' 'allocate deallocate reallocate failed_allocate'
        case 'replay --on'
            string split ' ' 'new cistern-sync cistern-unsync std-sync std-unsync monotonic mimalloc jemalloc tcmalloc snmalloc nothing'
    end
end

function __cistern_trace
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    if test (count $words) -eq 1
        __cistern_trace_named $words
        return
    end
    if test $words[2] = record
        set -l program (__cistern_trace_program_at $words "$current")
        if test -n "$program" -a "$program" -le (math (count $words) + 1)
            complete -C (string join ' ' -- (string escape -- $words[$program..-1]) $current)
            return
        end
    end
    set -l option $words[-1]
    set -l before (string match -r -- '^--[^=]+=|' $current)[1]
    test -n "$before" && set option (string trim -r -c = -- $before)
    set -l values (__cistern_trace_values $words[2] $option)
    if test -n "$values"
        string match -q -- $option --on --call && set before (string match -r -- '^.*[=,]|' $current)[1]
        printf '%s\n' $before$values
    else if string match -q -- '-*' $current && test -z "$before"
        __cistern_trace_named $words[1..2]
    else
        printf '%s\n' $before(__fish_complete_path (string replace -- "$before" '' $current))
    end
end

complete -c cistern-trace -f -a '(__cistern_trace)'
