"""nbtorch beside PyTorch: the time of each case in both, in turns. `python -m benchmarks --help`."""
