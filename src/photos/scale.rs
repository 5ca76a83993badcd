//! Scales an image to its final size.

use image::imageops::FilterType;
use image::{DynamicImage, RgbaImage};

use super::reduce::{Fourth, Reduced};
use super::size::Size;

/// Makes the longer side `max_side` if it is longer.
pub(super) fn scale_down(reduced: Reduced, max_side: u32) -> DynamicImage {
    let Reduced {
        mut image,
        mut fourth,
    } = reduced;
    let size = Size::new((image.width(), image.height()));
    let fitted = size.fitted(max_side);
    if fitted != size {
        if let DynamicImage::ImageRgba8(pixels) = &mut image
            && fourth == Fourth::Alpha
        {
            premultiply(pixels);
            fourth = Fourth::PremultipliedAlpha;
        }
        let halfway = halfway(size, fitted);
        if halfway != size {
            image = image.thumbnail_exact(halfway.width, halfway.height);
        }
        image = image.resize_exact(fitted.width, fitted.height, FilterType::Lanczos3);
    }
    if let DynamicImage::ImageRgba8(pixels) = &mut image
        && fourth == Fourth::PremultipliedAlpha
    {
        unpremultiply(pixels);
    }
    image
}

/// The bytes that [`scale_down`] allocates at most, the image itself included.
pub(super) fn memory(size: Size, channels: u64, max_side: u32) -> u64 {
    let fitted = size.fitted(max_side);
    let halfway = halfway(size, fitted);
    let source = size.pixels() * channels;
    if fitted == size {
        return source;
    }
    // The filter keeps four floating-point channels of a strip as wide as its source.
    let strip = 16 * u64::from(halfway.width) * u64::from(fitted.height);
    source + (halfway.pixels() + fitted.pixels()) * channels + strip
}

/// The size to which a far larger image is averaged first: the good filter takes memory and time by
/// the size of its source.
fn halfway(size: Size, fitted: Size) -> Size {
    Size {
        width: size.width.min(2 * fitted.width),
        height: size.height.min(2 * fitted.height),
    }
}

/// Multiplies the colours by alpha, so that hidden colours do not bleed into visible ones when
/// pixels are mixed.
fn premultiply(image: &mut RgbaImage) {
    for pixel in image.pixels_mut() {
        let [red, green, blue, alpha] = &mut pixel.0;
        for channel in [red, green, blue] {
            let exact = u32::from(*channel) * u32::from(*alpha);
            *channel = u8::try_from((exact + 127) / 255).unwrap_or(u8::MAX);
        }
    }
}

/// Undoes [`premultiply`].
fn unpremultiply(image: &mut RgbaImage) {
    for pixel in image.pixels_mut() {
        let [red, green, blue, alpha] = &mut pixel.0;
        let alpha = u32::from(*alpha);
        for channel in [red, green, blue] {
            let exact = u32::from(*channel) * 255 + alpha / 2;
            // Mixing rounds, so a colour may come out slightly above its alpha.
            *channel = u8::try_from(exact.checked_div(alpha).unwrap_or(0)).unwrap_or(u8::MAX);
        }
    }
}

/// Drops an alpha channel that has no effect.
pub(super) fn without_useless_alpha(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageRgba8(pixels) if pixels.pixels().all(|pixel| pixel.0[3] == u8::MAX) => {
            DynamicImage::ImageRgba8(pixels).into_rgb8().into()
        }
        other => other,
    }
}
