"""A comparison as jobs of Slurm: one for what all arms share, then an array with a task an arm."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import groupby

from smalltolarge.errors import RecipeError, printable

_SCRIPT = """\
#!/bin/sh
# Submits a comparison to Slurm: a job for what all arms share, then an array with a task for each
# of {count} arms. Options of sbatch given to this script go to both:
#   sh FILE --gres=gpu:1 --time=8:00:00
set -eu
shared=$(sbatch --parsable --job-name={name}-shared --chdir={folder} "$@" <<'END'
#!/bin/sh
exec srun {command} --shared
END
)
sbatch --job-name={name} --chdir={folder} --dependency=afterok:"${{shared%%;*}}" \\
    --kill-on-invalid-dep=yes --array={numbers} "$@" <<'END'
#!/bin/sh
exec srun {command} --arm "$SLURM_ARRAY_TASK_ID"
END
"""
# With --parsable the number of a job comes with the name of its cluster, where there are several.


def to_script(words: Sequence[str], numbers: Sequence[int], name: str, folder: str) -> str:
    """Write the shell script that submits the arms of these ``numbers``.

    Parameters
    ----------
    words : the words of ``s2l run`` that all jobs have in common
    name : what the jobs are called
    folder : where the command was given
    """
    command = shlex.join([sys.executable, "-m", "smalltolarge", "run", *words, "--no-progress"])
    if "\n" in command:
        raise RecipeError("--on slurm: a name or value has a line end, which no script can carry")
    return _SCRIPT.format(
        count=len(numbers),
        name=shlex.quote(name),
        folder=shlex.quote(folder),
        command=command,
        numbers=_ranges(numbers),
    )


def submit(script: str) -> str:
    """Run the script; gives what sbatch said.

    Raises
    ------
    RecipeError
        There is no Slurm here, or it refuses the jobs.
    """
    if shutil.which("sbatch") is None:
        raise RecipeError(
            "--submit: there is no sbatch here. Without --submit the script is printed."
        )
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RecipeError(f"sbatch ended with {done.returncode}: {printable(done.stderr, 1000)}")
    return done.stdout


def _ranges(numbers: Sequence[int]) -> str:
    """Write increasing numbers as Slurm does: 1-4,7."""
    runs = [
        [number for _, number in group]
        for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
