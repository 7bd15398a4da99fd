import itertools

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from training.losses import (
    best_permutation,
    compute_loss,
    pairwise_si_sdr,
    si_sdr_improvement,
)
from training.separator import Estimate, Reference

Array = npt.NDArray[np.float32]

BATCH = 3


def signals(num_sources: int, seed: int = 0) -> tuple[Estimate, Reference]:
    random = np.random.default_rng(seed)
    waveforms = random.normal(size=(2, BATCH, num_sources, 200, 1)).astype(np.float32)
    magnitudes = np.abs(random.normal(size=(3, BATCH, num_sources, 7, 5, 1))).astype(np.float32)
    return (
        Estimate(tf.constant(waveforms[0]), tf.constant(magnitudes[0])),
        Reference(
            tf.constant(waveforms[1]),
            tf.reduce_sum(waveforms[1], axis=1),
            tf.constant(magnitudes[1]),
            tf.constant(magnitudes[2]),
        ),
    )


def si_sdr_db(estimate: Array, source: Array) -> float:
    target = np.vdot(estimate, source) / np.vdot(source, source) * source
    power = np.sum(estimate**2)
    return float(10 * np.log10(np.sum(target**2) / (power - np.sum(target**2) + 1e-3 * power)))


def measure(
    kind: str, estimate: Estimate, reference: Reference, pair: tuple[int, int, int]
) -> float:
    example, output, source = pair
    if kind == "si_sdr":
        waveforms = estimate.waveforms.numpy(), reference.waveforms.numpy()
        return -si_sdr_db(waveforms[0][example, output], waveforms[1][example, source])
    if kind == "snr":
        separated, spoken = (
            estimate.waveforms[example, output],
            reference.waveforms[example, source],
        )
        distortion = np.sum((separated - spoken) ** 2) / np.sum(spoken**2)
        return float(10 * np.log10(distortion + 1e-3))
    if kind == "log_mse":
        spoken = reference.waveforms[example, source]
        error = np.mean((estimate.waveforms[example, output] - spoken) ** 2)
        return float(10 * np.log10(error + 1e-3 * np.mean(spoken**2)))
    magnitudes = estimate.magnitudes.numpy()[example, output]
    if kind == "L1":
        return float(np.abs(magnitudes - reference.magnitudes.numpy()[example, source]).mean())
    target = reference.phase_sensitive.numpy()[example, source]
    return float(((magnitudes - target) ** 2).mean())


@pytest.mark.parametrize("num_sources", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["L1", "phase_sensitive", "si_sdr", "snr", "log_mse"])
def test_pit_is_the_best_of_all_permutations(kind: str, num_sources: int) -> None:
    estimate, reference = signals(num_sources)
    expected = [
        min(
            np.mean([measure(kind, estimate, reference, (b, i, j)) for i, j in enumerate(order)])
            for order in itertools.permutations(range(num_sources))
        )
        for b in range(BATCH)
    ]
    np.testing.assert_allclose(
        compute_loss(f"pit_{kind}", estimate, reference), expected, rtol=1e-4
    )


@pytest.mark.parametrize("kind", ["L1", "phase_sensitive", "si_sdr", "snr"])
def test_onset_compares_each_output_with_the_source_of_its_place(kind: str) -> None:
    estimate, reference = signals(3)
    expected = [
        np.mean([measure(kind, estimate, reference, (b, i, i)) for i in range(3)])
        for b in range(BATCH)
    ]
    np.testing.assert_allclose(
        compute_loss(f"onset_{kind}", estimate, reference), expected, rtol=1e-4
    )


def test_spleeters_losses_are_what_spleeter_computes() -> None:
    estimate, reference = signals(2)
    difference = np.abs(estimate.magnitudes - reference.magnitudes)
    plain = sum(difference[:, i].mean() for i in range(2))
    loss = tf.reduce_mean(compute_loss("L1_mask", estimate, reference))
    assert float(loss) == pytest.approx(plain, rel=1e-5)
    labels = reference.magnitudes.numpy()
    level = labels.mean(axis=(2, 3, 4), keepdims=True)
    weighted = sum((level[:, i] * difference[:, i]).mean() for i in range(2))
    loss = tf.reduce_mean(compute_loss("weighted_L1_mask", estimate, reference))
    assert float(loss) == pytest.approx(weighted, rel=1e-5)


def test_swapped_outputs_cost_nothing_under_pit() -> None:
    _, reference = signals(2)
    swapped = Estimate(reference.waveforms[:, ::-1], reference.magnitudes[:, ::-1])
    np.testing.assert_allclose(compute_loss("pit_L1", swapped, reference), 0, atol=1e-7)
    assert (compute_loss("onset_L1", swapped, reference).numpy() > 0.1).all()


def test_si_sdr_does_not_depend_on_the_scale() -> None:
    estimate, reference = signals(2)
    one = pairwise_si_sdr(estimate.waveforms, reference.waveforms)
    other = pairwise_si_sdr(7 * estimate.waveforms, 0.3 * reference.waveforms)
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_snr_is_best_where_level_and_sign_are_those_of_the_source() -> None:
    _, reference = signals(2)

    def loss(scale: float) -> float:
        scaled = Estimate(scale * reference.waveforms, None)
        return float(tf.reduce_mean(compute_loss("pit_snr", scaled, reference)))

    assert loss(1) == pytest.approx(-30, abs=1e-3)
    assert min(loss(-1), loss(0.5), loss(2)) > -10


@pytest.mark.parametrize("kind", ["si_sdr", "snr"])
def test_a_silent_source_leaves_the_loss_and_its_gradient_to_the_others(kind: str) -> None:
    estimate, reference = signals(2)
    speech = tf.concat([reference.waveforms[:, :1], 0 * reference.waveforms[:, 1:]], axis=1)
    waveforms = tf.Variable(estimate.waveforms)
    with tf.GradientTape() as tape:
        loss = compute_loss(
            f"onset_{kind}",
            Estimate(waveforms, None),
            Reference(speech, reference.mixture, None, None),
        )
    expected = [measure(kind, estimate, reference, (b, 0, 0)) for b in range(BATCH)]
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    gradient = tape.gradient(loss, waveforms).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[:, 0]).max() > 0
    assert not gradient[:, 1].any()


@pytest.mark.parametrize("kind", ["si_sdr", "snr", "log_mse"])
def test_complete_silence_has_a_finite_loss_and_gradient(kind: str) -> None:
    silence = tf.zeros((BATCH, 2, 200, 1))
    waveforms = tf.Variable(silence)
    with tf.GradientTape() as tape:
        loss = compute_loss(
            f"pit_{kind}", Estimate(waveforms, None), Reference(silence, silence[:, 0], None, None)
        )
    assert np.isfinite(loss).all()
    assert np.isfinite(tape.gradient(loss, waveforms)).all()


def constants(outputs: list[float], sources: list[float], mixture: float) -> tuple[float, float]:
    """Returns the losses `pit_log_mse` and `onset_log_mse` of signals that never change."""
    waveforms = [
        tf.constant(values, tf.float32)[tf.newaxis, :, tf.newaxis, tf.newaxis]
        + tf.zeros((1, len(values), 50, 1))
        for values in (outputs, sources)
    ]
    estimate = Estimate(waveforms[0], None)
    reference = Reference(waveforms[1], tf.fill((1, 50, 1), float(mixture)), None, None)
    pit, onset = (
        float(compute_loss(f"{order}_log_mse", estimate, reference)[0])
        for order in ("pit", "onset")
    )
    return pit, onset


def test_log_mse_of_silence_counts_what_is_left_against_the_mixture() -> None:
    # 10 log10(0.1² + 1²/1000) of the source, and the same of silence in a mixture of power 1.
    assert constants([0.9, 0.1], [1, 0], 1) == pytest.approx((-19.5861, -19.5861), abs=1e-3)
    # In a mixture of power 4, 10 log10(0.1² + 4/1000) = -18.5387 of silence.
    assert constants([0.9, 0.1], [1, 0], 2)[1] == pytest.approx((-19.5861 - 18.5387) / 2, abs=1e-3)
    # Nothing is left of silence: 10 log10(4/1000) = -23.9794, and 10 log10(1/1000) = -30.
    assert constants([1, 0], [1, 0], 2)[1] == pytest.approx((-30 - 23.9794) / 2, abs=1e-3)


def test_log_mse_finds_the_output_of_silence_among_all() -> None:
    pit, onset = constants([0, 0, 1], [1, 0, 0], 1)
    assert pit == pytest.approx(-30, abs=1e-3)
    assert onset == pytest.approx((0.0043 - 30 + 0.0043) / 3, abs=1e-3)


def test_log_mse_teaches_an_output_to_be_silent() -> None:
    estimate, reference = signals(2)
    speech = tf.concat([reference.waveforms[:, :1], 0 * reference.waveforms[:, 1:]], axis=1)
    waveforms = tf.Variable(estimate.waveforms)
    with tf.GradientTape() as tape:
        loss = compute_loss(
            "onset_log_mse",
            Estimate(waveforms, None),
            Reference(speech, speech[:, 0], None, None),
        )
    gradient = tape.gradient(loss, waveforms).numpy()
    assert np.isfinite(gradient).all()
    assert (np.einsum("bnc,bnc->b", gradient[:, 1], estimate.waveforms[:, 1]) > 0).all()


def test_improvement_is_over_the_mixture_and_only_where_there_is_something_to_separate() -> None:
    _, reference = signals(2)
    is_on = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]], np.float32)
    speech = reference.waveforms * is_on[:, :, np.newaxis, np.newaxis]
    mixed = Reference(speech, tf.reduce_sum(speech, axis=1), reference.magnitudes, None)
    improvement, is_mixed = si_sdr_improvement(Estimate(speech[:, ::-1], None), mixed)
    assert is_mixed.numpy().tolist() == [True, False, True]
    assert (improvement.numpy()[[0, 2]] > 20).all()
    nothing, _ = si_sdr_improvement(
        Estimate(tf.repeat(mixed.mixture[:, tf.newaxis], 2, axis=1), None), mixed
    )
    np.testing.assert_allclose(nothing, 0, atol=1e-3)


def test_improvement_is_that_of_the_sources_that_are_heard() -> None:
    _, full = signals(2)
    silence = tf.zeros_like(full.waveforms[:, :1])
    three = tf.concat([full.waveforms, silence], axis=1)
    mixed = Reference(three, full.mixture, None, None)
    outputs = 0.5 * full.mixture[:, tf.newaxis] + full.waveforms
    expected, _ = si_sdr_improvement(Estimate(outputs, None), full)
    # An output too many may have anything in it.
    estimate = Estimate(tf.concat([full.mixture[:, tf.newaxis] ** 2, outputs], axis=1), None)
    improvement, is_mixed = si_sdr_improvement(estimate, mixed)
    assert is_mixed.numpy().all()
    np.testing.assert_allclose(improvement, expected, rtol=1e-4)


def test_what_one_speaker_fills_is_worth_30_db_at_most() -> None:
    _, reference = signals(2)
    function = tf.function(pairwise_si_sdr)
    perfect = tf.linalg.diag_part(function(reference.waveforms, reference.waveforms))
    np.testing.assert_allclose(perfect, 30, atol=0.1)


def test_the_best_permutation_is_of_the_whole_utterance() -> None:
    pairwise = tf.constant([[[0.0, 1.0], [0.0, 5.0]]])
    assert best_permutation(pairwise).numpy().tolist() == [0.5]
