"""Trains the network on a GPU: `python -m experiments.default_model.pytorch.train --help`.

The output is the running mean of the weights; it is also written once a minute during training.
"""

import argparse
import copy
import dataclasses
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from experiments.default_model import CONFIGURATION, SAMPLE_RATE
from experiments.default_model.pytorch import DATA, SPEAKERS
from experiments.default_model.pytorch.mixtures import Mixtures, Speech
from experiments.default_model.pytorch.network import AttentiveGrid
from experiments.default_model.pytorch.settings import Settings, TrainingSettings, read_settings

_STEPS_AT_ONCE = 10
_REPORT_S = 60.0

# As in `training.losses`.
_WORST, _BEST, _SILENCE = 1e-8, 1e-3, 1e-10


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.default_model.pytorch.train",
        description=__doc__,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--speech", required=True, type=Path, help="the folder that pytorch.speech packed"
    )
    parser.add_argument("--output", required=True, type=Path, help="a file, .npz")
    parser.add_argument("--minutes", required=True, type=float, help="how long it trains")
    options = parser.parse_args(arguments)
    try:
        train(options.speech, options.output, options.minutes)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def train(folder: Path, output: Path, minutes: float) -> None:
    """Trains for some minutes and writes the weights.

    Args:
        folder: the speech, as `pytorch.speech` packed it.
        output: the file of the weights, as `pytorch.weights` reads it.
        minutes: how long.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(0)
    settings = read_settings()
    trainer = Trainer(Speech(folder, device), settings)
    device_name = torch.cuda.get_device_name() if device == "cuda" else "CPU"

    def write() -> None:
        trainer.write(
            output,
            speech_fingerprint=hashlib.sha256((folder / SPEAKERS).read_bytes()).hexdigest(),
            # A `schemas.bundle.Training`; its module needs packages that the GPU may be without.
            training=json.dumps(
                {
                    "trainer": "experiments.default_model.pytorch.train",
                    "settings": dataclasses.asdict(settings)
                    | {
                        "optimizer": "AdamW",
                        "crop_s": trainer.crop_s,
                        "minutes": minutes,
                        "device": device_name,
                    },
                    "hours_heard": round(trainer.hours_heard, 2),
                    "data": json.loads((folder / DATA).read_text("utf-8")),
                }
            ),
        )

    started = reported = time.monotonic()
    while (share := (time.monotonic() - started) / (60 * minutes)) < 1:
        rate = learning_rate(settings.training, share)
        loss_db = trainer.train(_STEPS_AT_ONCE, rate)
        if time.monotonic() - reported > _REPORT_S:
            reported = time.monotonic()
            print(f"{share:.0%}: {trainer.hours_heard:.1f} h heard, loss {loss_db:.2f} dB")
            write()
    write()


def learning_rate(settings: TrainingSettings, share: float) -> float:
    """Returns the learning rate after a share of the time: constant, then half a cosine."""
    constant, final = settings.constant_learning_rate_share, settings.final_learning_rate_share
    progress = max(0.0, (share - constant) / (1 - constant))
    fall = 0.5 * (1 + math.cos(math.pi * progress))
    return settings.learning_rate * (final + (1 - final) * fall)


class Trainer:
    """A network that learns to separate speech."""

    def __init__(self, speech: Speech, settings: Settings) -> None:
        device = str(speech.samples.device)
        configuration = json.loads(CONFIGURATION.read_text("utf-8"))
        self._settings = settings.training
        self._num_samples = configuration["T"] * configuration["frame_step"]
        self._network = AttentiveGrid(**configuration["model"]["params"]).to(device)
        self._mean = copy.deepcopy(self._network).requires_grad_(False)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(),
            settings.training.learning_rate,
            weight_decay=settings.training.weight_decay,
        )
        if device.startswith("cuda"):
            # Layers of one kind share their compiled code; each dilation is a kind of its own.
            torch._dynamo.config.recompile_limit = 64
            for layer in self._network.layers:
                layer.compile(dynamic=False)
        self._mixtures = Mixtures(
            speech, ["train"], self._num_samples, settings.mixtures, is_plain=False
        )
        self._generator = torch.Generator(device).manual_seed(1)
        held_out = Mixtures(
            speech, ["validation", "test"], self._num_samples, settings.mixtures, is_plain=True
        )
        generator = torch.Generator(device).manual_seed(2)
        batch_size = settings.training.batch_size
        num_batches = settings.training.num_validation_mixtures // batch_size
        self._validation = [held_out.draw(batch_size, generator) for _ in range(num_batches)]
        self._num_steps = 0

    @property
    def crop_s(self) -> float:
        """The length of a mixture in seconds."""
        return self._num_samples / SAMPLE_RATE  # type: ignore[no-any-return]

    @property
    def hours_heard(self) -> float:
        """Hours of mixtures in all training steps so far."""
        return self._num_steps * self._settings.batch_size * self.crop_s / 3600

    def train(self, num_steps: int, rate: float) -> float:
        """Takes training steps at a learning rate, and returns the mean loss."""
        settings = self._settings
        total = torch.zeros((), device=self._generator.device)
        for _ in range(num_steps):
            warm_up = min(1.0, (self._num_steps + 1) / settings.learning_rate_warmup_steps)
            for group in self._optimizer.param_groups:
                group["lr"] = rate * warm_up
            mixture, sources = self._mixtures.draw(settings.batch_size, self._generator)
            loss = self._losses(self._network(mixture), sources).mean()
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), settings.gradient_clip_norm)
            self._optimizer.step()
            # Averaging over fewer steps at first, so that the initial weights are soon forgotten.
            momentum = min(settings.weight_averaging, 1 - 1 / (1 + self._num_steps / 5))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self._mean.parameters()), list(self._network.parameters()), 1 - momentum
                )
            self._num_steps += 1
            total += loss.detach()
        return float(total) / num_steps

    @torch.no_grad()  # type: ignore[misc]
    def write(self, path: Path, **metadata: Any) -> None:
        """Validates the running mean of the weights, and writes it with a mixture to check it by.

        Args:
            path: the file, .npz.
            metadata: other things to write, by name.
        """
        losses, improvements = [], []
        for mixture, sources in self._validation:
            estimates = self._mean(mixture)
            losses.append(self._losses(estimates, sources))
            improvements.append(
                in_best_order(pairwise_si_sdr_db(estimates, sources))
                - pairwise_si_sdr_db(mixture[:, None], sources).mean(dim=(1, 2))
            )
        si_sdri_db = float(torch.cat(improvements).mean())
        # About as loud as recordings are, in -1..1.
        example = 0.05 * self._validation[0][0][:1]
        weights = {f"weight_{n}": weight for n, weight in enumerate(self._mean.weights())}
        partial = path.with_suffix(".partial.npz")
        on_cpu = copy.deepcopy(self._mean).cpu()
        np.savez(
            partial,
            **weights,
            **metadata,
            num_weights=len(weights),
            mixture=example.cpu().numpy(),
            sources=on_cpu(example.cpu()).numpy(),
            steps=self._num_steps,
            validation_loss=float(torch.cat(losses).mean()),
            validation_si_sdri_db=si_sdri_db,
        )
        os.replace(partial, path)
        print(
            f"step {self._num_steps}: SI-SDRi {si_sdri_db:.2f} dB on speakers not heard", flush=True
        )

    def _losses(self, estimates: Tensor, sources: Tensor) -> Tensor:
        """Returns the loss of each mixture, float32 [batch]."""
        pairwise_db = {"pit_snr": pairwise_snr_db, "pit_si_sdr": pairwise_si_sdr_db}
        return -in_best_order(pairwise_db[self._settings.loss_type](estimates, sources))


def pairwise_snr_db(estimates: Tensor, sources: Tensor) -> Tensor:
    """Returns minus the loss `snr` of `training.losses`, [batch, outputs, sources], in dB."""
    distortion = (estimates[:, :, None] - sources[:, None]).square().mean(dim=-1)
    energy = sources.square().mean(dim=-1)[:, None] + _SILENCE
    return -10 * torch.log10(distortion / energy + _BEST)


def pairwise_si_sdr_db(estimates: Tensor, sources: Tensor) -> Tensor:
    """Returns what `training.losses.pairwise_si_sdr` does, for one channel."""
    products = estimates @ sources.transpose(1, 2)
    estimate_energy = estimates.square().sum(dim=-1)[:, :, None]
    source_energy = sources.square().sum(dim=-1)[:, None]
    share = products**2 / (estimate_energy * source_energy + _SILENCE)
    return 10 * torch.log10((share + _WORST) / (1 - share.clamp(max=1) + _BEST))


def in_best_order(pairs: Tensor) -> Tensor:
    """Returns the mean over the better of the two ways to assign outputs to sources.

    Args:
        pairs: float32 [batch, outputs, sources], higher being better.

    Returns:
        float32 [batch].
    """
    straight, crossed = pairs[:, 0, 0] + pairs[:, 1, 1], pairs[:, 0, 1] + pairs[:, 1, 0]
    return torch.maximum(straight, crossed) / 2


if __name__ == "__main__":
    sys.exit(main())
