"""The course: lessons and holes, stubs, the check runner, progress, the learner's code in the engine."""

from minigen.course.mistakes import Mistake
from minigen.course.plugs import Part, mine, plug

__all__ = ["Mistake", "Part", "mine", "plug"]
