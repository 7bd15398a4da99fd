"""The layers of the network that take most of the time on a GPU, each in a few passes over memory.

A layer of 64 filters has little arithmetic for each number that it reads, so that its time is that
of reading and writing, unless normalisation, products and activation are one kernel: Triton's
(Tillet, Kung and Cox, "Triton: an intermediate language and compiler for tiled neural network
computations", MAPL 2019). What a layer computes in between is computed again in its backward pass,
which is cheaper than keeping it.

Inputs and outputs are bfloat16, sums float32. Sums of gradients go to one row for each program,
and are added up at the end, in the same order each time.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_EPSILON = tl.constexpr(1e-5)
# Each multiprocessor of an H100 gets so many programs that walk over tiles.
_NUM_PROGRAMS = 396
# Positions that a program takes at once: what a warp group multiplies.
_TILE = 64


@triton.jit
def _normalise(values, gains, num_filters: tl.constexpr):
    scale = tl.rsqrt(tl.sum(values * values, 1) / num_filters + _EPSILON)
    return values * scale[:, None] * gains[None, :], scale


@triton.jit
def _normalise_backward(d_out, values, gains, scale, num_filters: tl.constexpr):
    weighted = d_out * gains[None, :]
    along = tl.sum(weighted * values, 1) / num_filters
    return scale[:, None] * (weighted - values * (scale * scale * along)[:, None])


@triton.jit
def _load_taps(kernel, num_filters: tl.constexpr, num_hidden: tl.constexpr):
    at = tl.arange(0, num_filters)[:, None] * num_hidden + tl.arange(0, num_hidden)[None, :]
    size: tl.constexpr = num_filters * num_hidden
    return tl.load(kernel + at), tl.load(kernel + size + at), tl.load(kernel + 2 * size + at)


@triton.jit(do_not_specialize=["dilation"])
def _convolve(
    inputs,
    gains,
    kernel,
    kernel_bias,
    output,
    output_bias,
    active,
    outputs,
    num_positions,
    inner,
    size,
    dilation,
    num_filters: tl.constexpr,
    num_hidden: tl.constexpr,
    tile: tl.constexpr,
):
    filters, hidden = tl.arange(0, num_filters), tl.arange(0, num_hidden)
    gain, bias = tl.load(gains + filters), tl.load(kernel_bias + hidden)
    taps = _load_taps(kernel, num_filters, num_hidden)
    weights = tl.load(output + hidden[:, None] * num_filters + filters[None, :])
    bias_after = tl.load(output_bias + filters)
    for begin in range(tl.program_id(0) * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        place = (position // inner) % size
        total = tl.zeros([tile, num_hidden], tl.float32) + bias[None, :]
        for tap in tl.static_range(3):
            there = place + (tap - 1) * dilation
            exists = (position < num_positions) & (there >= 0) & (there < size)
            at = position + (tap - 1) * dilation * inner
            values = tl.load(
                inputs + at[:, None] * num_filters + filters[None, :], exists[:, None], 0.0
            ).to(tl.float32)
            normalised, _ = _normalise(values, gain, num_filters)
            total = tl.dot(normalised.to(inputs.dtype.element_ty), taps[tap], total)
        exists = (position < num_positions)[:, None]
        positive = tl.maximum(total, 0.0).to(inputs.dtype.element_ty)
        tl.store(active + position[:, None] * num_hidden + hidden[None, :], positive, exists)
        where = position[:, None] * num_filters + filters[None, :]
        values = tl.load(inputs + where, exists, 0.0).to(tl.float32) + bias_after[None, :]
        values = tl.dot(positive, weights, values)
        tl.store(outputs + where, values.to(inputs.dtype.element_ty), exists)


@triton.jit
def _convolve_backward_hidden(
    active,
    output,
    d_outputs,
    d_hidden,
    d_output,
    d_kernel_bias,
    d_output_bias,
    num_positions,
    num_filters: tl.constexpr,
    num_hidden: tl.constexpr,
    tile: tl.constexpr,
):
    program = tl.program_id(0)
    filters, hidden = tl.arange(0, num_filters), tl.arange(0, num_hidden)
    weights = tl.load(output + hidden[:, None] * num_filters + filters[None, :])
    sum_output = tl.zeros([num_hidden, num_filters], tl.float32)
    sum_kernel_bias = tl.zeros([num_hidden], tl.float32)
    sum_output_bias = tl.zeros([num_filters], tl.float32)
    for begin in range(program * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        exists = (position < num_positions)[:, None]
        where = position[:, None] * num_hidden + hidden[None, :]
        positive = tl.load(active + where, exists, 0.0)
        d_out = tl.load(d_outputs + position[:, None] * num_filters + filters[None, :], exists, 0.0)
        sum_output = tl.dot(tl.trans(positive), d_out, sum_output)
        sum_output_bias += tl.sum(d_out.to(tl.float32), 0)
        d_total = tl.where(positive > 0.0, tl.dot(d_out, tl.trans(weights)), 0.0)
        sum_kernel_bias += tl.sum(d_total, 0)
        tl.store(d_hidden + where, d_total.to(active.dtype.element_ty), exists)
    tl.store(
        d_output + (program * num_hidden + hidden)[:, None] * num_filters + filters[None, :],
        sum_output,
    )
    tl.store(d_kernel_bias + program * num_hidden + hidden, sum_kernel_bias)
    tl.store(d_output_bias + program * num_filters + filters, sum_output_bias)


@triton.jit(do_not_specialize=["dilation"])
def _convolve_backward_kernel(
    inputs,
    gains,
    d_hidden,
    d_kernel,
    num_positions,
    inner,
    size,
    dilation,
    num_filters: tl.constexpr,
    num_hidden: tl.constexpr,
    tile: tl.constexpr,
):
    program, tap = tl.program_id(0), tl.program_id(1)
    filters, hidden = tl.arange(0, num_filters), tl.arange(0, num_hidden)
    gain = tl.load(gains + filters)
    sum_kernel = tl.zeros([num_filters, num_hidden], tl.float32)
    for begin in range(program * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        there = (position // inner) % size + (tap - 1) * dilation
        exists = (position < num_positions) & (there >= 0) & (there < size)
        at = position + (tap - 1) * dilation * inner
        values = tl.load(
            inputs + at[:, None] * num_filters + filters[None, :], exists[:, None], 0.0
        ).to(tl.float32)
        normalised, _ = _normalise(values, gain, num_filters)
        d_total = tl.load(
            d_hidden + position[:, None] * num_hidden + hidden[None, :],
            (position < num_positions)[:, None],
            0.0,
        )
        sum_kernel = tl.dot(tl.trans(normalised.to(inputs.dtype.element_ty)), d_total, sum_kernel)
    row = (program * 3 + tap) * num_filters + filters
    tl.store(d_kernel + row[:, None] * num_hidden + hidden[None, :], sum_kernel)


@triton.jit(do_not_specialize=["dilation"])
def _convolve_backward_inputs(
    inputs,
    gains,
    kernel,
    d_outputs,
    d_hidden,
    d_inputs,
    d_gains,
    num_positions,
    inner,
    size,
    dilation,
    num_filters: tl.constexpr,
    num_hidden: tl.constexpr,
    tile: tl.constexpr,
):
    program = tl.program_id(0)
    filters, hidden = tl.arange(0, num_filters), tl.arange(0, num_hidden)
    gain = tl.load(gains + filters)
    taps = _load_taps(kernel, num_filters, num_hidden)
    sum_gains = tl.zeros([num_filters], tl.float32)
    for begin in range(program * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        place = (position // inner) % size
        d_normalised = tl.zeros([tile, num_filters], tl.float32)
        for tap in tl.static_range(3):
            # A position is the tap of the position that lies as far on the other side.
            there = place - (tap - 1) * dilation
            exists = (position < num_positions) & (there >= 0) & (there < size)
            at = position - (tap - 1) * dilation * inner
            d_total = tl.load(
                d_hidden + at[:, None] * num_hidden + hidden[None, :], exists[:, None], 0.0
            )
            d_normalised = tl.dot(d_total, tl.trans(taps[tap]), d_normalised)
        where = position[:, None] * num_filters + filters[None, :]
        exists = (position < num_positions)[:, None]
        values = tl.load(inputs + where, exists, 0.0).to(tl.float32)
        _, scale = _normalise(values, gain, num_filters)
        sum_gains += tl.sum(d_normalised * values * scale[:, None], 0)
        d_values = _normalise_backward(d_normalised, values, gain, scale, num_filters)
        d_values += tl.load(d_outputs + where, exists, 0.0).to(tl.float32)
        tl.store(d_inputs + where, d_values.to(inputs.dtype.element_ty), exists)
    tl.store(d_gains + program * num_filters + filters, sum_gains)


class Convolve(torch.autograd.Function):  # type: ignore[misc]
    """Inputs plus a convolution of three taps of them, normalised, with a hidden layer.

    The arguments of `apply`, in this order: inputs, bfloat16 [batch, frames, bands, filters];
    gains, float32 [filters]; kernel, float32 [3, filters, hidden]; its bias, float32 [hidden];
    output, float32 [hidden, filters]; its bias, float32 [filters]; the axis of the taps, 1 or 2;
    the dilation.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, gains, kernel, kernel_bias, output, output_bias, axis, dilation
    ) -> Tensor:
        """Computes the layer."""
        kernel, output = kernel.to(inputs.dtype), output.to(inputs.dtype)
        num_filters, num_hidden = output.shape[1], output.shape[0]
        num_positions = inputs.numel() // num_filters
        inner = inputs.shape[2] if axis == 1 else 1
        ctx.shape = num_positions, inner, inputs.shape[axis], dilation, num_filters, num_hidden
        outputs = torch.empty_like(inputs)
        active = inputs.new_empty(num_positions, num_hidden)
        _convolve[(_NUM_PROGRAMS,)](
            inputs, gains, kernel, kernel_bias, output, output_bias, active, outputs,
            *ctx.shape, tile=_TILE, num_warps=4, num_stages=1,
        )  # fmt: skip
        ctx.save_for_backward(inputs, gains, kernel, output, active)
        return outputs

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> Any:
        """Computes the gradients of all arguments."""
        inputs, gains, kernel, output, active = ctx.saved_tensors
        d_outputs = d_outputs.contiguous()
        num_positions, *_, num_filters, num_hidden = ctx.shape

        def sums(*shape: int) -> Tensor:
            return inputs.new_empty(*shape, dtype=torch.float32)

        programs = _NUM_PROGRAMS
        d_hidden = torch.empty_like(active)
        d_output = sums(programs, num_hidden, num_filters)
        d_kernel_bias, d_output_bias = sums(programs, num_hidden), sums(programs, num_filters)
        _convolve_backward_hidden[(programs,)](
            active, output, d_outputs, d_hidden, d_output, d_kernel_bias, d_output_bias,
            num_positions, num_filters, num_hidden, tile=_TILE, num_warps=4, num_stages=2,
        )  # fmt: skip
        d_kernel = sums(programs // 3, 3, num_filters, num_hidden)
        _convolve_backward_kernel[(programs // 3, 3)](
            inputs, gains, d_hidden, d_kernel, *ctx.shape, tile=_TILE, num_warps=4, num_stages=3,
        )  # fmt: skip
        d_inputs, d_gains = torch.empty_like(inputs), sums(programs, num_filters)
        _convolve_backward_inputs[(programs,)](
            inputs, gains, kernel, d_outputs, d_hidden, d_inputs, d_gains,
            *ctx.shape, tile=_TILE, num_warps=4, num_stages=1,
        )  # fmt: skip
        parts = d_gains, d_kernel, d_kernel_bias, d_output, d_output_bias
        return d_inputs, *(part.sum(dim=0) for part in parts), None, None


@triton.jit
def _attention_of_head(
    normalised,
    projection,
    head: tl.constexpr,
    num_bands,
    num_filters: tl.constexpr,
    head_size: tl.constexpr,
    rows: tl.constexpr,
):
    filters, parts = tl.arange(0, num_filters), tl.arange(0, head_size)
    at = projection + filters[:, None] * (3 * num_filters) + head * head_size + parts[None, :]
    kind = projection.dtype.element_ty
    query = tl.dot(normalised, tl.load(at)).to(kind)
    key = tl.dot(normalised, tl.load(at + num_filters)).to(kind)
    value = tl.dot(normalised, tl.load(at + 2 * num_filters)).to(kind)
    logits = tl.dot(query, tl.trans(key)) * (head_size**-0.5)
    logits = tl.where((tl.arange(0, rows) < num_bands)[None, :], logits, float("-inf"))
    weights = tl.exp(logits - tl.max(logits, 1)[:, None])
    return query, key, value, weights / tl.sum(weights, 1)[:, None]


@triton.jit
def _attend(
    inputs,
    gains,
    projection,
    output,
    output_bias,
    outputs,
    num_bands,
    num_filters: tl.constexpr,
    num_heads: tl.constexpr,
    rows: tl.constexpr,
):
    head_size: tl.constexpr = num_filters // num_heads
    filters, parts, row = tl.arange(0, num_filters), tl.arange(0, head_size), tl.arange(0, rows)
    exists = (row < num_bands)[:, None]
    where = (tl.program_id(0) * num_bands + row)[:, None] * num_filters + filters[None, :]
    values = tl.load(inputs + where, exists, 0.0).to(tl.float32)
    normalised, _ = _normalise(values, tl.load(gains + filters), num_filters)
    kind = inputs.dtype.element_ty
    normalised = normalised.to(kind)
    values += tl.load(output_bias + filters)[None, :]
    for head in tl.static_range(num_heads):
        _, _, value, weights = _attention_of_head(
            normalised, projection, head, num_bands, num_filters, head_size, rows
        )
        seen = tl.dot(weights.to(kind), value).to(kind)
        at = (head * head_size + parts)[:, None] * num_filters + filters[None, :]
        values = tl.dot(seen, tl.load(output + at), values)
    tl.store(outputs + where, values.to(kind), exists)


@triton.jit
def _attend_backward(
    inputs,
    gains,
    projection,
    output,
    d_outputs,
    d_projected,
    all_seen,
    num_bands,
    num_filters: tl.constexpr,
    num_heads: tl.constexpr,
    rows: tl.constexpr,
):
    head_size: tl.constexpr = num_filters // num_heads
    filters, parts, row = tl.arange(0, num_filters), tl.arange(0, head_size), tl.arange(0, rows)
    exists = (row < num_bands)[:, None]
    position = tl.program_id(0) * num_bands + row
    where = position[:, None] * num_filters + filters[None, :]
    values = tl.load(inputs + where, exists, 0.0).to(tl.float32)
    normalised, _ = _normalise(values, tl.load(gains + filters), num_filters)
    kind = inputs.dtype.element_ty
    normalised = normalised.to(kind)
    d_out = tl.load(d_outputs + where, exists, 0.0)
    for head in tl.static_range(num_heads):
        query, key, value, weights = _attention_of_head(
            normalised, projection, head, num_bands, num_filters, head_size, rows
        )
        part = head * head_size + parts
        at = part[:, None] * num_filters + filters[None, :]
        d_seen = tl.dot(d_out, tl.trans(tl.load(output + at))).to(kind)
        d_weights = tl.dot(d_seen, tl.trans(value))
        d_logits = weights * (d_weights - tl.sum(d_weights * weights, 1)[:, None])
        d_logits = (d_logits * (head_size**-0.5)).to(kind)
        weights = weights.to(kind)
        seen = tl.dot(weights, value)
        tl.store(all_seen + position[:, None] * num_filters + part[None, :], seen.to(kind), exists)
        at = d_projected + position[:, None] * (3 * num_filters) + part[None, :]
        tl.store(at, tl.dot(d_logits, key).to(kind), exists)
        tl.store(at + num_filters, tl.dot(tl.trans(d_logits), query).to(kind), exists)
        tl.store(at + 2 * num_filters, tl.dot(tl.trans(weights), d_seen).to(kind), exists)


@triton.jit
def _attend_backward_weights(
    inputs,
    gains,
    d_outputs,
    d_projected,
    all_seen,
    d_projection,
    d_output,
    d_output_bias,
    num_positions,
    num_filters: tl.constexpr,
    tile: tl.constexpr,
):
    program = tl.program_id(0)
    filters = tl.arange(0, num_filters)
    gain = tl.load(gains + filters)
    sum_query = tl.zeros([num_filters, num_filters], tl.float32)
    sum_key = tl.zeros([num_filters, num_filters], tl.float32)
    sum_value = tl.zeros([num_filters, num_filters], tl.float32)
    sum_output = tl.zeros([num_filters, num_filters], tl.float32)
    sum_bias = tl.zeros([num_filters], tl.float32)
    for begin in range(program * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        exists = (position < num_positions)[:, None]
        where = position[:, None] * num_filters + filters[None, :]
        values = tl.load(inputs + where, exists, 0.0).to(tl.float32)
        normalised, _ = _normalise(values, gain, num_filters)
        normalised = tl.trans(normalised.to(inputs.dtype.element_ty))
        at = d_projected + position[:, None] * (3 * num_filters) + filters[None, :]
        sum_query = tl.dot(normalised, tl.load(at, exists, 0.0), sum_query)
        sum_key = tl.dot(normalised, tl.load(at + num_filters, exists, 0.0), sum_key)
        sum_value = tl.dot(normalised, tl.load(at + 2 * num_filters, exists, 0.0), sum_value)
        d_out = tl.load(d_outputs + where, exists, 0.0)
        seen = tl.load(all_seen + where, exists, 0.0)
        sum_output = tl.dot(tl.trans(seen), d_out, sum_output)
        sum_bias += tl.sum(d_out.to(tl.float32), 0)
    row = (program * num_filters + filters)[:, None]
    at = d_projection + row * (3 * num_filters) + filters[None, :]
    tl.store(at, sum_query)
    tl.store(at + num_filters, sum_key)
    tl.store(at + 2 * num_filters, sum_value)
    tl.store(d_output + row * num_filters + filters[None, :], sum_output)
    tl.store(d_output_bias + program * num_filters + filters, sum_bias)


@triton.jit
def _attend_backward_inputs(
    inputs,
    gains,
    projection,
    d_outputs,
    d_projected,
    d_inputs,
    d_gains,
    num_positions,
    num_filters: tl.constexpr,
    tile: tl.constexpr,
):
    program = tl.program_id(0)
    filters = tl.arange(0, num_filters)
    gain = tl.load(gains + filters)
    sum_gains = tl.zeros([num_filters], tl.float32)
    at = projection + filters[:, None] * (3 * num_filters) + filters[None, :]
    parts = tl.load(at), tl.load(at + num_filters), tl.load(at + 2 * num_filters)
    for begin in range(program * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        exists = (position < num_positions)[:, None]
        at = d_projected + position[:, None] * (3 * num_filters) + filters[None, :]
        d_normalised = tl.zeros([tile, num_filters], tl.float32)
        for part in tl.static_range(3):
            d_part = tl.load(at + part * num_filters, exists, 0.0)
            d_normalised = tl.dot(d_part, tl.trans(parts[part]), d_normalised)
        where = position[:, None] * num_filters + filters[None, :]
        values = tl.load(inputs + where, exists, 0.0).to(tl.float32)
        _, scale = _normalise(values, gain, num_filters)
        sum_gains += tl.sum(d_normalised * values * scale[:, None], 0)
        d_values = _normalise_backward(d_normalised, values, gain, scale, num_filters)
        d_values += tl.load(d_outputs + where, exists, 0.0).to(tl.float32)
        tl.store(d_inputs + where, d_values.to(inputs.dtype.element_ty), exists)
    tl.store(d_gains + program * num_filters + filters, sum_gains)


class Attend(torch.autograd.Function):  # type: ignore[misc]
    """Inputs plus attention among the bands of each frame.

    The arguments of `apply`, in this order: inputs, bfloat16 [batch, frames, bands, filters], at
    most 64 bands; gains, float32 [filters]; projection to queries, keys and values, float32
    [filters, 3 * filters]; output, float32 [filters, filters]; its bias, float32 [filters]; the
    number of heads.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, gains, projection, output, output_bias, num_heads
    ) -> Tensor:
        """Computes the layer."""
        projection, output = projection.to(inputs.dtype), output.to(inputs.dtype)
        *_, num_bands, num_filters = inputs.shape
        ctx.shape = num_bands, num_filters, num_heads, _TILE
        outputs = torch.empty_like(inputs)
        _attend[(inputs.shape[0] * inputs.shape[1],)](
            inputs, gains, projection, output, output_bias, outputs, *ctx.shape, num_warps=4
        )
        ctx.save_for_backward(inputs, gains, projection, output)
        return outputs

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> Any:
        """Computes the gradients of all arguments."""
        inputs, gains, projection, output = ctx.saved_tensors
        d_outputs = d_outputs.contiguous()
        num_frames = inputs.shape[0] * inputs.shape[1]
        num_filters = inputs.shape[-1]
        num_positions = num_frames * inputs.shape[2]

        def sums(*shape: int) -> Tensor:
            return inputs.new_empty(_NUM_PROGRAMS, *shape, dtype=torch.float32)

        all_seen = torch.empty_like(inputs)
        d_projected = inputs.new_empty(num_positions, 3 * num_filters)
        _attend_backward[(num_frames,)](
            inputs, gains, projection, output, d_outputs, d_projected, all_seen,
            *ctx.shape, num_warps=4,
        )  # fmt: skip
        d_projection = sums(num_filters, 3 * num_filters)
        d_output, d_output_bias = sums(num_filters, num_filters), sums(num_filters)
        _attend_backward_weights[(_NUM_PROGRAMS,)](
            inputs, gains, d_outputs, d_projected, all_seen, d_projection, d_output, d_output_bias,
            num_positions, num_filters, tile=_TILE, num_warps=4, num_stages=1,
        )  # fmt: skip
        d_inputs, d_gains = torch.empty_like(inputs), sums(num_filters)
        _attend_backward_inputs[(_NUM_PROGRAMS,)](
            inputs, gains, projection, d_outputs, d_projected, d_inputs, d_gains,
            num_positions, num_filters, tile=_TILE, num_warps=4, num_stages=1,
        )  # fmt: skip
        parts = d_gains, d_projection, d_output, d_output_bias
        return d_inputs, *(part.sum(dim=0) for part in parts), None


@triton.jit
def _in_heads(position, num_positions, width: tl.constexpr, head_size: tl.constexpr):
    # Where [heads, positions, head size] has the columns of positions.
    column = tl.arange(0, width)
    head, part = column // head_size, column % head_size
    return (head[None, :] * num_positions + position[:, None]) * head_size + part[None, :]


@triton.jit
def _project(
    inputs,
    gains,
    weights,
    biases,
    queries,
    keys,
    values,
    num_positions,
    num_filters: tl.constexpr,
    num_features: tl.constexpr,
    num_heads: tl.constexpr,
    tile: tl.constexpr,
):
    features, filters = tl.arange(0, num_features), tl.arange(0, num_filters)
    width: tl.constexpr = num_filters + 2 * num_features
    kind = inputs.dtype.element_ty
    gain = tl.load(gains + filters)
    row = weights + filters[:, None] * width
    for_queries = tl.load(row + features[None, :])
    for_keys = tl.load(row + num_features + features[None, :])
    for_values = tl.load(row + 2 * num_features + filters[None, :])
    query_bias, key_bias = tl.load(biases + features), tl.load(biases + num_features + features)
    value_bias = tl.load(biases + 2 * num_features + filters)
    for begin in range(tl.program_id(0) * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        exists = (position < num_positions)[:, None]
        where = position[:, None] * num_filters + filters[None, :]
        normalised, _ = _normalise(
            tl.load(inputs + where, exists, 0.0).to(tl.float32), gain, num_filters
        )
        normalised = normalised.to(kind)
        where_features = _in_heads(position, num_positions, num_features, num_features // num_heads)
        query = tl.dot(normalised, for_queries) + query_bias[None, :]
        tl.store(queries + where_features, query.to(kind), exists)
        key = tl.dot(normalised, for_keys) + key_bias[None, :]
        tl.store(keys + where_features, key.to(kind), exists)
        where_seen = _in_heads(position, num_positions, num_filters, num_filters // num_heads)
        value = tl.dot(normalised, for_values) + value_bias[None, :]
        tl.store(values + where_seen, value.to(kind), exists)


@triton.jit
def _project_backward(
    inputs,
    gains,
    weights,
    d_queries,
    d_keys,
    d_values,
    d_inputs,
    d_gains,
    d_weights,
    d_biases,
    num_positions,
    num_filters: tl.constexpr,
    num_features: tl.constexpr,
    num_heads: tl.constexpr,
    tile: tl.constexpr,
):
    program = tl.program_id(0)
    features, filters = tl.arange(0, num_features), tl.arange(0, num_filters)
    width: tl.constexpr = num_filters + 2 * num_features
    kind = inputs.dtype.element_ty
    gain = tl.load(gains + filters)
    row = weights + filters[:, None] * width
    for_queries = tl.load(row + features[None, :])
    for_keys = tl.load(row + num_features + features[None, :])
    for_values = tl.load(row + 2 * num_features + filters[None, :])
    sum_gains = tl.zeros([num_filters], tl.float32)
    sum_queries = tl.zeros([num_filters, num_features], tl.float32)
    sum_keys = tl.zeros([num_filters, num_features], tl.float32)
    sum_values = tl.zeros([num_filters, num_filters], tl.float32)
    sum_query_bias = tl.zeros([num_features], tl.float32)
    sum_key_bias = tl.zeros([num_features], tl.float32)
    sum_value_bias = tl.zeros([num_filters], tl.float32)
    for begin in range(program * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        exists = (position < num_positions)[:, None]
        where_features = _in_heads(position, num_positions, num_features, num_features // num_heads)
        d_query = tl.load(d_queries + where_features, exists, 0.0)
        d_key = tl.load(d_keys + where_features, exists, 0.0)
        where_seen = _in_heads(position, num_positions, num_filters, num_filters // num_heads)
        d_value = tl.load(d_values + where_seen, exists, 0.0)
        d_normalised = tl.dot(d_query, tl.trans(for_queries))
        d_normalised = tl.dot(d_key, tl.trans(for_keys), d_normalised)
        d_normalised = tl.dot(d_value, tl.trans(for_values), d_normalised)
        where = position[:, None] * num_filters + filters[None, :]
        read = tl.load(inputs + where, exists, 0.0).to(tl.float32)
        normalised, scale = _normalise(read, gain, num_filters)
        sum_gains += tl.sum(d_normalised * read * scale[:, None], 0)
        d_read = _normalise_backward(d_normalised, read, gain, scale, num_filters)
        tl.store(d_inputs + where, d_read.to(kind), exists)
        normalised = tl.trans(normalised.to(kind))
        sum_queries = tl.dot(normalised, d_query, sum_queries)
        sum_keys = tl.dot(normalised, d_key, sum_keys)
        sum_values = tl.dot(normalised, d_value, sum_values)
        sum_query_bias += tl.sum(d_query.to(tl.float32), 0)
        sum_key_bias += tl.sum(d_key.to(tl.float32), 0)
        sum_value_bias += tl.sum(d_value.to(tl.float32), 0)
    tl.store(d_gains + program * num_filters + filters, sum_gains)
    at = d_weights + (program * num_filters + filters)[:, None] * width
    tl.store(at + features[None, :], sum_queries)
    tl.store(at + num_features + features[None, :], sum_keys)
    tl.store(at + 2 * num_features + filters[None, :], sum_values)
    at = d_biases + program * width
    tl.store(at + features, sum_query_bias)
    tl.store(at + num_features + features, sum_key_bias)
    tl.store(at + 2 * num_features + filters, sum_value_bias)


@triton.jit
def _add(
    inputs,
    seen,
    output,
    output_bias,
    outputs,
    num_positions,
    num_filters: tl.constexpr,
    num_heads: tl.constexpr,
    tile: tl.constexpr,
):
    filters = tl.arange(0, num_filters)
    weights = tl.load(output + filters[:, None] * num_filters + filters[None, :])
    bias = tl.load(output_bias + filters)
    for begin in range(tl.program_id(0) * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        exists = (position < num_positions)[:, None]
        where = position[:, None] * num_filters + filters[None, :]
        total = tl.load(inputs + where, exists, 0.0).to(tl.float32) + bias[None, :]
        where_seen = _in_heads(position, num_positions, num_filters, num_filters // num_heads)
        total = tl.dot(tl.load(seen + where_seen, exists, 0.0), weights, total)
        tl.store(outputs + where, total.to(inputs.dtype.element_ty), exists)


@triton.jit
def _add_backward(
    seen,
    output,
    d_outputs,
    d_seen,
    d_output,
    d_output_bias,
    num_positions,
    num_filters: tl.constexpr,
    num_heads: tl.constexpr,
    tile: tl.constexpr,
):
    program = tl.program_id(0)
    filters = tl.arange(0, num_filters)
    weights = tl.load(output + filters[:, None] * num_filters + filters[None, :])
    sum_output = tl.zeros([num_filters, num_filters], tl.float32)
    sum_bias = tl.zeros([num_filters], tl.float32)
    for begin in range(program * tile, num_positions, tl.num_programs(0) * tile):
        position = begin + tl.arange(0, tile)
        exists = (position < num_positions)[:, None]
        where = position[:, None] * num_filters + filters[None, :]
        d_out = tl.load(d_outputs + where, exists, 0.0)
        where_seen = _in_heads(position, num_positions, num_filters, num_filters // num_heads)
        sum_output = tl.dot(tl.trans(tl.load(seen + where_seen, exists, 0.0)), d_out, sum_output)
        sum_bias += tl.sum(d_out.to(tl.float32), 0)
        tl.store(
            d_seen + where_seen, tl.dot(d_out, tl.trans(weights)).to(seen.dtype.element_ty), exists
        )
    row = (program * num_filters + filters)[:, None]
    tl.store(d_output + row * num_filters + filters[None, :], sum_output)
    tl.store(d_output_bias + program * num_filters + filters, sum_bias)


class Project(torch.autograd.Function):  # type: ignore[misc]
    """Queries, keys and values of normalised inputs, head by head.

    The arguments of `apply`, in this order: inputs, bfloat16 [batch, frames, bands, filters];
    gains, float32 [filters]; weights of queries, keys and values, float32 [filters, 2 * features +
    filters]; their biases; the number of heads. Returns queries and keys, bfloat16 [heads,
    positions, features / heads], and values, bfloat16 [heads, positions, filters / heads].
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, gains, weights, biases, num_heads) -> tuple[Tensor, ...]:
        """Computes the layer."""
        weights = weights.to(inputs.dtype)
        num_filters = inputs.shape[-1]
        num_features = (weights.shape[1] - num_filters) // 2
        num_positions = inputs.numel() // num_filters
        ctx.shape = num_positions, num_filters, num_features, num_heads, _TILE
        queries, keys, values = (
            inputs.new_empty(num_heads, num_positions, width // num_heads)
            for width in (num_features, num_features, num_filters)
        )
        _project[(_NUM_PROGRAMS,)](
            inputs, gains, weights, biases, queries, keys, values,
            *ctx.shape, num_warps=4, num_stages=1,
        )  # fmt: skip
        ctx.save_for_backward(inputs, gains, weights)
        return queries, keys, values

    @staticmethod
    def backward(ctx: Any, *d_projected: Tensor) -> Any:
        """Computes the gradients of all arguments."""
        inputs, gains, weights = ctx.saved_tensors

        def sums(*shape: int) -> Tensor:
            return inputs.new_empty(_NUM_PROGRAMS, *shape, dtype=torch.float32)

        d_inputs = torch.empty_like(inputs)
        parts = sums(*gains.shape), sums(*weights.shape), sums(weights.shape[1])
        _project_backward[(_NUM_PROGRAMS,)](
            inputs, gains, weights, *(part.contiguous() for part in d_projected), d_inputs, *parts,
            *ctx.shape, num_warps=4, num_stages=1,
        )  # fmt: skip
        return d_inputs, *(part.sum(dim=0) for part in parts), None


class Add(torch.autograd.Function):  # type: ignore[misc]
    """Inputs plus a product of what the heads saw.

    The arguments of `apply`, in this order: inputs, bfloat16 [batch, frames, bands, filters]; seen,
    bfloat16 [heads, positions, filters / heads]; output, float32 [filters, filters]; its bias,
    float32 [filters].
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, seen, output, output_bias) -> Tensor:
        """Computes the layer."""
        output = output.to(inputs.dtype)
        ctx.shape = seen.shape[1], inputs.shape[-1], seen.shape[0], _TILE
        outputs = torch.empty_like(inputs)
        _add[(_NUM_PROGRAMS,)](
            inputs, seen, output, output_bias, outputs, *ctx.shape, num_warps=4, num_stages=1
        )
        ctx.save_for_backward(seen, output)
        return outputs

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> Any:
        """Computes the gradients of all arguments."""
        seen, output = ctx.saved_tensors
        d_outputs = d_outputs.contiguous()
        d_seen = torch.empty_like(seen)
        d_output, d_bias = (
            seen.new_empty(_NUM_PROGRAMS, *shape, dtype=torch.float32)
            for shape in (output.shape, output.shape[1:])
        )
        _add_backward[(_NUM_PROGRAMS,)](
            seen, output, d_outputs, d_seen, d_output, d_bias, *ctx.shape, num_warps=4, num_stages=1
        )
        return d_outputs, d_seen, d_output.sum(dim=0), d_bias.sum(dim=0)
