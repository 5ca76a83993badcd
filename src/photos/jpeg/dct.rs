//! The inverse cosine transform of a block, and its reduction to fewer samples.

use std::f32::consts::{FRAC_1_SQRT_2, PI, SQRT_2};

/// The quantisation factors of a block, in natural order, with the scaling that [`inverse`] needs.
pub(super) type Factors = [f32; 64];

/// Prepares the factors of a quantisation table in natural order.
pub(super) fn factors(table: &[u16; 64]) -> Factors {
    // The scaling of Arai, Agui and Nakajima: cos(k·π/16)·√2, and 1 for the constant.
    let scaling: [f32; 8] = std::array::from_fn(|k| match k {
        0 => 1.0,
        k => (f32::from(u8::try_from(k).unwrap_or_default()) * PI / 16.0).cos() * SQRT_2,
    });
    std::array::from_fn(|at| f32::from(table[at]) * scaling[at / 8] * scaling[at % 8] / 8.0)
}

/// The samples of a block, from its coefficients in natural order.
pub(super) fn inverse(coefficients: &[i16; 64], factors: &Factors) -> [f32; 64] {
    if coefficients[1..].iter().all(|value| *value == 0) {
        return [f32::from(coefficients[0]) * factors[0] + 128.0; 64];
    }
    let mut block: [f32; 64] = std::array::from_fn(|at| f32::from(coefficients[at]) * factors[at]);
    for column in 0..8 {
        let line = std::array::from_fn(|row| block[row * 8 + column]);
        for (row, value) in inverse_line(line).into_iter().enumerate() {
            block[row * 8 + column] = value;
        }
    }
    for row in block.chunks_exact_mut(8) {
        let line = std::array::from_fn(|column| row[column]);
        row.copy_from_slice(&inverse_line(line).map(|value| value + 128.0));
    }
    block
}

/// One dimension of the transform, by the algorithm of Arai, Agui and Nakajima.
fn inverse_line(input: [f32; 8]) -> [f32; 8] {
    // 2·cos(π/8), and the factors of the rotation by it.
    const C2: f32 = 1.847_759_1;
    const C2_MINUS_C6: f32 = 1.082_392_2;
    const C2_PLUS_C6: f32 = 2.613_126;

    let (sum, difference) = (input[0] + input[4], input[0] - input[4]);
    let outer = input[2] + input[6];
    let inner = (input[2] - input[6]) * (2.0 * FRAC_1_SQRT_2) - outer;
    let even = [
        sum + outer,
        difference + inner,
        difference - inner,
        sum - outer,
    ];

    let (z13, z10) = (input[5] + input[3], input[5] - input[3]);
    let (z11, z12) = (input[1] + input[7], input[1] - input[7]);
    let odd0 = z11 + z13;
    let z5 = (z10 + z12) * C2;
    let odd1 = z5 - z10 * C2_PLUS_C6 - odd0;
    let odd2 = (z11 - z13) * (2.0 * FRAC_1_SQRT_2) - odd1;
    let odd3 = z5 - z12 * C2_MINUS_C6 - odd2;
    let odd = [odd0, odd1, odd2, odd3];

    std::array::from_fn(|at| match at {
        0..=3 => even[at] + odd[at],
        _ => even[7 - at] - odd[7 - at],
    })
}

/// Writes a block, averaged over `scale` samples in each direction, at the start of `plane`.
pub(super) fn write_reduced(
    samples: &[f32; 64],
    (scale_x, scale_y): (usize, usize),
    plane: &mut [u8],
    stride: usize,
) {
    let count = f32::from(u8::try_from(scale_x * scale_y).unwrap_or(1));
    for (row, line) in plane.chunks_mut(stride).take(8 / scale_y).enumerate() {
        for (column, sample) in line[..8 / scale_x].iter_mut().enumerate() {
            let mut sum = 0.0;
            for y in row * scale_y..(row + 1) * scale_y {
                for x in column * scale_x..(column + 1) * scale_x {
                    sum += samples[y * 8 + x];
                }
            }
            *sample = clamped(sum / count);
        }
    }
}

/// Rounds to the nearest value of eight bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is what is wanted"
)]
pub(super) fn clamped(value: f32) -> u8 {
    (value + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_transform_is_that_of_the_standard() {
        let mut seed = 7_u32;
        for _ in 0..100 {
            let mut next = |range: u32| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) % range
            };
            let coefficients: [i16; 64] = std::array::from_fn(|_| match next(4) {
                0 => i16::try_from(next(60)).unwrap() - 30,
                _ => 0,
            });
            let table: [u16; 64] = std::array::from_fn(|_| u16::try_from(next(8)).unwrap() + 1);
            let made = inverse(&coefficients, &factors(&table));
            for y in 0..8_u8 {
                for x in 0..8_u8 {
                    let mut sum = 0.0_f64;
                    for v in 0..8_u8 {
                        for u in 0..8_u8 {
                            let scale = |k: u8| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
                            let wave = |at: u8, k: u8| {
                                let angle = f64::from(2 * at + 1) * f64::from(k);
                                (angle * std::f64::consts::PI / 16.0).cos()
                            };
                            let at = usize::from(v * 8 + u);
                            sum += f64::from(coefficients[at])
                                * f64::from(table[at])
                                * scale(u)
                                * scale(v)
                                * wave(x, u)
                                * wave(y, v)
                                / 4.0;
                        }
                    }
                    let value = f64::from(made[usize::from(y * 8 + x)]);
                    assert!((value - sum - 128.0).abs() < 0.01, "{value} is not {sum}");
                }
            }
        }
    }
}
