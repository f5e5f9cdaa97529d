"""The short-time Fourier transform, its inverse, and windows, beside PyTorch."""

import itertools

import numpy as np
import pytest

import nbtorch

from .against_torch import assert_same

WAVE = np.random.default_rng(3).standard_normal((2, 100))


def call(expression):
    """Return a program that evaluates an expression of the library `t`, signals, a window `w`, and spectra."""

    def program(t):
        x = t.tensor(WAVE[0], dtype=t.float32)
        z = t.complex(x, x.flip(0))
        w = t.hann_window(20)
        S = t.stft(x, 20, window=w, return_complex=True)
        Z = t.stft(z, 20, window=w)
        return eval(expression, {"t": t, "x": x, "z": z, "w": w, "S": S, "Z": Z, "wave": t.tensor(WAVE)})

    return program


TRANSFORMS = """
t.stft(x,20,window=w)
t.stft(x,20,window=t.ones(20),return_complex=True)
t.stft(z,20,window=w)
t.stft(z,20,window=w,onesided=True)
t.stft(x,20,window=w.to(t.cfloat))
t.stft(x,20,window=w,return_complex=True,onesided=False)
t.stft(x[None,None],20,window=w,return_complex=True)
t.stft(x[0],20,window=w,return_complex=True)
t.stft(x[0],20,window=w,return_complex=True,center=False)
t.stft(x,0,window=w[:0],return_complex=True)
t.stft(x,300,window=t.ones(300),return_complex=True,center=False)
t.stft(x,300,window=t.ones(300),return_complex=True)
t.stft(x,20,hop_length=0,window=w,return_complex=True)
t.stft(x,20,win_length=21,window=t.ones(21),return_complex=True)
t.stft(x,20,win_length=0,window=w[:0],return_complex=True)
t.stft(x,20,win_length=10,window=w,return_complex=True)
t.stft(x.long(),20,window=w,return_complex=True,center=False)
t.stft(x,20,window=t.ones(20,dtype=t.double),return_complex=True)
t.stft(x,20,window=t.ones(20).long(),return_complex=True)
t.stft(x,20,window=w,center=False,return_complex=True,align_to_window=True)
t.stft(x,20,window=w,return_complex=True,align_to_window=True)
t.stft(x,20,win_length=11,window=w[:11],center=False,return_complex=True,align_to_window=True)
t.stft(x,20,win_length=10,window=w[:10],center=False,return_complex=True,align_to_window=False)
t.stft(x,20,win_length=11,window=w[:11],return_complex=True)
t.stft(x,20,window=w,return_complex=True,pad_mode="constant")
x.stft(20,7,20,w,return_complex=True)
t.istft(S,20,window=w)
S.istft(20,window=w)
t.istft(S[None],20,window=w)
t.istft(S,20,window=w,length=130)
t.istft(S,20,window=w,length=30)
t.istft(S,20,window=w,length=0)
t.istft(t.view_as_real(S),20,window=w)
t.istft(S,20,window=w,return_complex=True)
t.istft(S,20,window=w,onesided=False,return_complex=True)
t.istft(Z,20,window=w,return_complex=True)
t.istft(Z,20,window=w,onesided=False,return_complex=True)
t.istft(Z,20,window=w,onesided=False)
t.istft(Z,20,window=w.to(t.cfloat),onesided=False,return_complex=False)
t.istft(S,22,window=w)
t.istft(S,20,window=w,center=False)
t.istft(S,20,window=t.ones(20),center=False)
t.istft(S,20,window=w*0)
t.istft(S,20,hop_length=25,window=w)
t.istft(S,20,win_length=25,window=w)
t.istft(S,20,win_length=10,window=w)
t.istft(S[None,None],20,window=w)
t.istft(S[:,:0],20,window=w)
t.istft(S[:0],20,window=w)
t.istft(S,20,window=w,normalized=True)
t.istft(S,20,hop_length=7,window=w)
t.istft(S,20,hop_length=20,window=t.ones(20))
t.istft(S,20,hop_length=20,window=w)
t.istft(t.ones(11,21,dtype=t.cfloat),20,window=t.ones(20).double())
"""

WINDOWS = """
t.hann_window(0)
t.hann_window(1)
t.hann_window(-1)
t.hann_window(7)
t.hann_window(8,False)
t.hann_window(1,periodic=False)
t.hann_window(5,dtype=t.long)
t.hann_window(5,False,dtype=t.half)
t.hann_window(5,dtype=t.bfloat16)
t.hann_window(5.0)
t.kaiser_window(5)
t.kaiser_window(5,True,7.0)
t.kaiser_window(6,False,0.0,dtype=t.double)
t.hamming_window(5)
t.hamming_window(5,True,0.5,0.4)
t.hamming_window(5,False,0.5)
t.blackman_window(3)
t.blackman_window(12,dtype=t.double)
t.bartlett_window(4,requires_grad=True)
t.bartlett_window(5,False)
"""


@pytest.mark.parametrize("expression", (TRANSFORMS + WINDOWS).split())
def test_transforms_and_windows_are_torchs(expression):
    assert_same(call(expression))


OPTIONS = {
    "exponential": [{}, {"tau": 2.0}, {"center": 1.0, "sym": False}, {"center": 1.0}, {"tau": 0}],
    "gaussian": [{}, {"std": 0.7}, {"std": 0}],
    "kaiser": [{}, {"beta": 3.0}, {"beta": -1}],
    "general_cosine": [{"a": [0.4, 0.3, 0.2, 0.1]}, {"a": []}, {"a": 3}],
    "general_hamming": [{}, {"alpha": 0.7}],
    **{name: [{}] for name in ("cosine", "hamming", "hann", "blackman", "bartlett", "nuttall")},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_windows_of_signal_are_torchs(name):
    for options, length, symmetric in itertools.product(OPTIONS[name], (-1, 0, 1, 2, 7, 8), (True, False)):
        given = {"sym": symmetric, **options}
        assert_same(lambda t, given=given, length=length: getattr(t.signal.windows, name)(length, **given))
    given = next(iter(OPTIONS[name]))
    assert_same(lambda t: getattr(t.signal.windows, name)(5, dtype=t.float64, requires_grad=True, **given))
    assert_same(lambda t: getattr(t.signal.windows, name)(5, dtype=t.int64, **given))


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("n_fft, hop, width", [(16, 4, 16), (15, 5, 15), (16, 3, 12), (17, 17, 17)])
def test_every_option_of_the_transform_and_back(n_fft, hop, width, normalized):
    def program(t):
        results = []
        for center in (True, False):
            window = t.ones(width, dtype=t.float64) if hop == width else t.hamming_window(width, dtype=t.float64)
            options = {"window": window, "center": center, "normalized": normalized}
            x = t.tensor(WAVE, requires_grad=True)
            spectrum = t.stft(x, n_fft, hop, width, return_complex=True, **options)
            results.append(spectrum)
            if center or width == n_fft:
                back = t.istft(spectrum, n_fft, hop, width, **options)
                results += [back, t.autograd.grad(back.pow(3).sum(), x)[0]]
            results.append(t.autograd.grad(spectrum.abs().sum(), x)[0])
        return results

    assert_same(program)


def test_gradients_of_the_transform_and_back():
    window = nbtorch.hamming_window(8, dtype=nbtorch.float64)
    x = nbtorch.tensor(WAVE[:, :24], requires_grad=True)

    def there_and_back(x):
        spectrum = nbtorch.stft(x, 8, 3, window=window, return_complex=True)
        return nbtorch.istft(spectrum * spectrum, 8, 3, window=window)

    assert nbtorch.autograd.gradcheck(there_and_back, (x,))
    assert nbtorch.autograd.gradgradcheck(there_and_back, (x,))


def test_a_missing_window_is_mentioned():
    with pytest.warns(UserWarning, match="A window was not provided"):
        spectrum = nbtorch.stft(nbtorch.tensor(WAVE), 20, return_complex=True)
    with pytest.warns(UserWarning, match="A window was not provided"):
        np.testing.assert_allclose(nbtorch.istft(spectrum, 20).numpy(), WAVE, atol=1e-12)
    with pytest.warns(UserWarning, match="return_complex=False is deprecated"):
        pairs = nbtorch.stft(nbtorch.tensor(WAVE), 20, window=nbtorch.ones(20), return_complex=False)
    assert pairs.shape == (*spectrum.shape, 2)


def test_a_signal_comes_back():
    x = nbtorch.tensor(WAVE)
    window = nbtorch.hann_window(20, dtype=nbtorch.float64)
    spectrum = nbtorch.stft(x, 20, window=window, return_complex=True)
    np.testing.assert_allclose(nbtorch.istft(spectrum, 20, window=window, length=100).numpy(), WAVE, atol=1e-12)
