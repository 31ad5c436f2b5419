"""The course: lessons and holes, stubs, the check runner, progress, the learner's code in the engine."""

from minigen.course.mistakes import Mistake

__all__ = ["Mistake"]
