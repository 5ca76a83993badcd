//! Converts the colours of an image to sRGB.
//!
//! An image without a profile is taken to be sRGB, and the profile goes with the other metadata, so
//! colours have to be converted: phones use a larger space, which would look pale otherwise.

use image::{DynamicImage, GrayImage, RgbImage, RgbaImage};
use moxcms::{
    Chromaticity, ColorPrimaries, ColorProfile, DataColorSpace, Layout, ToneReprCurve,
    TransformOptions,
};

/// Largest colour profile that is used, in bytes. Those of cameras and screens have a few hundred,
/// those of printers up to two million.
const LARGEST_PROFILE: usize = 3 * 1024 * 1024;

/// The exponent of sRGB's transfer function, roughly; and how far another one may be from it.
const SRGB_GAMMA: f32 = 2.2;
const GAMMA_TOLERANCE: f32 = 0.05;

/// What an image says about its colours.
#[derive(Default)]
pub(super) struct ColorSpace {
    /// An ICC profile.
    pub(super) profile: Option<Vec<u8>>,
    /// The exponent of the transfer function.
    pub(super) gamma: Option<f32>,
    /// White point, red, green and blue as CIE xy.
    pub(super) chromaticities: Option<[(f32, f32); 4]>,
}

/// Converts an image to sRGB. A profile that cannot be used, or that describes another kind of
/// colour than the pixels have, counts as none.
pub(super) fn into_srgb(image: DynamicImage, space: &ColorSpace) -> DynamicImage {
    let profile = match &space.profile {
        Some(profile) => parse(profile),
        None => described(space, image.color().has_color()),
    };
    let Some(profile) = profile else {
        return image;
    };
    let (width, height) = (image.width(), image.height());
    let converted = match &image {
        DynamicImage::ImageLuma8(pixels) => {
            // Grey stays grey, so one channel of the result says it all.
            convert(
                &profile,
                DataColorSpace::Gray,
                pixels,
                Layout::Gray,
                Layout::Rgb,
            )
            .map(|rgb| rgb.chunks_exact(3).map(|pixel| pixel[1]).collect())
            .and_then(|grey| GrayImage::from_raw(width, height, grey))
            .map(Into::into)
        }
        DynamicImage::ImageRgb8(pixels) => convert(
            &profile,
            DataColorSpace::Rgb,
            pixels,
            Layout::Rgb,
            Layout::Rgb,
        )
        .and_then(|pixels| RgbImage::from_raw(width, height, pixels))
        .map(Into::into),
        DynamicImage::ImageRgba8(pixels) => convert(
            &profile,
            DataColorSpace::Rgb,
            pixels,
            Layout::Rgba,
            Layout::Rgba,
        )
        .and_then(|pixels| RgbaImage::from_raw(width, height, pixels))
        .map(Into::into),
        _ => None,
    };
    converted.unwrap_or(image)
}

/// Converts amounts of ink (255 is full) to sRGB, by the profile or, without a usable one, simply.
pub(super) fn cmyk_into_srgb(image: &RgbaImage, profile: Option<&[u8]>) -> Option<RgbImage> {
    let (width, height) = image.dimensions();
    let pixels = profile
        .and_then(parse)
        .and_then(|profile| {
            convert(
                &profile,
                DataColorSpace::Cmyk,
                image,
                Layout::Rgba,
                Layout::Rgb,
            )
        })
        .unwrap_or_else(|| {
            image
                .pixels()
                .flat_map(|pixel| {
                    let [c, m, y, k] = pixel.0.map(|ink| 255 - u16::from(ink));
                    [c, m, y].map(|value| u8::try_from((value * k + 127) / 255).unwrap_or(u8::MAX))
                })
                .collect()
        });
    RgbImage::from_raw(width, height, pixels)
}

fn parse(profile: &[u8]) -> Option<ColorProfile> {
    (profile.len() <= LARGEST_PROFILE)
        .then(|| ColorProfile::new_from_slice(profile).ok())
        .flatten()
}

/// The profile that transfer function and chromaticities describe. `None` when that is sRGB.
fn described(space: &ColorSpace, has_color: bool) -> Option<ColorProfile> {
    let gamma = space
        .gamma
        .filter(|gamma| (gamma - SRGB_GAMMA).abs() > GAMMA_TOLERANCE);
    if !has_color {
        return gamma.map(ColorProfile::new_gray_with_gamma);
    }
    let chromaticities = space.chromaticities.filter(|found| !is_srgb(found));
    if gamma.is_none() && chromaticities.is_none() {
        return None;
    }
    let mut profile = ColorProfile::new_srgb();
    if let Some([(white_x, white_y), red, green, blue]) = chromaticities {
        let point = |(x, y)| Chromaticity::new(x, y);
        let primaries = ColorPrimaries {
            red: point(red),
            green: point(green),
            blue: point(blue),
        };
        let white = Chromaticity::new(white_x, white_y).to_xyyb();
        profile.update_rgb_colorimetry(white, primaries);
    }
    if let Some(gamma) = gamma {
        let curve = ToneReprCurve::Parametric(vec![gamma]);
        profile.red_trc = Some(curve.clone());
        profile.green_trc = Some(curve.clone());
        profile.blue_trc = Some(curve);
    }
    // The numbers in which the standard profile describes itself no longer hold.
    profile.cicp = None;
    Some(profile)
}

fn is_srgb(chromaticities: &[(f32, f32); 4]) -> bool {
    const SRGB: [(f32, f32); 4] = [(0.3127, 0.329), (0.64, 0.33), (0.3, 0.6), (0.15, 0.06)];
    chromaticities
        .iter()
        .zip(SRGB)
        .all(|(a, b)| (a.0 - b.0).abs() < 0.002 && (a.1 - b.1).abs() < 0.002)
}

fn convert(
    profile: &ColorProfile,
    expected: DataColorSpace,
    pixels: &[u8],
    from: Layout,
    to: Layout,
) -> Option<Vec<u8>> {
    if profile.color_space != expected {
        return None;
    }
    let transform = profile
        .create_transform_8bit(
            from,
            &ColorProfile::new_srgb(),
            to,
            TransformOptions::default(),
        )
        .ok()?;
    let channels = |layout| match layout {
        Layout::Gray => 1,
        Layout::Rgb => 3,
        _ => 4,
    };
    let mut converted = vec![0; pixels.len() / channels(from) * channels(to)];
    transform.transform(pixels, &mut converted).ok()?;
    Some(converted)
}
