#!/usr/bin/env zsh
# Completes command lines of cistern-trace as zsh does on a tab, in a shell on a terminal.
# zsh_completion_test.zsh PROGRAM COMPLETION
zmodload zsh/zpty || exit 1
program=${1:A} completion=${2:A}
work=$(mktemp -d)
trap 'zpty -d shell 2>/dev/null; rm -rf $work' EXIT
cd $work || exit 1
mkdir files && touch "files/a trace" files/another && mkfifo answers
exec {answers}<>answers
failures=0

# What the shell on the terminal begins with. A tab there tells what there is to choose from, and changes nothing.
cat >setup <<END
PROMPT= ; RPROMPT=
path=(${(q)program:h} \$path)
fpath=(${(q)completion:h} \$fpath)
autoload -Uz compinit && compinit -D -u
zstyle ':completion:*' completer _complete
compadd() {
  if [[ \${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then
    builtin compadd "\$@"
    return
  fi
  local -a matching
  builtin compadd -O matching "\$@"
  found+=(\$matching)
  ((\$#matching))
}
tell() {
  local -aU found
  _main_complete
  print -r -- \${(o)found} >${(q)work}/answers
}
zle -C tell complete-word tell
bindkey -e
bindkey '^I' tell
cd files
print -r -- ready >${(q)work}/answers
END

answer() {  # sets REPLY; what the terminal shows is of no use, but must be read
  local shown
  read -r -t 60 -u $answers REPLY || REPLY="no answer"
  while zpty -r -t shell shown; do :; done
}

expect() {  # LINE FOUND: the last word is being written; FOUND may be a pattern
  zpty -n -w shell $'\C-U'"cistern-trace $1"$'\t'
  answer
  if [[ $REPLY != ${~2} ]]; then
    print -r -- "'cistern-trace $1' became '$REPLY', not '$2'"
    ((++failures))
  fi
}

zpty -b shell zsh -f -i
zpty -w shell "source ${(q)work}/setup"
answer
[[ $REPLY == ready ]] || { print "zsh did not begin"; exit 1; }

expect "re" "record replay report"
expect "--v" "--version"
expect "print --" "*--call*--summary*"
expect "print --sum" "--summary"
expect "print " "a* trace another"  # as it stands on the line: with a backslash
expect "print an" "another"
expect "record --st" "--stacks"
expect "record bas" "*bash*"
expect "record -- bas" "*bash*"
expect "record -o an" "another"
expect "record --output=an" "another"
expect "export --format " "heaptrack pprof speedscope"
expect "export --format=h" "heaptrack"
expect "diff --by p" "peak"
expect "replay --on j" "jemalloc"
expect "replay --on=new,j" "jemalloc"
expect "frobnicate --" ""
exit $((failures != 0))
