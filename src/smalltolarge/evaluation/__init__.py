"""Text in, scores out: questions for a model, and what its answers are worth. No model is here.

A new task is one class (``Task``) and one row in ``TASKS``; from outside, ``FILE.jsonl`` and
``my_package.module:Class`` are accepted wherever a name is. ``Exam`` asks and judges.
"""

from smalltolarge.evaluation.exam import Exam
from smalltolarge.evaluation.task import Answer, Question, Score, Task
from smalltolarge.evaluation.tasks import GROUPS, TASKS, find_tasks

__all__ = ["GROUPS", "TASKS", "Answer", "Exam", "Question", "Score", "Task", "find_tasks"]
