"""Songs as folders of stems with their mixtures, and Spleeter's CSVs of them."""

import csv

import numpy as np
import soundfile

RATE = 8000


def noise(seed, *, num_frames=RATE, channels=2, level=3000):
    """Returns noise, int16 [frames, channels], the same for the same seed."""
    samples = np.random.default_rng(seed).normal(0, level, (num_frames, channels))
    return np.rint(samples).astype(np.int16)


def write_song(folder, tracks, *, rate=RATE):
    """Writes tracks as WAV files, with their sum as the mixture unless `mix` is among them."""
    folder.mkdir(parents=True, exist_ok=True)
    tracks = {"mix": sum(tracks.values())} | tracks
    for name, samples in tracks.items():
        soundfile.write(folder / f"{name}.wav", samples, rate, "PCM_16")
    return tracks


def write_csv(path, songs, *, instruments=("vocals", "drums"), duration=1.0):
    """Writes Spleeter's CSV of songs, whose folders are beside it."""
    names = ("mix", *instruments)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"{name}_path" for name in names), "duration"])
        writer.writerows([*(f"{song}/{name}.wav" for name in names), duration] for song in songs)
    return path
