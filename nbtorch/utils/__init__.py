"""Tools around training: checkpointing of activations."""

from . import checkpoint as checkpoint
