#!/usr/bin/env python3
"""Records the small traces that stand beside it, anew: record.py TOOL, which is a built cistern-trace.

The programs work on what is made here, in a folder and an environment of their own: a trace has the paths of the
programs' files and libraries, and nothing else of the machine."""
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # nothing is left in the sources' folder
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from programs import GIT_CONFIG, make_repository, pseudo_random_lines
from record_traces import AWK_PROGRAM

PERL_PROGRAM = """
my %index;
while (my $line = <>) {
  chomp $line;
  push @{$index{substr $line, 0, 2}}, { line => $., text => $line };
}
my @long = grep { length > 40 } map { my $word = $_; join ',', map { "$word$_->{line}" } @{$index{$word}} } sort keys %index;
(my $text = join ' ', @long) =~ s/([a-f])/<$1>/g;
print length $text, "\\n";
"""


def programs():
    """Name → command, as a shell would be given it."""
    return {
        "awk": ["awk", AWK_PROGRAM, "more"],
        "git-log": ["git", "-C", "repository", *GIT_CONFIG, "log", "--stat", "-p", "-n", "4"],
        "perl": ["perl", "-e", PERL_PROGRAM, "lines"],
    }


def main():
    tool = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": work, "GIT_CONFIG_NOSYSTEM": "1"}
        (folder / "lines").write_text(pseudo_random_lines(1500))
        (folder / "more").write_text(pseudo_random_lines(10_000))
        make_repository(folder, environment, files=12)
        for name, command in programs().items():
            subprocess.run([tool, "record", "--quiet", "--stacks=12", "--compress", "-o", HERE / f"{name}.trace", "--", *command],
                           cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
