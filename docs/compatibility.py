"""Compares the names and signatures of nbtorch with PyTorch's: `python docs/compatibility.py [--write]`.

It writes docs/compatibility.md, or tells whether that page is current. Every name that is missing and every signature
that differs must match a pattern in the tables below, which say why.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import sys
import types
import warnings
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("compatibility.md")

# The namespaces that are compared name by name.
WHOLE = (
    "nn",
    "nn.functional",
    "nn.init",
    "nn.parameter",
    "nn.grad",
    "nn.attention",
    "nn.utils",
    "nn.utils.parametrize",
    "nn.utils.parametrizations",
    "nn.utils.prune",
    "nn.utils.rnn",
    "nn.utils.stateless",
    "optim",
    "optim.adadelta",
    "optim.adagrad",
    "optim.adam",
    "optim.adamax",
    "optim.adamw",
    "optim.asgd",
    "optim.nadam",
    "optim.radam",
    "optim.rmsprop",
    "optim.rprop",
    "optim.sgd",
    "optim.lr_scheduler",
    "optim.swa_utils",
)

# Those where a missing name needs no reason and signatures are not compared.
COUNTED = ("", "Tensor", "linalg", "fft", "special", "autograd", "autograd.functional", "autograd.graph", "utils.data")

# Why a name is missing: patterns of qualified names without "torch.", the first that matches counts.
REASONS = {
    "training in several processes or on several devices at once": """
        nn.parallel nn.DataParallel distributed *is_distributed prepare_multiprocessing_environment
        utils.data.Distributed*""",
    "quantised types and their kernels": """
        nn.intrinsic nn.qat nn.quantizable nn.quantized quantiz* *quantize* *quantized* *.q_* q_* qscheme
        Tensor.qscheme qint* quint* per_channel_* per_tensor_* int_repr *.int_repr *choose_qparams* *fake_quant*
        fbgemm_* nn.functional.scaled_mm nn.functional.scaled_grouped_mm nn.functional.ScalingType
        nn.functional.SwizzleType ao quantization""",
    "sparse layouts": """
        optim.SparseAdam *sparse* *_indices *crow_indices* *col_indices* *row_indices* Tensor.coalesce
        Tensor.is_coalesced Tensor.dense_dim Tensor.to_dense Tensor.indices Tensor.values *smm* *spmm saddmm
        hspmm dsmm hsmm sspaddmm *indices_copy values_copy""",
    "nested tensors": "nested jagged Tensor.to_padded_tensor",
    "devices other than CPU and CUDA": """
        *.ipu *.xpu *.mtia *.is_maia *.is_mtia mtia mps xpu is_vulkan_available *_ipu_* *_xla_* Tensor.to_mkldnn
        mkldnn_* miopen_* cudnn_*""",
    "TorchScript, tracing and compilation: nbtorch compiles kernels, not programs": """
        jit fx compile export compiler sym_* Sym* *Script* script* parse_* import_ir* *Type Graph Node Block
        Value Use Code *_if_scripting""",
    "PyTorch's machinery, visible by accident": """
        nn.functional.BroadcastingList* nn.functional.assert_int_or_pair nn.functional.boolean_dispatch
        nn.functional.handle_torch_function nn.functional.has_torch_function* nn.Module.T_destination
        nn.attention.SDPBackend.* optim.Optimizer.OptimizerP*""",
    "deprecated in PyTorch, where it raises or warns": """
        Tensor.eig Tensor.lstsq Tensor.solve Tensor.symeig Tensor.volatile
        Tensor.reinforce eig symeig has_lapack has_mkl has_openmp has_spectral Tensor.resize Tensor.resize_as
        Tensor.triangular_solve Tensor.storage_type""",
    "attention kernels of other makers, to be put in the place of PyTorch's": "nn.attention.*flash_attention_impl*",
}

# Why a signature differs, likewise.
DIFFERENCES = {
    "absolute=True gives the mathematical norm where PyTorch's formula gives NaN": "nn.LPPool* nn.functional.lp_pool*",
    "a decorator hides PyTorch's own signature, which is the same": "nn.Container nn.NLLLoss2d",
    "PyTorch's docstring says so, but the function takes it by keyword only": "nn.functional.gelu",
}


def library(name: str, namespace: str) -> Any:
    """Return a namespace of a library, None where it has none such."""
    if namespace == "Tensor":
        return importlib.import_module(name).Tensor
    try:
        return importlib.import_module(f"{name}.{namespace}" if namespace else name)
    except ModuleNotFoundError:
        return None


def public_names(namespace: Any) -> list[str]:
    """Return the names that a namespace of PyTorch offers: what it declares, else what comes from PyTorch itself."""
    declared = getattr(namespace, "__all__", None)
    if declared is not None:
        return sorted({name for name in declared if not name.startswith("_")})
    if isinstance(namespace, type):
        return [name for name in dir(namespace) if not name.startswith("_")]
    return sorted(
        name for name, value in vars(namespace).items() if not name.startswith("_") and _is_torch(name, value)
    )


def _is_torch(name: str, value: Any) -> bool:
    """Whether something comes from PyTorch; modules only under their own names."""
    origin = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    if isinstance(value, types.ModuleType) and (name == "torch" or not value.__name__.endswith("." + name)):
        return False
    return isinstance(origin, str) and origin.split(".")[0] == "torch"


def members(cls: type) -> list[str]:
    """Return the public members that a class defines, itself or in private bases; others are listed where they are."""
    defined = set(vars(cls)).union(*[vars(base) for base in cls.__mro__ if base.__name__.startswith("_")])
    return sorted(name for name in defined if not name.startswith("_"))


def signature(function: Any) -> list[tuple[str, str, str]] | None:
    """Return names, kinds and defaults of parameters; None where a function does not tell them."""
    dispatched = _dispatched(function)
    try:
        parameters = inspect.signature(dispatched).parameters.values()
    except (TypeError, ValueError):
        return _documented_signature(dispatched)
    return [(p.name, p.kind.name, _shown(p.default)) for p in parameters]


def _dispatched(function: Any) -> Any:
    """Return the plain form of a function that PyTorch chooses by an argument (pooling with and without indices)."""
    if not getattr(function, "__module__", "").startswith("torch."):
        return function
    from torch._jit_internal import boolean_dispatched

    return boolean_dispatched[function]["if_false"] if function in boolean_dispatched else function


def _documented_signature(function: Any) -> list[tuple[str, str, str]] | None:
    """Read the signature of a built-in function from the first line of its docstring."""
    first = (getattr(function, "__doc__", None) or "").strip().split("\n")[0].split("->")[0].strip()
    try:
        arguments = ast.parse(f"def {first}: pass").body[0].args
    except SyntaxError:
        return None
    defaults = [inspect.Parameter.empty] * (len(arguments.args) - len(arguments.defaults)) + arguments.defaults
    shown = [("POSITIONAL_OR_KEYWORD", a, d) for a, d in zip(arguments.args, defaults, strict=True)]
    shown += [("KEYWORD_ONLY", a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [(a.arg, kind, _evaluated(d) if isinstance(d, ast.expr) else _shown(d)) for kind, a, d in shown]


def _evaluated(default: ast.expr) -> str:
    """Return a default that is written in a docstring."""
    text = ast.unparse(default)
    try:
        return _shown(eval(text, {"__builtins__": {}}))
    except NameError:
        return text


def _shown(default: Any) -> str:
    if default is inspect.Parameter.empty:
        return ""
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return getattr(default, "__name__", None) or repr(default)


def reason(name: str, reasons: dict[str, str]) -> str | None:
    """Return the reason whose patterns match a qualified name."""
    for text, patterns in reasons.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns.split()):
            return text
    return None


class Comparison:
    """What a namespace of PyTorch has, and what of it nbtorch has and has not."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.theirs, self.ours = library("torch", namespace), library("nbtorch", namespace)
        self.names = public_names(self.theirs)
        self.missing = [name for name in self.names if not hasattr(self.ours, name)]

    def __str__(self) -> str:
        return f"torch.{self.namespace}" if self.namespace else "torch"

    def shared(self) -> Iterator[tuple[str, Any, Any]]:
        """Return the names that both have, with their values."""
        for name in self.names:
            if hasattr(self.ours, name):
                yield self.qualified(name), getattr(self.theirs, name), getattr(self.ours, name)

    def qualified(self, name: str) -> str:
        """Return a name with its namespace."""
        return f"{self.namespace}.{name}" if self.namespace else name

    def classes(self) -> Iterator[tuple[str, type, type]]:
        """Return the classes that both have, each in the namespace that defines it or else where it is offered."""
        for name, theirs, ours in self.shared():
            home = theirs.__module__.removeprefix("torch.") if isinstance(theirs, type) else ""
            if home and theirs.__module__.startswith("torch.") and (home == self.namespace or home not in WHOLE):
                yield name, theirs, ours

    def missing_members(self) -> list[str]:
        """Return the members of classes that are missing."""
        return [
            f"{name}.{member}"
            for name, theirs, ours in self.classes()
            for member in members(theirs)
            if not hasattr(ours, member)
        ]

    def differing(self) -> Iterator[tuple[str, str, str]]:
        """Return the functions, constructors and methods whose signatures differ, with both signatures."""
        pairs = [(n, t, o) for n, t, o in self.shared() if callable(t) and not isinstance(t, type)]
        for name, theirs, ours in self.classes():
            pairs.append((name, theirs, ours))
            common = [m for m in members(theirs) if hasattr(ours, m) and callable(getattr(theirs, m))]
            pairs += [(f"{name}.{m}", getattr(theirs, m), getattr(ours, m)) for m in common]
        for name, theirs, ours in pairs:
            expected, given = signature(theirs), signature(ours)
            if expected is not None and expected != given:
                yield name, written(expected), written(given or [])


def written(parameters: list[tuple[str, str, str]]) -> str:
    """Return a signature as one writes it."""
    parts, keywords = [], False
    for name, kind, default in parameters:
        if kind == "KEYWORD_ONLY" and not keywords:
            parts.append("*")
        keywords = keywords or kind in ("KEYWORD_ONLY", "VAR_POSITIONAL")
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(kind, "")
        parts.append(f"{stars}{name}={default}" if default else stars + name)
    return f"({', '.join(parts)})"


def by_reason(names: list[str], otherwise: str | None) -> list[str]:
    """Return lines with the missing names gathered by reason; a LookupError names those without one."""
    gathered: dict[str, list[str]] = {}
    for name in names:
        gathered.setdefault(reason(name, REASONS) or otherwise or "", []).append(name)
    if unexplained := gathered.get(""):
        raise LookupError(f"missing without a reason in docs/compatibility.py: {' '.join(unexplained)}")
    return [f"- {text}: {' '.join(f'`{name}`' for name in gathered[text])}" for text in sorted(gathered)]


def page() -> str:
    """Return the page; a LookupError tells what is missing, or differs, without a reason."""
    import torch

    whole, counted = [Comparison(name) for name in WHOLE], [Comparison(name) for name in COUNTED]
    lines = [
        "# Compatibility with PyTorch",
        "",
        f"nbtorch's names beside those of PyTorch {torch.__version__.split('+')[0]}, written by"
        " `python docs/compatibility.py --write`.",
        "",
        "| namespace | names | there | missing |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| `{c}` | {len(c.names)} | {len(c.names) - len(c.missing)} | {len(c.missing)} |" for c in whole + counted
    ]
    lines += ["", "## Missing in `torch.nn` and `torch.optim`", ""]
    absent = [c.qualified(name) for c in whole for name in c.missing] + [m for c in whole for m in c.missing_members()]
    lines += by_reason(absent, None)
    lines += ["", "## Missing elsewhere", ""]
    lines += by_reason([c.qualified(name) for c in counted for name in c.missing], "not written yet")
    lines += [
        "",
        "## Other signatures",
        "",
        "Of functions, constructors and methods in `torch.nn` and `torch.optim`.",
        "",
    ]
    lines += ["| name | PyTorch | nbtorch | why |", "|---|---|---|---|"]
    unexplained = []
    for name, theirs, ours in sorted({row for c in whole for row in c.differing()}):
        why = reason(name, DIFFERENCES)
        if why is None:
            unexplained.append(f"{name}{theirs} is {ours}")
        lines.append(f"| `{name}` | `{theirs}` | `{ours}` | {why} |")
    if unexplained:
        raise LookupError("another signature without a reason in docs/compatibility.py:\n" + "\n".join(unexplained))
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or say whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the page")
    arguments = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = page()
    if arguments.write:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        print("docs/compatibility.md is out of date: python docs/compatibility.py --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
