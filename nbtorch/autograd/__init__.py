"""Automatic differentiation: the graph, its modes, user-defined functions, checks."""

from . import anomaly_mode as anomaly_mode
from . import functional as functional
from . import graph as graph
from . import profiler as profiler
from .anomaly_mode import detect_anomaly as detect_anomaly
from .anomaly_mode import set_detect_anomaly as set_detect_anomaly
from .engine import backward as backward
from .engine import grad as grad
from .function import Function as Function
from .function import FunctionCtx as FunctionCtx
from .grad_mode import enable_grad as enable_grad
from .grad_mode import inference_mode as inference_mode
from .grad_mode import no_grad as no_grad
from .grad_mode import set_grad_enabled as set_grad_enabled
from .grad_mode import set_multithreading_enabled as set_multithreading_enabled
from .gradcheck import gradcheck as gradcheck
from .gradcheck import gradgradcheck as gradgradcheck
from .graph import Node as Node
from .variable import Variable as Variable
