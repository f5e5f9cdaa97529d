"""nbtorch: PyTorch's interface with every kernel written in Python.

`import nbtorch as torch` is all that a PyTorch script of this scope changes.
"""

from pathlib import Path as _Path

# In a checkout, which Python imports when it is started there, the kernels lie beside this folder, not inside.
if (
    not (_Path(__file__).parent / "kernels").exists()
    and (_Path(__file__).parents[1] / "kernels" / "geometry.py").exists()
):
    __path__.append(str(_Path(__file__).parents[1]))

from . import autograd as autograd
from . import dtypes as dtypes
from . import ops as ops
from ._version import __version__ as __version__
from .autograd import enable_grad as enable_grad
from .autograd import inference_mode as inference_mode
from .autograd import no_grad as no_grad
from .autograd import set_grad_enabled as set_grad_enabled
from .autograd.grad_mode import is_grad_enabled as is_grad_enabled
from .autograd.grad_mode import is_inference_mode_enabled as is_inference_mode_enabled
from .creation import (
    arange,
    as_tensor,
    asarray,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    scalar_tensor,
    tensor,
    zeros,
    zeros_like,
)
from .device import device, set_default_device
from .dtypes import (
    bool,
    double,
    dtype,
    float,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    int,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    set_default_dtype,
    short,
    uint8,
)
from .ops.arithmetic import (
    add,
    allclose,
    bitwise_and,
    bitwise_not,
    bitwise_or,
    bitwise_xor,
    clone,
    div,
    divide,
    eq,
    equal,
    floor_divide,
    ge,
    gt,
    isclose,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    masked_fill,
    maximum,
    minimum,
    mul,
    multiply,
    ne,
    neg,
    negative,
    pow,
    remainder,
    rsub,
    sub,
    subtract,
    true_divide,
    where,
)
from .ops.indexing import gather, index_put, index_select, masked_select, nonzero
from .ops.matmul import addmm, bmm, dot, matmul, mm, mv, outer
from .ops.pointwise import (
    abs,
    absolute,
    ceil,
    clamp,
    clip,
    cos,
    exp,
    expm1,
    floor,
    log,
    log1p,
    log2,
    log10,
    reciprocal,
    relu,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    tan,
    tanh,
    trunc,
)
from .ops.reduction import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    count_nonzero,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    std,
    sum,
    var,
)
from .ops.shape import (
    broadcast_tensors,
    broadcast_to,
    cat,
    chunk,
    concat,
    concatenate,
    flatten,
    flip,
    movedim,
    narrow,
    permute,
    ravel,
    reshape,
    select,
    split,
    squeeze,
    stack,
    swapaxes,
    t,
    transpose,
    unbind,
    unflatten,
    unsqueeze,
)
from .printing import set_printoptions
from .random import (
    Generator,
    bernoulli,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    normal,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    seed,
    set_rng_state,
)
from .serialization import load as load
from .serialization import save as save
from .tensor import Size, Tensor

from . import nn as nn  # isort: skip  (needs all of the above)
from . import optim as optim  # isort: skip
