"""A bar chart of a result."""

from pathlib import Path

from .report import RESULTS, Result


def draw(result: Result) -> Path:
    """Draw how many times better nbtorch is, case by case; return the file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = result.rows[::-1]
    ratios = [row.ratio for row in rows]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.24 * len(rows)), layout="constrained")
    axes.barh(
        [row.case for row in rows],
        [ratio - 1 for ratio in ratios],
        left=1,
        color=["tab:green" if ratio >= 1 else "tab:red" for ratio in ratios],
    )
    for place, ratio in enumerate(ratios):
        axes.annotate(f" {ratio:.2f} ", (ratio, place), va="center", ha="left" if ratio >= 1 else "right", fontsize=8)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.axvline(result.geometric_mean(), color="tab:blue", linewidth=0.8, linestyle="--", label="geometric mean")
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.01)
    axes.set_xlabel("torch / nbtorch (right of 1: nbtorch is better)")
    axes.set_title(f"{result.group}, {result.device}, {result.threads} threads, {result.processor}", fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    path = RESULTS / f"{result.stem}.png"
    RESULTS.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
