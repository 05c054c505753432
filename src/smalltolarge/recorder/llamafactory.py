"""Train with LLaMA-Factory and record the losses.

    python -m smalltolarge.recorder.llamafactory train.yaml

is ``llamafactory-cli train train.yaml`` in one process, where train.yaml may have the keys of a
recorder, too: ``s2l_data``, ``s2l_checkpoints`` and others. Several processes are begun by
``torchrun --nproc-per-node 2 -m smalltolarge.recorder.llamafactory train.yaml``.
"""

from __future__ import annotations

from smalltolarge.errors import RecipeError
from smalltolarge.recorder import PREFIX, of_keys


def main() -> None:
    """Train as the configuration of the command line says, by LLaMA-Factory's ``run_exp``.

    Raises
    ------
    RecipeError
        There is no configuration in YAML, or a key of the recorder is wrong.
    """
    from llamafactory.hparams import read_args
    from llamafactory.train.tuner import run_exp

    given = read_args()
    if not isinstance(given, dict):
        raise RecipeError(
            "python -m smalltolarge.recorder.llamafactory FILE.yaml: a configuration is needed"
        )
    theirs = {name: value for name, value in given.items() if not name.startswith(PREFIX)}
    run_exp(theirs, callbacks=[of_keys(given, theirs.get("cutoff_len", 2048))])


if __name__ == "__main__":
    main()
