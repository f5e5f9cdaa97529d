"""nbtorch: PyTorch's interface with every kernel written in Python.

`import nbtorch as torch` is all that a PyTorch script of this scope changes.
"""

from math import e, inf, nan, pi
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
from .autograd.anomaly_mode import is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled
from .autograd.anomaly_mode import is_anomaly_enabled as is_anomaly_enabled
from .autograd.grad_mode import is_grad_enabled as is_grad_enabled
from .autograd.grad_mode import is_inference_mode_enabled as is_inference_mode_enabled
from .creation import (
    arange,
    as_tensor,
    asarray,
    empty,
    empty_like,
    empty_permuted,
    empty_strided,
    eye,
    from_numpy,
    frombuffer,
    full,
    full_like,
    linspace,
    logspace,
    ones,
    ones_like,
    range,
    scalar_tensor,
    tensor,
    zeros,
    zeros_like,
)
from .device import default_device as get_default_device
from .device import device, set_default_device
from .dtypes import (
    bfloat16,
    bool,
    cdouble,
    cfloat,
    complex64,
    complex128,
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
    uint16,
    uint32,
    uint64,
)
from .exchange import from_dlpack, to_dlpack
from .layout import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    strided,
)
from .legacy import (
    BFloat16Tensor,
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    set_default_tensor_type,
)
from .limits import finfo, iinfo
from .numerics import (
    are_deterministic_algorithms_enabled,
    get_deterministic_debug_mode,
    get_float32_matmul_precision,
    is_deterministic_algorithms_warn_only_enabled,
    set_deterministic_debug_mode,
    set_float32_matmul_precision,
    use_deterministic_algorithms,
)
from .ops.activation import (
    celu,
    celu_,
    hardshrink,
    prelu,
    relu,
    relu_,
    selu,
    selu_,
    sigmoid,
    sigmoid_,
    tanh,
    tanh_,
    threshold,
    threshold_,
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
    fill,
    fill_,
    floor_divide,
    ge,
    gt,
    is_same_size,
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
    square,
    sub,
    subtract,
    true_divide,
    where,
    zero_,
)
from .ops.binary import (
    addcdiv,
    addcmul,
    arctan2,
    atan2,
    bitwise_left_shift,
    bitwise_right_shift,
    copysign,
    float_power,
    fmax,
    fmin,
    fmod,
    gcd,
    greater,
    greater_equal,
    heaviside,
    hypot,
    lcm,
    ldexp,
    lerp,
    less,
    less_equal,
    logaddexp,
    logaddexp2,
    nextafter,
    not_equal,
)
from .ops.complex import (
    angle,
    complex,
    conj,
    conj_physical,
    imag,
    is_conj,
    is_neg,
    polar,
    real,
    resolve_conj,
    resolve_neg,
    view_as_complex,
    view_as_real,
)
from .ops.conversion import (
    can_cast,
    is_complex,
    is_floating_point,
    is_nonzero,
    is_signed,
    is_tensor,
    numel,
    result_type,
)
from .ops.copies import (
    alias_copy,
    as_strided_copy,
    detach_copy,
    diagonal_copy,
    expand_copy,
    narrow_copy,
    permute_copy,
    select_copy,
    slice_copy,
    split_copy,
    split_with_sizes_copy,
    squeeze_copy,
    t_copy,
    transpose_copy,
    unbind_copy,
    unfold_copy,
    unsqueeze_copy,
    view_copy,
)
from .ops.einsum import (
    einsum,
)
from .ops.factor import geqrf, lu, lu_solve, lu_unpack, orgqr, ormqr
from .ops.histogram import histogram, histogramdd
from .ops.indexing import (
    gather,
    index_put,
    index_put_,
    index_select,
    masked_select,
    nonzero,
    nonzero_static,
    unravel_index,
)
from .ops.joining import (
    adjoint,
    atleast_1d,
    atleast_2d,
    atleast_3d,
    block_diag,
    cartesian_prod,
    column_stack,
    combinations,
    dsplit,
    dstack,
    fliplr,
    flipud,
    hsplit,
    hstack,
    meshgrid,
    repeat_interleave,
    roll,
    rot90,
    row_stack,
    split_with_sizes,
    tensor_split,
    tile,
    unsafe_split_with_sizes,
    vsplit,
    vstack,
)
from .ops.linalg import (
    cholesky,
    cholesky_inverse,
    cholesky_solve,
    cond,
    det,
    frobenius_norm,
    inverse,
    logdet,
    lstsq,
    matrix_rank,
    nuclear_norm,
    pinverse,
    qr,
    slogdet,
    solve,
    svd,
    triangular_solve,
)
from .ops.matmul import addmm, bmm, dot, matmul, mm, mv
from .ops.pointwise import (
    abs,
    absolute,
    acos,
    acosh,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctanh,
    asin,
    asinh,
    atan,
    atanh,
    ceil,
    clamp,
    clamp_,
    clamp_max,
    clamp_max_,
    clamp_min,
    clamp_min_,
    clip,
    cos,
    cosh,
    deg2rad,
    exp,
    exp2,
    expm1,
    fix,
    floor,
    frac,
    frexp,
    isneginf,
    isposinf,
    isreal,
    log,
    log1p,
    log2,
    log10,
    nan_to_num,
    nan_to_num_,
    positive,
    rad2deg,
    reciprocal,
    round,
    round_,
    rsqrt,
    sgn,
    sign,
    signbit,
    sin,
    sinh,
    sqrt,
    tan,
    trunc,
)
from .ops.products import (
    addbmm,
    addmv,
    addr,
    baddbmm,
    chain_matmul,
    cross,
    ger,
    inner,
    kron,
    matrix_exp,
    matrix_power,
    outer,
    tensordot,
    vdot,
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
from .ops.scan import (
    cummax,
    cummin,
    cumprod,
    cumsum,
    cumulative_trapezoid,
    diff,
    gradient,
    logcumsumexp,
    trapezoid,
    trapz,
    vander,
)
from .ops.scatter import (
    argwhere,
    index_add,
    index_copy,
    index_fill,
    index_reduce,
    masked_scatter,
    put,
    scatter,
    scatter_add,
    scatter_reduce,
    segment_reduce,
    take,
    take_along_dim,
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
    moveaxis,
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
    swapdims,
    t,
    transpose,
    unbind,
    unflatten,
    unsafe_chunk,
    unsafe_split,
    unsqueeze,
)
from .ops.sorting import (
    argsort,
    bincount,
    bucketize,
    histc,
    isin,
    kthvalue,
    median,
    mode,
    msort,
    nanmedian,
    nanquantile,
    quantile,
    searchsorted,
    sort,
    topk,
    unique,
    unique_consecutive,
)
from .ops.special import (
    digamma,
    erf,
    erfc,
    erfinv,
    i0,
    igamma,
    igammac,
    lgamma,
    log_softmax,
    logit,
    mvlgamma,
    polygamma,
    sinc,
    softmax,
    xlogy,
)
from .ops.statistics import (
    aminmax,
    broadcast_shapes,
    cdist,
    corrcoef,
    cov,
    dist,
    nanmean,
    nansum,
    norm_except_dim,
    pdist,
    renorm,
    std_mean,
    var_mean,
)
from .ops.strided import (
    as_strided,
    as_strided_scatter,
    diag,
    diag_embed,
    diagflat,
    diagonal,
    diagonal_scatter,
    select_scatter,
    slice_scatter,
    trace,
    tril,
    tril_indices,
    triu,
    triu_indices,
)
from .printing import set_printoptions
from .random import (
    Generator,
    bernoulli,
    binomial,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    multinomial,
    normal,
    poisson,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    seed,
    set_rng_state,
)
from .serialization import load as load
from .serialization import save as save
from .storage import TypedStorage, UntypedStorage, is_storage
from .tensor import Size, Tensor, is_inference
from .threads import get_num_interop_threads, get_num_threads, set_num_interop_threads, set_num_threads

from . import fft as fft  # isort: skip
from . import linalg as linalg  # isort: skip
from . import special as special  # isort: skip
from . import nn as nn  # isort: skip  (needs all of the above)
from .nn.functional import rrelu, rrelu_  # isort: skip
from .ops.norm_aliases import batch_norm, group_norm, instance_norm, layer_norm, rms_norm  # isort: skip
from .nn.functional import (  # isort: skip
    adaptive_avg_pool1d,
    adaptive_max_pool1d_with_indices as adaptive_max_pool1d,
    avg_pool1d,
    bilinear,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_tbc,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    max_pool1d,
    max_pool1d_with_indices,
    max_pool2d,
    max_pool3d,
    pairwise_distance,
    pixel_shuffle,
    pixel_unshuffle,
)
from .nn.recurrent import (  # isort: skip
    gru,
    gru_cell,
    lstm,
    lstm_cell,
    rnn_relu,
    rnn_relu_cell,
    rnn_tanh,
    rnn_tanh_cell,
)
from . import signal as signal  # isort: skip
from .spectral import (  # isort: skip
    bartlett_window,
    blackman_window,
    hamming_window,
    hann_window,
    istft,
    kaiser_window,
    stft,
)
from . import optim as optim  # isort: skip
from . import func as func  # isort: skip
from . import utils as utils  # isort: skip
from . import cpu as cpu  # isort: skip
from . import cuda as cuda  # isort: skip
from . import backends as backends  # isort: skip
from . import functions as _functions  # isort: skip

_functions.publish(globals(), _functions.WITH_OUT)
_functions.publish_methods(globals())

newaxis = None


def __getattr__(name: str) -> object:
    """Import the profiler when it is first asked for: few programs use it."""
    if name == "profiler":
        import importlib

        return importlib.import_module(".profiler", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
