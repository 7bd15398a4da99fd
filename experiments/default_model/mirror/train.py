"""Trains the mirror on a GPU: `python -m experiments.default_model.mirror.train --help`.

It writes what it has learned every minute, too, and its running mean is what it writes.
"""

import argparse
import copy
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.default_model import CONFIGURATION
from experiments.default_model.mirror import SPEAKERS
from experiments.default_model.mirror.mixtures import Mixtures, Speech
from experiments.default_model.mirror.network import AttentiveGrid

BATCH_SIZE = 32
LEARNING_RATE = 1e-3
_WARMUP_STEPS = 400
_WEIGHT_DECAY = 0.01
_GRADIENT_NORM = 5.0
_AVERAGING = 0.999
_STEPS_AT_ONCE = 10
_VALIDATION_BATCHES = 8
_REPORT_S = 60.0

# As `training.losses` has them.
_WORST, _BEST, _SILENCE = 1e-8, 1e-3, 1e-10


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.default_model.mirror.train",
        description=__doc__,
        allow_abbrev=False,
    )
    parser.add_argument("--speech", required=True, type=Path, help="what mirror.speech packed")
    parser.add_argument("--output", required=True, type=Path, help="a file, .npz")
    parser.add_argument("--minutes", required=True, type=float, help="how long it trains")
    options = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.manual_seed(0)
    speech = Speech(options.speech, device)
    fingerprint = hashlib.sha256((options.speech / SPEAKERS).read_bytes()).hexdigest()
    trainer = Trainer(speech, fingerprint)
    started = reported = time.monotonic()
    while (share := (time.monotonic() - started) / (60 * options.minutes)) < 1:
        training_db = trainer.train(_STEPS_AT_ONCE, learning_rate(share))
        if time.monotonic() - reported > _REPORT_S:
            reported = time.monotonic()
            print(f"{share:.0%}: {trainer.hours_heard:.1f} h heard, SNR {training_db:.2f} dB")
            trainer.write(options.output)
    trainer.write(options.output)
    return 0


def learning_rate(share: float) -> float:
    """What it is when a share of the time is over: half a cosine, from half of the time on."""
    fall = 0.5 * (1 + math.cos(math.pi * max(0.0, 2 * share - 1)))
    return LEARNING_RATE * (0.02 + 0.98 * fall)


class Trainer:
    """A network that learns to separate speech.

    Attributes:
        hours_heard: how much of mixtures it has trained on.
    """

    def __init__(self, speech: Speech, fingerprint: str) -> None:
        device = str(speech.samples.device)
        configuration = json.loads(CONFIGURATION.read_text("utf-8"))
        self._sample_rate = configuration["sample_rate"]
        self._num_samples = configuration["T"] * configuration["frame_step"]
        self._fingerprint = fingerprint
        self._network = AttentiveGrid(**configuration["model"]["params"]).to(device)
        self._mean = copy.deepcopy(self._network).requires_grad_(False)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), LEARNING_RATE, weight_decay=_WEIGHT_DECAY
        )
        if device.startswith("cuda"):
            # Layers that are alike share what is compiled; there is one kind for each dilation.
            torch._dynamo.config.recompile_limit = 64
            for layer in self._network.layers:
                layer.compile(dynamic=False)
        self._mixtures = Mixtures(speech, ["train"], self._num_samples, is_plain=False)
        self._generator = torch.Generator(device).manual_seed(1)
        held_out = Mixtures(speech, ["validation", "test"], self._num_samples, is_plain=True)
        generator = torch.Generator(device).manual_seed(2)
        self._validation = [held_out.draw(32, generator) for _ in range(_VALIDATION_BATCHES)]
        self._num_steps = 0

    @property
    def hours_heard(self) -> float:
        """How much of mixtures it has trained on."""
        num_samples = self._num_steps * BATCH_SIZE * self._num_samples
        return num_samples / self._sample_rate / 3600  # type: ignore[no-any-return]

    def train(self, num_steps: int, rate: float) -> float:
        """Takes steps.

        Returns:
            The mean SNR of what it trained on, in dB.
        """
        total = torch.zeros((), device=self._generator.device)
        for _ in range(num_steps):
            for group in self._optimizer.param_groups:
                group["lr"] = rate * min(1.0, (self._num_steps + 1) / _WARMUP_STEPS)
            mixture, sources = self._mixtures.draw(BATCH_SIZE, self._generator)
            loss = -in_best_order(pairwise_snr_db(self._network(mixture), sources)).mean()
            self._optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self._network.parameters(), _GRADIENT_NORM)
            self._optimizer.step()
            # Early weights are forgotten sooner.
            momentum = min(_AVERAGING, 1 - 1 / (1 + self._num_steps / 5))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self._mean.parameters()), list(self._network.parameters()), 1 - momentum
                )
            self._num_steps += 1
            total -= loss.detach()
        return float(total) / num_steps

    @torch.no_grad()  # type: ignore[misc]
    def write(self, path: Path) -> None:
        """Validates the running mean of the weights and writes it, as `mirror.weights` reads it."""
        scores, improvements = [], []
        for mixture, sources in self._validation:
            score = in_best_order(pairwise_si_sdr_db(self._mean(mixture), sources))
            scores.append(score)
            improvements.append(
                score - pairwise_si_sdr_db(mixture[:, None], sources).mean(dim=(1, 2))
            )
        si_sdri_db = float(torch.cat(improvements).mean())
        # As loud as recordings are, in -1..1.
        example = 0.05 * self._validation[0][0][:1]
        weights = {f"weight_{n}": weight for n, weight in enumerate(self._mean.weights())}
        partial = path.with_suffix(".partial.npz")
        on_cpu = copy.deepcopy(self._mean).cpu()
        np.savez(
            partial,
            **weights,
            num_weights=len(weights),
            mixture=example.cpu().numpy(),
            sources=on_cpu(example.cpu()).numpy(),
            steps=self._num_steps,
            si_sdr_db=float(torch.cat(scores).mean()),
            si_sdri_db=si_sdri_db,
            speech_fingerprint=self._fingerprint,
        )
        os.replace(partial, path)
        print(
            f"step {self._num_steps}: SI-SDRi {si_sdri_db:.2f} dB on speakers not heard", flush=True
        )


def pairwise_snr_db(estimates: Tensor, sources: Tensor) -> Tensor:
    """The loss `snr` of `training.losses`, its sign turned, [batch, outputs, sources]."""
    distortion = (estimates[:, :, None] - sources[:, None]).square().mean(dim=-1)
    energy = sources.square().mean(dim=-1)[:, None] + _SILENCE
    return -10 * torch.log10(distortion / energy + _BEST)


def pairwise_si_sdr_db(estimates: Tensor, sources: Tensor) -> Tensor:
    """As `training.losses.pairwise_si_sdr`, of one channel."""
    products = estimates @ sources.transpose(1, 2)
    estimate_energy = estimates.square().sum(dim=-1)[:, :, None]
    source_energy = sources.square().sum(dim=-1)[:, None]
    share = products**2 / (estimate_energy * source_energy + _SILENCE)
    return 10 * torch.log10((share + _WORST) / (1 - share.clamp(max=1) + _BEST))


def in_best_order(pairs: Tensor) -> Tensor:
    """The higher mean of the two ways to give each output a source, float32 [batch]."""
    straight, crossed = pairs[:, 0, 0] + pairs[:, 1, 1], pairs[:, 0, 1] + pairs[:, 1, 0]
    return torch.maximum(straight, crossed) / 2


if __name__ == "__main__":
    sys.exit(main())
