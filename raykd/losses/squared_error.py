"""Loss on numbers instead of classes."""

from torch import Tensor

from raykd.losses.reduce import working


def squared_error(outputs: Tensor, values: Tensor) -> Tensor:
    """Per row ``(z - y)²``: outputs ``[B, 1]``, values ``[B]`` of any float dtype; fp32 ``[B]`` out.

    Raises ValueError when the model has another number of outputs than one.
    """
    if outputs.shape != (len(values), 1):
        raise ValueError(f"outputs {tuple(outputs.shape)} must have the shape {(len(values), 1)}: one number for each row")
    return (working(outputs).squeeze(1) - values).square()
