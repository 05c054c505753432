"""Text in, scores out: questions for a target, and what its answers are worth. No model is here.

A task is one class with two methods, ``questions`` and ``score``.
"""

from smalltolarge.evaluation.suites import Suite, find_suites
from smalltolarge.evaluation.task import Answer, Question, Task, TaskResult

__all__ = ["Answer", "Question", "Suite", "Task", "TaskResult", "find_suites"]
