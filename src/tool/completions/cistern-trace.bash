# Completion of cistern-trace's commands, options and files for bash. What there is to choose from is asked of the
# tool itself.

_cistern_trace_words() {  # COMMAND or nothing: the options, and without a command the commands, that --help names
  "${COMP_WORDS[0]}" "$@" --help 2>/dev/null | awk '
    /^[A-Za-z].*:$/ { section = $1 }
    section == "Commands:" && /^  [a-z]/ { print $1 }
    section == "Options:" && /^  -/ { count = split($1, names, ","); for (i = 1; i <= count; ++i) print names[i] }'
}

_cistern_trace_program_at() {  # the index of the word that is the program to be recorded; nothing if there is none yet
  local i
  for ((i = 2; i < COMP_CWORD; ++i)); do
    case ${COMP_WORDS[i]} in
      --) echo $((i + 1)); return ;;
      -o | --output | --max-size | --sample | --toggle-signal) ((++i)); [[ ${COMP_WORDS[i]} == = ]] && ((++i)) ;;
      =) ((++i)) ;;
      -*) ;;
      *) echo "$i"; return ;;
    esac
  done
}

_cistern_trace() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} words= program
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W "$(_cistern_trace_words)" -- "$current")
    return
  fi
  if [[ $command == record ]]; then
    program=$(_cistern_trace_program_at)
    if [[ -n $program ]] && ((program <= COMP_CWORD)) && declare -F _command_offset >/dev/null; then
      _command_offset "$program"
      return
    fi
  fi
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case $command$previous in
    export--format) words="pprof heaptrack speedscope" ;;
    diff--by) words="bytes calls peak live" ;;
    print--call) words="allocate deallocate reallocate failed_allocate" ;;
    replay--on) words="new cistern-sync cistern-unsync std-sync std-unsync monotonic mimalloc jemalloc tcmalloc snmalloc nothing" ;;
  esac
  if [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
  elif [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_cistern_trace_words "$command")" -- "$current")
  elif [[ $command == record && -z $program && $previous != -o && $previous != --output ]]; then
    mapfile -t COMPREPLY < <(compgen -c -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}

complete -o filenames -o bashdefault -F _cistern_trace cistern-trace
