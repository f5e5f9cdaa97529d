"""The short-time Fourier transform and its inverse, and the windows that `torch` itself offers."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from . import dtypes
from .creation import ones, tensor
from .layout import require_strided
from .nn.functional import fold, pad
from .ops.complex import view_as_complex, view_as_real
from .ops.fft import fft, ifft, irfft, rfft
from .ops.shape import stack
from .signal.windows import BLACKMAN, HAMMING, Array, bessel, cosines, positions_of, triangle
from .tensor import Tensor, method


def _window(
    name: str,
    window_length: int,
    periodic: bool,
    formula: Callable[[Array], Array],
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:
    require_strided(name, layout)
    try:
        length = operator.index(window_length)
    except TypeError:
        raise TypeError(
            f"{name}(): argument 'window_length' (position 1) must be int, not {type(window_length).__name__}"
        ) from None
    if length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={length}")
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if not chosen.is_floating_point:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {chosen}")
    values = np.ones(1) if length == 1 else formula(positions_of(length, not periodic))
    return tensor(values, dtype=chosen, device=device, requires_grad=requires_grad)


def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Return ½ - ½ cos(2πn / N), where N is the length, or without `periodic` the length less one.

    The options of all windows are `dtype`, `layout`, `device`, `pin_memory` and `requires_grad`.

    Raises:
        RuntimeError: a negative length, or a type that is not floating-point.
    """
    return _window("hann_window", window_length, periodic, lambda at: cosines(at, (0.5, 0.5)), **options)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = HAMMING, beta: float = 1 - HAMMING, **options: Any
) -> Tensor:
    """Return alpha - beta cos(2πn / N); lengths, options and errors are those of `hann_window`."""
    return _window("hamming_window", window_length, periodic, lambda at: cosines(at, (alpha, beta)), **options)


def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Return 0.42 - ½ cos(2πn / N) + 0.08 cos(4πn / N); lengths, options and errors are those of `hann_window`."""
    return _window("blackman_window", window_length, periodic, lambda at: cosines(at, BLACKMAN), **options)


def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """Return a triangle that is 0 at both ends; lengths, options and errors are those of `hann_window`."""
    return _window("bartlett_window", window_length, periodic, triangle, **options)


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any) -> Tensor:
    """Return I₀(beta √(1 - x²)) / I₀(beta), x from -1 to 1; lengths, options and errors are those of `hann_window`."""
    return _window("kaiser_window", window_length, periodic, lambda at: bessel(at, beta), **options)


@method
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """Return the Fourier transforms of frames that overlap: how much of each frequency there is at each time.

    Args:
        input: signals, (L) or (B, L), real or complex.
        n_fft: the length of a frame.
        hop_length: from one frame to the next, by default `n_fft // 4`.
        win_length: the window's length, by default `n_fft`; a shorter one is centred in the frame.
        window: (win_length), by default ones.
        center: put frame t around the sample t · hop_length, by padding the signal at both ends.
        pad_mode: how.
        normalized: divide by √n_fft.
        onesided: only the frequencies that are not negative; the default if all is real.
        return_complex: to be given for real inputs. False, which PyTorch will drop, gives pairs of real numbers.
        align_to_window: without `center`, let the frames of windows, rather than those of `n_fft`, cover the signal.

    Returns:
        (B, n_fft // 2 + 1 or n_fft, frames), complex.

    Raises:
        RuntimeError: a size that does not fit, or options that exclude each other.
    """
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    if center:
        extended = input.view(*[1] * (3 - input.dim()), *input.shape)
        input = pad(extended, [n_fft // 2, n_fft // 2], pad_mode).view(*_padded_shape(input, n_fft))
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    if window is None:
        _warn_of_no_window(
            ", which is known to cause spectral leakage. Other windows such as torch.hann_window or"
            " torch.hamming_window are recommended to reduce spectral leakage"
        )
    complex_pair = input.is_complex() or (window is not None and window.is_complex())
    if return_complex is None and not complex_pair:
        raise RuntimeError("stft requires the return_complex parameter be given for real inputs")
    if return_complex is False:
        warnings.warn(
            "stft with return_complex=False is deprecated: call torch.view_as_real on the result", stacklevel=2
        )
    _check_signal(input, n_fft, hop, width, window)
    if onesided and complex_pair:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if align_to_window:
        input = pad(input, [(n_fft - width) // 2] * 2)
    frames = input.unfold(-1, n_fft, hop)
    if window is not None:
        frames = frames * _in_frame(window, n_fft)
    elif width < n_fft:
        frames = frames * _in_frame(ones(width, dtype=input.dtype, device=input.device), n_fft)
    transform = rfft if (not complex_pair if onesided is None else onesided) else fft
    result = transform(frames, norm="ortho" if normalized else None).transpose(-1, -2)
    return view_as_real(result) if return_complex is False else result


def _warn_of_no_window(consequence: str) -> None:
    warnings.warn(
        f"A window was not provided. A rectangular window will be applied{consequence}. To suppress this warning and"
        " use a rectangular window, explicitly set `window=torch.ones(n_fft, device=<device>)`.",
        stacklevel=3,
    )


def _padded_shape(input: Tensor, n_fft: int) -> tuple[int, ...]:
    return (*input.shape[:-1], input.shape[-1] + 2 * (n_fft // 2)) if input.dim() else (-1,)


def _in_frame(window: Tensor, n_fft: int) -> Tensor:
    """Return a window with zeros around it that make it as long as a frame."""
    missing = n_fft - window.shape[0]
    return pad(window, [missing // 2, missing - missing // 2]) if missing else window


def _check_signal(input: Tensor, n_fft: int, hop: int, width: int, window: Tensor | None) -> None:
    if not (input.is_floating_point() or input.is_complex()):
        raise RuntimeError(f"stft: expected a tensor of floating point or complex values, got {input.dtype}")
    if input.dim() not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, but got input of shape {list(input.shape)}")
    length = input.shape[-1]
    if not 0 < n_fft <= length:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {length}, but got n_fft={n_fft}")
    _check_window("stft", n_fft, hop, width, window)


def _check_window(name: str, n_fft: int, hop: int, width: int, window: Tensor | None) -> None:
    if hop <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < width <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft={n_fft}, but got win_length={width}")
    if window is not None and tuple(window.shape) != (width,):
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={width}, but got window with size"
            f" {list(window.shape)}"
        )


@method
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """Return the signal of a short-time Fourier transform: the frames, added up and divided by the sum of the windows.

    Args:
        input: (n_fft // 2 + 1 or n_fft, frames) or with a batch in front, complex.
        n_fft, hop_length, win_length, window, center, normalized: as in `stft`.
        onesided: whether there are only the frequencies that are not negative; by default what the shape says.
        length: how long the signal is to be; by default as long as the frames reach.
        return_complex: whether the signal is complex.

    Raises:
        RuntimeError: a size that does not fit, options that exclude each other, or windows that leave a gap.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    if window is None:
        _warn_of_no_window(". Please provide the same window used by stft to make the inversion lossless")
    halved = _check_spectrum(input, n_fft, onesided, return_complex, window)
    _check_window("istft", n_fft, hop, width, window)
    if hop > width:
        raise RuntimeError(f"istft: expected 0 < hop_length <= win_length={width}, but got hop_length={hop}")
    if window is None:
        window = ones(width, dtype=input.real.dtype, device=input.device)
    window = _in_frame(window, n_fft)

    batched = input if input.dim() == 3 else input[None]
    spectra = batched.transpose(-1, -2)
    norm = "ortho" if normalized else None
    if return_complex:
        frames = ifft(spectra, norm=norm)
    else:
        half = spectra if halved else spectra[..., : n_fft // 2 + 1]
        frames = irfft(half, n_fft, norm=norm)
    signal = _overlap_added(frames * window, hop)
    weights = _overlap_added((window * window).expand(1, frames.shape[1], n_fft), hop)[0]
    begin = n_fft // 2 if center else 0
    reach = signal.shape[-1]
    end = begin + length if length is not None else reach - (n_fft // 2 if center else 0)
    signal, weights = signal[:, begin:end], weights[begin:end]
    if weights.abs().min().item() <= 1e-11:
        raise RuntimeError(f"istft: window overlap add min: {weights.abs().min().item():g}: the windows leave a gap")
    signal = signal / weights
    if end > reach:
        warnings.warn(
            "The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail."
            " Please check your center and hop_length settings.",
            stacklevel=2,
        )
        signal = pad(signal, [0, end - reach])
    return signal if input.dim() == 3 else signal[0]


def _check_spectrum(
    input: Tensor, n_fft: int, onesided: bool | None, return_complex: bool, window: Tensor | None
) -> bool:
    """Check the shape of a spectrum and the options; return whether it has half of the frequencies."""
    if not input.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    if input.dim() not in (2, 3):
        raise RuntimeError(f"istft: expected a tensor with 2 or 3 dimensions, but got {input.dim()}")
    if input.numel() == 0:
        raise RuntimeError(f"istft: input tensor cannot be empty, got shape {list(input.shape)}")
    frequencies = input.shape[-2]
    halved = frequencies != n_fft if onesided is None else onesided
    if halved and frequencies != n_fft // 2 + 1:
        raise RuntimeError(
            f"istft: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft / 2 + 1 when"
            f" onesided=True, but got {frequencies} with n_fft={n_fft}"
        )
    if not halved and frequencies != n_fft:
        raise RuntimeError(
            f"istft: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft when"
            f" onesided=False, but got {frequencies} with n_fft={n_fft}"
        )
    if return_complex and halved:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not return_complex and window is not None and window.is_complex():
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    return halved


def _overlap_added(frames: Tensor, hop: int) -> Tensor:
    """Return the sums (B, L) of frames (B, T, n) that begin `hop` apart."""
    if frames.is_complex():
        parts = view_as_real(frames)
        return view_as_complex(stack([_overlap_added(parts[..., part], hop) for part in range(2)], -1))
    count, size = frames.shape[-2:]
    reach = size + hop * (count - 1)
    blocks = frames.transpose(-1, -2)
    return fold(blocks, (reach, 1), (size, 1), stride=(hop, 1)).view(frames.shape[0], reach)
