//! From the samples of components to pixels: upsampling and colour models.

use image::{GrayImage, RgbImage, RgbaImage};

use super::dct::clamped;
use super::header::{ColorModel, Header};
use super::scan::Plane;
use super::{JpegError, Pixels};

/// The position of a pixel between the samples of a plane: the sample before, the one after, and
/// the weight of the latter, of 256.
type Place = (usize, usize, u32);

/// The rows of a plane at the size of the image.
struct Upsampler {
    plane: Plane,
    /// `None` when the plane has the size of the image.
    places: Option<(Vec<Place>, Vec<Place>)>,
}

impl Upsampler {
    fn new(plane: Plane, sampling: [(u32, u32); 2], width: usize, height: usize) -> Self {
        let has_size = sampling.iter().all(|(samples, pixels)| samples == pixels);
        let places = (!has_size).then(|| {
            (
                places(width, plane.width, sampling[0]),
                places(height, plane.height, sampling[1]),
            )
        });
        Self { plane, places }
    }

    fn row(&self, y: usize, row: &mut [u8]) {
        let line = |y: usize| &self.plane.samples[y * self.plane.stride..];
        let Some((columns, rows)) = &self.places else {
            row.copy_from_slice(&line(y)[..row.len()]);
            return;
        };
        let (above, below, weight_y) = rows[y];
        let (above, below) = (line(above), line(below));
        for (pixel, (left, right, weight_x)) in row.iter_mut().zip(columns) {
            let blend = |line: &[u8]| {
                u32::from(line[*left]) * (256 - weight_x) + u32::from(line[*right]) * weight_x
            };
            let value = blend(above) * (256 - weight_y) + blend(below) * weight_y;
            *pixel = u8::try_from((value + (1 << 15)) >> 16).unwrap_or(u8::MAX);
        }
    }
}

/// The places of `length` pixels in a line of `samples`; `samples_per` samples span `pixels_per`
/// pixels. Samples lie in the middle of what they stand for.
fn places(length: usize, samples: usize, (samples_per, pixels_per): (u32, u32)) -> Vec<Place> {
    (0..length)
        .map(|pixel| {
            let centre = (2 * pixel as u64 + 1) * u64::from(samples_per) * 256;
            let exact = (centre / u64::from(2 * pixels_per)).saturating_sub(128);
            let before = usize::try_from(exact / 256)
                .unwrap_or(usize::MAX)
                .min(samples - 1);
            let weight = u32::try_from(exact % 256).unwrap_or_default();
            (before, (before + 1).min(samples - 1), weight)
        })
        .collect()
}

/// Puts the pixels together.
pub(super) fn into_pixels(
    header: &Header,
    planes: Vec<Plane>,
    scale: u32,
) -> Result<Pixels, JpegError> {
    const IMPOSSIBLE: JpegError = JpegError("the image is too large");
    let size = header.size.reduced(scale);
    let width = usize::try_from(size.width).map_err(|_| IMPOSSIBLE)?;
    let height = usize::try_from(size.height).map_err(|_| IMPOSSIBLE)?;
    let (max_h, max_v) = header.max_sampling();
    let upsamplers: Vec<Upsampler> = header
        .components
        .iter()
        .zip(planes)
        .map(|(component, plane)| {
            let (scale_x, scale_y) = header.reduction(component, scale);
            let sampling = [
                (component.h * scale, max_h * scale_x),
                (component.v * scale, max_v * scale_y),
            ];
            Upsampler::new(plane, sampling, width, height)
        })
        .collect();
    let channels = upsamplers.len();
    let mut pixels = vec![0; width * height * channels];
    let mut rows = vec![vec![0; width]; channels];
    for (y, line) in pixels.chunks_exact_mut(width * channels).enumerate() {
        for (upsampler, row) in upsamplers.iter().zip(&mut rows) {
            upsampler.row(y, row);
        }
        for (x, pixel) in line.chunks_exact_mut(channels).enumerate() {
            for (channel, row) in pixel.iter_mut().zip(&rows) {
                *channel = row[x];
            }
            convert(pixel, header.model, header.is_inverted);
        }
    }
    let (width, height) = (size.width, size.height);
    match header.model {
        ColorModel::Grey => {
            GrayImage::from_raw(width, height, pixels).map(|image| Pixels::Screen(image.into()))
        }
        ColorModel::Rgb | ColorModel::YCbCr => {
            RgbImage::from_raw(width, height, pixels).map(|image| Pixels::Screen(image.into()))
        }
        ColorModel::Cmyk | ColorModel::Ycck => {
            RgbaImage::from_raw(width, height, pixels).map(Pixels::Cmyk)
        }
    }
    .ok_or(IMPOSSIBLE)
}

/// Converts one pixel to grey, RGB, or amounts of ink.
fn convert(pixel: &mut [u8], model: ColorModel, is_inverted: bool) {
    match (model, pixel) {
        (ColorModel::YCbCr, [y, cb, cr]) => [*y, *cb, *cr] = into_rgb([*y, *cb, *cr]),
        (ColorModel::Ycck, [y, cb, cr, k]) => {
            // The transform is that of what is left without ink.
            let inverted = into_rgb([*y, *cb, *cr]).map(|value| 255 - value);
            [*y, *cb, *cr] = inverted;
            if is_inverted {
                for ink in [y, cb, cr, k] {
                    *ink = 255 - *ink;
                }
            }
        }
        (ColorModel::Cmyk, inks) if is_inverted => {
            for ink in inks {
                *ink = 255 - *ink;
            }
        }
        _ => {}
    }
}

/// Converts a colour of JFIF (ITU-R BT.601, full range).
fn into_rgb([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = [f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0];
    [
        y + 1.402 * cr,
        y - 0.344_136_3 * cb - 0.714_136_3 * cr,
        y + 1.772 * cb,
    ]
    .map(clamped)
}
