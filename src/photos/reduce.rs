//! Collects the pixels of an image as they are decoded, averaged to a size that fits into memory.

use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};

use super::size::Size;

/// Largest factor of reduction: sums of 16×16 values of eight bits fit into 16.
const LARGEST_FACTOR: u32 = 16;

/// A decoded image, before it is scaled to its final size.
pub(super) struct Reduced {
    /// Of type `Luma8`, `Rgb8` or `Rgba8`.
    pub(super) image: DynamicImage,
    /// What the fourth channel is, if there is one.
    pub(super) fourth: Fourth,
}

/// What the fourth channel of an image is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fourth {
    /// Alpha, and the colours are as they are shown.
    Alpha,
    /// Alpha, and the colours are multiplied by it.
    PremultipliedAlpha,
    /// Black ink; the others are inks too.
    Black,
}

/// Averages squares of pixels, in whatever order they come.
pub(super) struct Reducer {
    source: Size,
    reduced: Size,
    factor: u32,
    channels: usize,
    sums: Sums,
}

enum Sums {
    /// The pixels themselves, where nothing is averaged.
    One(Vec<u8>),
    Many(Vec<u16>),
}

impl Reducer {
    /// Prepares for an image of 1, 3 or 4 channels, whose longer side will become `max_side`. A
    /// pixel that is never set is zero.
    pub(super) fn new(source: Size, channels: usize, max_side: u32) -> Self {
        let factor = factor(source, max_side);
        let reduced = source.reduced(factor);
        let values = usize::try_from(reduced.pixels()).unwrap_or(usize::MAX) * channels;
        Self {
            source,
            reduced,
            factor,
            channels,
            sums: if factor == 1 {
                Sums::One(vec![0; values])
            } else {
                Sums::Many(vec![0; values])
            },
        }
    }

    /// The bytes that a reducer of that kind allocates, and the size of what it makes.
    pub(super) fn memory(source: Size, channels: u64, max_side: u32) -> (u64, Size) {
        let factor = factor(source, max_side);
        let reduced = source.reduced(factor);
        let values = reduced.pixels() * channels;
        (values * if factor == 1 { 1 } else { 3 }, reduced)
    }

    /// Adds pixels of one row: the first at `x`, the others each `step` further.
    pub(super) fn add(&mut self, y: u32, x: u32, step: u32, pixels: &[u8]) {
        if y >= self.source.height {
            return;
        }
        let row = u64::from(y / self.factor) * u64::from(self.reduced.width);
        let mut x = x;
        for pixel in pixels.chunks_exact(self.channels) {
            if x >= self.source.width {
                return;
            }
            let place = row + u64::from(x / self.factor);
            let at = usize::try_from(place).unwrap_or(usize::MAX) * self.channels;
            match &mut self.sums {
                Sums::One(values) => values[at..at + self.channels].copy_from_slice(pixel),
                Sums::Many(sums) => add(&mut sums[at..at + self.channels], pixel),
            }
            x += step;
        }
    }

    /// The averages.
    pub(super) fn finish(self) -> Option<Reduced> {
        let Size { width, height } = self.reduced;
        let fourth = if self.factor > 1 {
            Fourth::PremultipliedAlpha
        } else {
            Fourth::Alpha
        };
        let values = match self.sums {
            Sums::One(values) => values,
            Sums::Many(sums) => {
                let (source, factor) = (self.source, self.factor);
                let span = |at: u32, length: u32| factor.min(length - at * factor);
                let mut values = Vec::with_capacity(sums.len());
                let mut pixels = sums.chunks_exact(self.channels);
                for y in 0..height {
                    for x in 0..width {
                        let count = span(x, source.width) * span(y, source.height);
                        values.extend(pixels.next()?.iter().map(|sum| {
                            u8::try_from((u32::from(*sum) + count / 2) / count).unwrap_or(u8::MAX)
                        }));
                    }
                }
                values
            }
        };
        let image = match self.channels {
            1 => GrayImage::from_raw(width, height, values)?.into(),
            3 => RgbImage::from_raw(width, height, values)?.into(),
            _ => RgbaImage::from_raw(width, height, values)?.into(),
        };
        Some(Reduced { image, fourth })
    }
}

/// By how much an image is reduced: to no less than one and a half times its final size.
fn factor(source: Size, max_side: u32) -> u32 {
    (source.longer() / (max_side + max_side / 2)).clamp(1, LARGEST_FACTOR)
}

fn add(sums: &mut [u16], pixel: &[u8]) {
    // Colours count by their alpha, so that what cannot be seen does not bleed into what can.
    let alpha = match pixel {
        [_, _, _, alpha] => u16::from(*alpha),
        _ => 255,
    };
    for (channel, (sum, value)) in sums.iter_mut().zip(pixel).enumerate() {
        *sum += if channel == 3 || alpha == 255 {
            u16::from(*value)
        } else {
            (u16::from(*value) * alpha + 127) / 255
        };
    }
}
