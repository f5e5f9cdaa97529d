"""Switches for how results are computed, under the names that PyTorch has for the libraries behind it.

There are no such libraries here: what a switch chooses are kernels of ours. `cudnn.allow_tf32` and
`cuda.matmul.allow_tf32` say whether float32 convolutions and matrix products may use tensor cores; the others are kept
for programs that set them and change nothing, because results are deterministic either way.
"""

from . import cpu as cpu
from . import cuda as cuda
from . import cudnn as cudnn
from . import mkl as mkl
from . import mkldnn as mkldnn
from . import mps as mps
from . import openmp as openmp
