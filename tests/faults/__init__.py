"""The fault kit: every command is failed at operation 1, 2, 3 ..., and must come out the same.

``python -m tests.faults --help`` says how it is run; ``docs/reliability.md`` what is promised.
"""
