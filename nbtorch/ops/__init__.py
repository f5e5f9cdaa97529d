"""Differentiable operations, forward and backward side by side, one file per family, named as in `kernels`.

Importing this package installs the operations as methods of Tensor.
"""

from . import activation as activation
from . import arithmetic as arithmetic
from . import binary as binary
from . import callables as callables
from . import complex as complex
from . import conversion as conversion
from . import copies as copies
from . import einsum as einsum
from . import factor as factor
from . import fft as fft
from . import histogram as histogram
from . import indexing as indexing
from . import joining as joining
from . import linalg as linalg
from . import matmul as matmul
from . import pointwise as pointwise
from . import polynomials as polynomials
from . import products as products
from . import reduction as reduction
from . import scan as scan
from . import scatter as scatter
from . import shape as shape
from . import sorting as sorting
from . import special as special
from . import statistics as statistics
from . import strided as strided
