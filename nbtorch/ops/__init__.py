"""Differentiable operations, forward and backward side by side, one file per family, named as in `kernels`.

Importing this package installs the operations as methods of Tensor.
"""

from . import (
    arithmetic as arithmetic,
)
from . import (
    conversion as conversion,
)
from . import (
    indexing as indexing,
)
from . import (
    matmul as matmul,
)
from . import (
    pointwise as pointwise,
)
from . import (
    reduction as reduction,
)
from . import (
    shape as shape,
)
