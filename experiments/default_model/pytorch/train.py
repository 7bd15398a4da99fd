"""Trains the network on a GPU: `python -m experiments.default_model.pytorch.train --help`.

The output is the running mean of the weights. Beside it lies a checkpoint, `NAME.checkpoint`; both
are written once a minute. Run again with the same arguments, it goes on where it stopped; with
another `--start_from`, a longer training goes on from what an earlier one made.
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
from collections.abc import Mapping, Sequence
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
_FIRST_REPORT_S, _REPORT_S = 20.0, 60.0
# Steps before the work of a step is recorded as a CUDA graph.
_STEPS_BEFORE_CAPTURE = 3
# Of outputs, and of gradients, which differ by up to 0.1 where a few numbers are bfloat16.
_MAX_FUSED_DIFFERENCE = 0.25

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
    parser.add_argument(
        "--minutes",
        required=True,
        type=float,
        help="how long it trains, with the minutes of a run that it goes on with",
    )
    parser.add_argument(
        "--start_from",
        type=Path,
        help="a file of this program or of pytorch.weights, .npz; else from random weights",
    )
    options = parser.parse_args(arguments)
    try:
        train(options.speech, options.output, options.minutes, options.start_from)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def train(folder: Path, output: Path, minutes: float, start_from: Path | None = None) -> None:
    """Trains for some minutes and writes the weights.

    Args:
        folder: the speech, as `pytorch.speech` packed it.
        output: the file of the weights, as `pytorch.weights` reads it; `NAME.checkpoint` beside it
            has what a run needs to go on.
        minutes: how long, with the minutes of a run that it goes on with.
        start_from: weights to begin with.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True
    if device == "cuda":
        # CUDA graphs are recorded on any stream but the first.
        torch.cuda.set_stream(torch.cuda.Stream())
    torch.manual_seed(0)
    settings = read_settings()
    configuration = json.loads(CONFIGURATION.read_text("utf-8"))
    trainer = Trainer(Speech(folder, device), settings, configuration)
    if start_from:
        trainer.start_from(start_from)
    checkpoint = output.with_suffix(".checkpoint")
    if checkpoint.exists():
        trainer.read_checkpoint(checkpoint)
    trainer.fuse()
    device_name = torch.cuda.get_device_name() if device == "cuda" else "CPU"

    def write() -> None:
        trainer.write_checkpoint(checkpoint)
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
                    "start_from": start_from.stem if start_from else "",
                    "data": json.loads((folder / DATA).read_text("utf-8")),
                }
            ),
        )

    begun = time.monotonic() - trainer.elapsed_s
    report_at, hours_before = time.monotonic() + _FIRST_REPORT_S, trainer.hours_heard
    started = time.monotonic()
    while (share := (time.monotonic() - begun) / (60 * minutes)) < 1:
        rate = learning_rate(settings.training, share)
        loss_db = trainer.train(_STEPS_AT_ONCE, rate)
        trainer.elapsed_s = time.monotonic() - begun
        if time.monotonic() > report_at:
            heard_s = 3600 * (trainer.hours_heard - hours_before)
            speed = heard_s / (time.monotonic() - started)
            print(
                f"{share:.0%}: {trainer.hours_heard:.1f} h heard, {speed:.0f} times real time,"
                f" loss {loss_db:.2f} dB",
                flush=True,
            )
            write()
            report_at = time.monotonic() + _REPORT_S
    write()


def learning_rate(settings: TrainingSettings, share: float) -> float:
    """Returns the learning rate after a share of the time: constant, then half a cosine."""
    constant, final = settings.constant_learning_rate_share, settings.final_learning_rate_share
    progress = max(0.0, (share - constant) / (1 - constant))
    fall = 0.5 * (1 + math.cos(math.pi * progress))
    return settings.learning_rate * (final + (1 - final) * fall)


class Trainer:
    """A network that learns to separate speech.

    Attributes:
        elapsed_s: how long it has been trained.
    """

    def __init__(
        self, speech: Speech, settings: Settings, configuration: Mapping[str, Any]
    ) -> None:
        device = speech.samples.device
        self._settings = settings.training
        self._num_samples = configuration["T"] * configuration["frame_step"]
        self._network = AttentiveGrid(**configuration["model"]["params"]).to(device)
        self._mean = copy.deepcopy(self._network).requires_grad_(False)
        self._rate = torch.zeros((), device=device)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(),
            self._rate,
            weight_decay=settings.training.weight_decay,
            fused=device.type == "cuda",
            capturable=device.type == "cuda",
        )
        self._mixtures = Mixtures(
            speech, ["train"], self._num_samples, settings.mixtures, is_plain=False
        )
        self._generator = torch.Generator(device).manual_seed(1)
        self._validation = {
            corpus: self._draw_validation(speech, settings, corpus)
            for corpus in sorted({corpus for corpus, *_ in speech.speakers})
        }
        batch_size = settings.training.batch_size
        self._mixture = torch.zeros(batch_size, self._num_samples, device=device)
        self._sources = torch.zeros(batch_size, 2, self._num_samples, device=device)
        self._loss = torch.zeros((), device=device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._num_steps = self._num_steps_here = 0
        self.elapsed_s = 0.0

    @property
    def crop_s(self) -> float:
        """The length of a mixture in seconds."""
        return self._num_samples / SAMPLE_RATE  # type: ignore[no-any-return]

    @property
    def hours_heard(self) -> float:
        """Hours of mixtures in all training steps so far."""
        return self._num_steps * self._settings.batch_size * self.crop_s / 3600

    def start_from(self, path: Path) -> None:
        """Takes over the weights in a file that `write` or `pytorch.weights` made."""
        with np.load(path) as trained:
            weights = [trained[f"weight_{n}"] for n in range(int(trained["num_weights"]))]
        self._network.set_weights(weights)
        self._mean.set_weights(weights)

    def read_checkpoint(self, path: Path) -> None:
        """Goes on where the run that wrote a checkpoint was."""
        state = torch.load(path, map_location=self._rate.device)
        self._network.load_state_dict(state["network"])
        self._mean.load_state_dict(state["mean"])
        self._optimizer.load_state_dict(state["optimizer"])
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate
        self._generator.set_state(state["generator"].cpu())
        self._num_steps, self.elapsed_s = state["num_steps"], state["elapsed_s"]

    def write_checkpoint(self, path: Path) -> None:
        """Writes what `read_checkpoint` reads."""
        state = {
            "network": self._network.state_dict(),
            "mean": self._mean.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "num_steps": self._num_steps,
            "elapsed_s": self.elapsed_s,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def fuse(self) -> None:
        """Lets the network use `kernels` on a GPU, if it then does what it does without them."""
        network, is_cuda = self._network, self._rate.is_cuda
        if not is_cuda and os.environ.get("TRITON_INTERPRET") != "1":
            return
        mixture, sources = self._mixtures.draw(2, torch.Generator(self._rate.device))
        try:
            expected = self._gradients(mixture, sources)
            network.is_fused = True
            found = self._gradients(mixture, sources)
            differences = [
                float((one - other).norm() / other.norm())
                for one, other in zip(found, expected, strict=True)
            ]
            print(f"fused layers differ by {max(differences):.1e}", flush=True)
            network.is_fused = max(differences) < _MAX_FUSED_DIFFERENCE
        except Exception as error:  # Whatever a compiler or a driver may say.
            print(f"no fused layers: {error}", flush=True)
            network.is_fused = False
        self._mean.is_fused = network.is_fused
        if is_cuda and not network.is_fused:
            # Layers of one kind share their compiled code; each dilation is a kind of its own.
            torch._dynamo.config.recompile_limit = 64
            for layer in network.layers:
                layer.compile(dynamic=False)

    def train(self, num_steps: int, rate: float) -> float:
        """Takes training steps at a learning rate, and returns the mean loss."""
        settings = self._settings
        total = torch.zeros_like(self._loss)
        for _ in range(num_steps):
            warm_up = min(1.0, (self._num_steps_here + 1) / settings.learning_rate_warmup_steps)
            self._rate.fill_(rate * warm_up)
            mixture, sources = self._mixtures.draw(settings.batch_size, self._generator)
            self._mixture.copy_(mixture)
            self._sources.copy_(sources)
            if self._rate.is_cuda and self._num_steps_here == _STEPS_BEFORE_CAPTURE:
                self._capture()
            if self._graph:
                self._graph.replay()
            else:
                self._step()
            # Averaging over fewer steps at first, so that the initial weights are soon forgotten.
            momentum = min(settings.weight_averaging, 1 - 1 / (1 + self._num_steps_here / 5))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self._mean.parameters()), list(self._network.parameters()), 1 - momentum
                )
            self._num_steps += 1
            self._num_steps_here += 1
            total += self._loss
        return float(total) / num_steps

    @torch.no_grad()  # type: ignore[misc]
    def write(self, path: Path, **metadata: Any) -> None:
        """Validates the running mean of the weights, and writes it with a mixture to check it by.

        Args:
            path: the file, .npz.
            metadata: other things to write, by name.
        """
        losses, improvements_db = [], {}
        for corpus, batches in self._validation.items():
            of_corpus = []
            for mixture, sources in batches:
                estimates = self._mean(mixture)
                losses.append(self._losses(estimates, sources))
                of_corpus.append(
                    in_best_order(pairwise_si_sdr_db(estimates, sources))
                    - pairwise_si_sdr_db(mixture[:, None], sources).mean(dim=(1, 2))
                )
            if of_corpus:
                improvements_db[corpus] = float(torch.cat(of_corpus).mean())
        # About as loud as recordings are, in -1..1.
        example = (
            0.05 * next(batch for batches in self._validation.values() for batch in batches)[0][:1]
        )
        weights = {
            f"weight_{n}": weight.float().cpu().numpy()
            for n, weight in enumerate(self._mean.weights())
        }
        partial = path.with_suffix(".partial.npz")
        on_cpu = copy.deepcopy(self._mean).cpu()
        on_cpu.is_fused = False
        np.savez(
            partial,
            **weights,
            **metadata,
            num_weights=len(weights),
            mixture=example.cpu().numpy(),
            sources=on_cpu(example.cpu()).numpy(),
            steps=self._num_steps,
            validation_loss=float(torch.cat(losses).mean()),
            validation_si_sdri_db=float(np.mean(list(improvements_db.values()))),
        )
        os.replace(partial, path)
        listed = ", ".join(f"{value:.2f} ({name})" for name, value in improvements_db.items())
        print(f"step {self._num_steps}: SI-SDRi, dB, of speakers not heard: {listed}", flush=True)

    def _draw_validation(
        self, speech: Speech, settings: Settings, corpus: str
    ) -> list[tuple[Tensor, Tensor]]:
        """Draws batches of plain mixtures of a corpus; none where it has not two such speakers."""
        splits = ["validation", "test"]
        try:
            mixtures = Mixtures(
                speech,
                splits,
                self._num_samples,
                settings.mixtures,
                is_plain=True,
                corpora=[corpus],
            )
        except ValueError:
            return []
        generator = torch.Generator(self._rate.device).manual_seed(2)
        batch_size = settings.training.batch_size
        num_batches = -(-settings.training.num_validation_mixtures // batch_size)
        return [mixtures.draw(batch_size, generator) for _ in range(num_batches)]

    def _gradients(self, mixture: Tensor, sources: Tensor) -> list[Tensor]:
        """Returns the estimates for a mixture, and the gradients of all weights as one vector."""
        estimates = self._network(mixture)
        self._losses(estimates, sources).mean().backward()
        gradients = [parameter.grad.flatten() for parameter in self._network.parameters()]
        self._optimizer.zero_grad()
        return [estimates.detach(), torch.cat(gradients)]

    def _step(self) -> None:
        """Takes a step with the mixtures in the buffers."""
        self._optimizer.zero_grad()
        loss = self._losses(self._network(self._mixture), self._sources).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            self._network.parameters(), self._settings.gradient_clip_norm
        )
        self._optimizer.step()
        self._loss.copy_(loss.detach())

    def _capture(self) -> None:
        """Records the work of a step, so that the GPU need not wait to be told each part of it."""
        graph = torch.cuda.CUDAGraph()
        self._optimizer.zero_grad()
        try:
            with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
                self._step()
            self._graph = graph
        except Exception as error:  # Training is slower without it, and goes on.
            print(f"no CUDA graph: {error}", flush=True)

    def _losses(self, estimates: Tensor, sources: Tensor) -> Tensor:
        """Returns the loss of each mixture, float32 [batch]."""
        pairwise_db = {"pit_snr": pairwise_snr_db, "pit_si_sdr": pairwise_si_sdr_db}
        return -in_best_order(pairwise_db[self._settings.loss_type](estimates, sources))


def pairwise_snr_db(estimates: Tensor, sources: Tensor) -> Tensor:
    """Returns minus the loss `snr` of `training.losses`, [batch, outputs, sources], in dB.

    What an output has in place of silence counts relative to the other speaker.
    """
    distortion = (estimates[:, :, None] - sources[:, None]).square().mean(dim=-1)
    energy = sources.square().mean(dim=-1)
    energy = torch.where(energy > _SILENCE, energy, energy.sum(dim=1, keepdim=True))
    return -10 * torch.log10(distortion / (energy[:, None] + _SILENCE) + _BEST)


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
