"""Array types that all metrics take."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer[Any]]
"""``[N]`` label ids, or ``[N, C]`` of 0 and 1."""
Logits = NDArray[np.floating[Any]]
"""``[N, C]``."""
Floats = NDArray[np.float64]
"""Numbers of any shape in double precision."""
