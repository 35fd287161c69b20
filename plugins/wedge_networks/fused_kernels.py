"""Forward and backward pass of a small MLP, a kernel each: weights and activations stay on the chip.

A program takes a block of neighbouring points along x through all layers, line after line of the lattice. Nothing between the layers is
written to memory: the backward pass computes the activations once more. Blocks are ``(points, channels)`` matrices. Sums over points go to
places of the program's own, one after another, so that gradients are the same bits every time on one device; who calls adds them up.
"""
# ruff: noqa: N803, RUF005 - constants of a kernel are in capitals, as Triton's users expect; its tuples have no stars

import triton
import triton.language as tl

_SIZES = ("num_lines", "num_z", "tiles", "lines_each")
"""What a kernel is not compiled anew for; it is for lengths along x that are a multiple of 16, whose loads can be wide."""


@triton.jit
def _rounded(a):
    """Return float32 with the digits of bfloat16, rounded to even: Triton's interpreter cuts digits off, and multiplies no bfloat16."""
    bits = a.to(tl.int32, bitcast=True)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & -65536).to(tl.float32, bitcast=True)


@triton.jit
def _product(a, b, PRECISION: tl.constexpr):
    """Return a matrix product in float32 of factors of ``PRECISION``: a way to multiply float32, or bfloat16, or rounded to bfloat16."""
    if PRECISION == "bfloat16":
        found = tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16))
    elif PRECISION == "rounded":
        found = tl.dot(_rounded(a), _rounded(b))
    else:
        found = tl.dot(a, b, input_precision=PRECISION)
    return found


@triton.jit
def _wave(phase):
    """Return the sine and the cosine of phases in radians: within 2e-7 up to 8192, where float32 itself is known to 5e-4.

    Quarter turns are taken off in three parts; whole numbers times the first two are exact. The polynomials are those of Cephes.
    """
    turns = tl.floor(phase * 0.6366197723675814 + 0.5)
    rest = ((phase - turns * 1.5703125) - turns * 4.837512969970703125e-4) - turns * 7.54978995489188216e-8
    square = rest * rest
    sine = rest + rest * square * (-1.6666654611e-1 + square * (8.3321608736e-3 - square * 1.9515295891e-4))
    cosine = 1 - 0.5 * square + square * square * (4.166664568298827e-2 + square * (square * 2.443315711809948e-5 - 1.388731625493765e-3))
    quarter = turns.to(tl.int32) & 3
    swapped = (quarter & 1) == 1
    value, slope = tl.where(swapped, cosine, sine), tl.where(swapped, sine, cosine)
    return tl.where(quarter >= 2, -value, value), tl.where((quarter == 1) | (quarter == 2), -slope, slope)


@triton.jit
def _activate(phase, SINE: tl.constexpr):
    """Return the activation, a sine or what is above zero, and its slope."""
    if SINE:
        value, slope = _wave(phase)
    else:
        value, slope = tl.maximum(phase, 0.0), tl.where(phase > 0, 1.0, 0.0)
    return value, slope


@triton.jit
def _square(matrices, layer, WIDTH: tl.constexpr):
    """Return the weights ``(out, in)`` of a layer."""
    channel = tl.arange(0, WIDTH)
    return tl.load(matrices + layer * WIDTH * WIDTH + channel[:, None] * WIDTH + channel[None, :])


@triton.jit
def _features(source, line, x, num_z, num_x, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    """Return the places and the mask of a line's points in ``(y, CHANNELS, z, x)``."""
    channel = tl.arange(0, PADDED)
    row, z = tl.cast(line, tl.int64) // num_z, tl.cast(line, tl.int64) % num_z
    places = source + ((row * CHANNELS + channel[None, :]) * num_z + z) * num_x + x[:, None]
    return places, (channel[None, :] < CHANNELS) & (x[:, None] < num_x)


@triton.jit
def _first(matrix, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr):
    """Return the weights ``(out, in)`` of the layer on features, zero where there is no feature."""
    channel = tl.arange(0, PADDED)[None, :]
    return tl.load(matrix + tl.arange(0, WIDTH)[:, None] * CHANNELS + channel, mask=channel < CHANNELS, other=0.0)


@triton.jit
def _enter(
    lines, source, first, line, x, num_z, num_x,
    WIDTH: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Return the features of a line's points and the phases of the first hidden layer; without CHANNELS, the sum of two tables twice."""
    channel = tl.arange(0, WIDTH)
    if CHANNELS == 0:
        along = tl.load(source + x[:, None] * WIDTH + channel[None, :], mask=x[:, None] < num_x, other=0.0)
        phase = tl.load(lines + tl.cast(line, tl.int64) * WIDTH + channel)[None, :] + along
        features = phase
    else:
        places, mask = _features(source, line, x, num_z, num_x, CHANNELS, PADDED)
        features = tl.load(places, mask=mask, other=0.0)
        # Here `lines` is the layer's bias.
        phase = _product(features, tl.trans(_first(first, WIDTH, CHANNELS, PADDED)), PRECISION) + tl.load(lines + channel)[None, :]
    return features, phase


@triton.jit
def _deeper(phase, matrix, bias, SINE: tl.constexpr, PRECISION: tl.constexpr):
    """Return the phases of the next hidden layer; ``matrix`` is ``(out, in)``."""
    hidden, _ = _activate(phase, SINE)
    return _product(hidden, tl.trans(matrix), PRECISION) + bias[None, :]


@triton.jit(do_not_specialize=_SIZES)
def forward_kernel(
    lines, source, first, matrices, biases, last, values, num_lines, num_z, num_x, tiles, lines_each,
    LAYERS: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
    SINE: tl.constexpr, PRECISION: tl.constexpr, HOLD: tl.constexpr,
):  # fmt: skip
    """Fill ``values (line, x)``: a program has BLOCK points of ``lines_each`` lines. ``last`` ends in the last layer's bias."""
    x = tl.program_id(0) % tiles * BLOCK + tl.arange(0, BLOCK)
    begin = tl.program_id(0) // tiles * lines_each
    channel = tl.arange(0, WIDTH)
    held = ()
    if HOLD:
        for layer in tl.static_range(LAYERS):
            held = held + (_square(matrices, layer, WIDTH),)
    for line in range(begin, tl.minimum(begin + lines_each, num_lines)):
        _, phase = _enter(lines, source, first, line, x, num_z, num_x, WIDTH, CHANNELS, PADDED, PRECISION)
        for layer in tl.static_range(LAYERS):
            matrix = held[layer] if HOLD else _square(matrices, layer, WIDTH)
            phase = _deeper(phase, matrix, tl.load(biases + layer * WIDTH + channel), SINE, PRECISION)
        hidden, _ = _activate(phase, SINE)
        value = tl.sum(hidden * tl.load(last + channel)[None, :], axis=1) + tl.load(last + WIDTH)
        tl.store(values + tl.cast(line, tl.int64) * num_x + x, value, mask=x < num_x)


@triton.jit(do_not_specialize=_SIZES)
def backward_kernel(
    lines, source, first, matrices, biases, last, gradient, d_lines, d_source, d_first, d_matrices, d_vectors,
    num_lines, num_z, num_x, tiles, lines_each,
    LAYERS: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr,
    SINE: tl.constexpr, PRECISION: tl.constexpr, HOLD: tl.constexpr, TO_SOURCE: tl.constexpr,
):  # fmt: skip
    """Fill the gradients of a program's lines, and its sums over points: ``d_vectors`` of the biases, the last layer, the first bias."""
    program, channel = tl.program_id(0), tl.arange(0, WIDTH)
    x = program % tiles * BLOCK + tl.arange(0, BLOCK)
    begin = program // tiles * lines_each
    d_matrices += program.to(tl.int64) * LAYERS * WIDTH * WIDTH + channel[:, None] * WIDTH + channel[None, :]
    d_vectors += program.to(tl.int64) * (LAYERS + 2) * WIDTH + channel
    along = tl.zeros((BLOCK, WIDTH), dtype=tl.float32)
    held = ()
    if HOLD:
        for layer in tl.static_range(LAYERS):
            held = held + (_square(matrices, layer, WIDTH),)
    for line in range(begin, tl.minimum(begin + lines_each, num_lines)):
        features, phase = _enter(lines, source, first, line, x, num_z, num_x, WIDTH, CHANNELS, PADDED, PRECISION)
        phases = ()
        for layer in tl.static_range(LAYERS):
            phases = phases + (phase,)
            matrix = held[layer] if HOLD else _square(matrices, layer, WIDTH)
            phase = _deeper(phase, matrix, tl.load(biases + layer * WIDTH + channel), SINE, PRECISION)
        hidden, slope = _activate(phase, SINE)
        arriving = tl.load(gradient + tl.cast(line, tl.int64) * num_x + x, mask=x < num_x, other=0.0)[:, None]
        tl.atomic_add(d_vectors + LAYERS * WIDTH, tl.sum(hidden * arriving, axis=0), sem="relaxed")
        delta = arriving * tl.load(last + channel)[None, :] * slope
        for layer in tl.static_range(LAYERS - 1, -1, -1):
            hidden, slope = _activate(phases[layer], SINE)
            tl.atomic_add(d_vectors + layer * WIDTH, tl.sum(delta, axis=0), sem="relaxed")
            tl.atomic_add(d_matrices + layer * WIDTH * WIDTH, _product(tl.trans(delta), hidden, PRECISION), sem="relaxed")
            matrix = held[layer] if HOLD else _square(matrices, layer, WIDTH)
            delta = _product(delta, matrix, PRECISION) * slope
        if CHANNELS == 0:
            along += delta
            place = tl.cast(program % tiles * num_lines + line, tl.int64)
            tl.store(d_lines + place * WIDTH + channel, tl.sum(delta, axis=0))
        else:
            _leave(d_source, d_first, d_vectors + (LAYERS + 1) * WIDTH, first, features, delta, line, x, num_z, num_x,
                   WIDTH, CHANNELS, PADDED, PRECISION, TO_SOURCE)  # fmt: skip
    if CHANNELS == 0:
        place = (program // tiles).to(tl.int64) * num_x + x
        tl.store(d_source + place[:, None] * WIDTH + channel[None, :], along, mask=x[:, None] < num_x)


@triton.jit
def _leave(
    d_source, d_first, d_bias, first, features, delta, line, x, num_z, num_x,
    WIDTH: tl.constexpr, CHANNELS: tl.constexpr, PADDED: tl.constexpr, PRECISION: tl.constexpr, TO_SOURCE: tl.constexpr,
):  # fmt: skip
    """Take the gradient ``delta`` of the first hidden layer's phases through the layer on features."""
    tl.atomic_add(d_bias, tl.sum(delta, axis=0), sem="relaxed")
    places = tl.arange(0, WIDTH)[:, None] * PADDED + tl.arange(0, PADDED)[None, :]
    d_first += tl.program_id(0).to(tl.int64) * WIDTH * PADDED
    tl.atomic_add(d_first + places, _product(tl.trans(delta), features, PRECISION), sem="relaxed")
    if TO_SOURCE:
        places, mask = _features(d_source, line, x, num_z, num_x, CHANNELS, PADDED)
        tl.store(places, _product(delta, _first(first, WIDTH, CHANNELS, PADDED), PRECISION), mask=mask)
