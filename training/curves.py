"""Curves of the validations of several models over the time that they were trained."""

from pathlib import Path

import matplotlib.figure
import tensorflow as tf


def plot_curves(folders: dict[str, Path], path: Path) -> None:
    """Plots the validations of each model over the minutes since its training began."""
    figure = matplotlib.figure.Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, folder in folders.items():
        minutes, si_sdri_db = validations(folder)
        axes.plot(minutes, si_sdri_db, marker=".", label=name)
    axes.set_xlabel("minutes")
    axes.set_ylabel("validation SI-SDR improvement, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def validations(folder: Path) -> tuple[list[float], list[float]]:
    """Reads the validations of a model from TensorBoard's events.

    Returns:
        The minutes since training began, and the mean SI-SDR improvement in dB, of each.
    """
    started_s = None
    minutes, si_sdri_db = [], []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            started_s = event.wall_time if started_s is None else started_s
            for value in event.summary.value:
                if value.tag == "validation/si_sdri_db":
                    minutes.append((event.wall_time - started_s) / 60)
                    si_sdri_db.append(float(tf.make_ndarray(value.tensor)))
    return minutes, si_sdri_db
