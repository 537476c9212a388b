"""Errors that a user can cause, each one message: where, found, accepted, what to do.

Every class here ends the command line with exit status 2. Faults of pyahir itself are
``ir.verify.VerifyError`` or a failed ``assert``; they are not here.
"""

from __future__ import annotations

__all__ = ["AaError", "DataError", "ImportModelError", "OutputError", "PlanError", "PyahirError"]


class PyahirError(Exception):
    """A mistake in what the user gave us; the message is all that the user sees."""


class ImportModelError(PyahirError):
    """A model file that cannot become a graph.

    Cause: a file of the wrong kind, a truncated one, an operator or attribute outside the op set.
    Example: ``model.py:14 (conv1): padding_mode='reflect' is not supported; use 'zeros'``.
    Fix: as the message says; ``docs/errors.md`` lists the messages.
    """


class DataError(PyahirError):
    """Input or calibration data of the wrong shape, type or size.

    Cause: an array whose shape is not the model's input, whose element type is not float32 or
    uint8, that is empty, or that holds NaN.
    Example: ``digits.npz: array 'x' has shape 4x32x32; the model takes Nx1x28x28``.
    Fix: save the array with the shape that the message names.
    """


class PlanError(PyahirError):
    """A hardware request that the layer cannot follow.

    Cause: a folding that does not divide the layer, or an option for a layer that does not exist.
    Example: ``conv1: pe=4 does not divide 6 output channels; accepted: 1, 2, 3, 6``.
    Fix: choose one of the accepted values.
    """


class AaError(PyahirError):
    """Aa text that is not accepted: syntax, types or a known trap of the synthesis tools.

    Cause: hand-written or edited Aa. The message holds file, line, column and the line itself.
    Example: ``gcd.aa:3:9: identifier '_x' begins with '_'``.
    Fix: as the message says; ``docs/aa-subset.md`` lists what is accepted.
    """


class OutputError(PyahirError):
    """A file that cannot be written.

    Cause: a missing folder, no permission, a full disk. Nothing half-written is left behind.
    Example: ``/nowhere/lenet.aa: cannot write: the folder does not exist``.
    Fix: choose a path in a folder that can be written.
    """
