"""Every error a user can cause: one line that names the thing, what was found, what was expected, what to do."""


class MinigenError(Exception):
    """Base of all of them; `exit_code` is what the command line returns."""

    exit_code = 2


class ShapeError(MinigenError, ValueError):
    """Operands whose shapes do not fit."""


class DTypeError(MinigenError, TypeError):
    """A dtype or type that the operation cannot take without losing something."""


class SettingError(MinigenError, ValueError):
    """A setting outside its range: a learning rate below 0, a probability above 1."""


class GraphError(MinigenError, RuntimeError):
    """The recorded graph cannot give the gradient that was asked for."""


class BackendError(MinigenError, RuntimeError):
    """An array backend that is unknown, missing or has no working device."""

    exit_code = 5


class RankError(MinigenError, RuntimeError):
    """Processes that are to train one model together, and cannot."""


class DataError(MinigenError, ValueError):
    """A data file or data set that is missing, damaged or not what its name says."""

    exit_code = 1


class CheckpointError(MinigenError, ValueError):
    """A checkpoint that is missing, damaged or of another model."""

    exit_code = 1


class CourseError(MinigenError, ValueError):
    """A lesson, hole or file of the course that does not exist or cannot be read."""


class DivergenceError(MinigenError, ArithmeticError):
    """Training left the finite numbers."""

    exit_code = 1
