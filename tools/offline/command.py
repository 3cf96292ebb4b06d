# SPDX-License-Identifier: Apache-2.0
"""Runs compilers, and finds them."""
import shutil
import subprocess


class Failure(Exception):
    """A compiler refused: what was run and what it said."""


def run(command, folder):
    """All that the command prints; the compilers here report on either stream."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    if done.returncode != 0:
        raise Failure(' '.join(map(str, command)) + '\n' + done.stdout[-4000:])
    return done.stdout


def lacking(programs, files):
    """Which of the programs and files are not there, or None."""
    absent = [name for name in programs if not shutil.which(name)] + [str(path) for path in files if not path.exists()]
    return 'not found: ' + ', '.join(absent) if absent else None


def first_line(command):
    return run(command, None).splitlines()[0]
