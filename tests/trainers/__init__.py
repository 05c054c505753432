"""Programs that read a configuration of ``s2l export`` with the trainer's own loader.

Each runs in an environment with that trainer and prints one JSON object a row: its tokens, and its
labels, which are -100 where nothing is learned.
"""
