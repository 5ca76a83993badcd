//! From the bytes of an upload to the bytes of the stored photo.
//!
//! Decodes, scales, rotates, converts colours and encodes, within the memory that is reserved
//! before. Knows nothing of files.

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};

use super::PhotoError;
use super::budget::MemoryBudget;
use super::color::{cmyk_into_srgb, into_srgb};
use super::decode::{Bounds, Plan};
use super::reduce::Fourth;
use super::scale::{scale_down, without_useless_alpha};

/// Quality of stored JPEGs, of 100.
const QUALITY: u8 = 85;

/// A photo that can be stored: re-encoded and free of metadata.
#[derive(Clone, PartialEq, Eq)]
pub struct PreparedPhoto {
    bytes: Vec<u8>,
    extension: &'static str,
    width: u32,
    height: u32,
}

impl PreparedPhoto {
    /// The encoded image.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `jpg`, or `png` for an image with transparency.
    #[must_use]
    pub fn extension(&self) -> &'static str {
        self.extension
    }

    /// Width and height in pixels.
    #[must_use]
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }
}

impl std::fmt::Debug for PreparedPhoto {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreparedPhoto")
            .field("bytes", &self.bytes.len())
            .field("extension", &self.extension)
            .field("width", &self.width)
            .field("height", &self.height)
            .finish()
    }
}

/// Re-encodes an upload. Waits until the memory for it is free.
///
/// # Errors
/// [`PhotoError::NotAnImage`], [`PhotoError::Unsupported`] and [`PhotoError::TooManyPixels`].
pub(super) fn prepare(
    bytes: &[u8],
    bounds: Bounds,
    budget: &MemoryBudget,
) -> Result<PreparedPhoto, PhotoError> {
    // Decoders are safe code, so a panic in one leaves nothing broken behind.
    catch_unwind(AssertUnwindSafe(|| {
        let plan = Plan::new(bytes, bounds)?;
        let _reservation = budget
            .reserve(plan.memory)
            .ok_or_else(|| PhotoError::too_large(plan.size()))?;
        let decoded = plan.decode()?;
        let fourth = decoded.reduced.fourth;
        let mut image = scale_down(decoded.reduced, bounds.max_side);
        // Last, as it takes less time on the smaller image.
        image.apply_orientation(decoded.orientation);
        let image = match image {
            DynamicImage::ImageRgba8(inks) if fourth == Fourth::Black => {
                cmyk_into_srgb(&inks, decoded.space.profile.as_deref())
                    .ok_or(PhotoError::NotAnImage)?
                    .into()
            }
            image => into_srgb(without_useless_alpha(image), &decoded.space),
        };
        encode(&image)
    }))
    .unwrap_or_else(|_| {
        log::warn!(
            "an image decoder panicked on an upload of {} bytes",
            bytes.len()
        );
        Err(PhotoError::NotAnImage)
    })
}

fn encode(image: &DynamicImage) -> Result<PreparedPhoto, PhotoError> {
    let mut bytes = Vec::new();
    let (written, extension) = if image.color().has_alpha() {
        let encoder = PngEncoder::new_with_quality(
            &mut bytes,
            CompressionType::Default,
            FilterType::Adaptive,
        );
        (image.write_with_encoder(encoder), "png")
    } else {
        let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
        (image.write_with_encoder(encoder), "jpg")
    };
    written.map_err(|e| {
        log::error!("a decoded image could not be encoded: {e}");
        PhotoError::NotAnImage
    })?;
    Ok(PreparedPhoto {
        bytes,
        extension,
        width: image.width(),
        height: image.height(),
    })
}

#[cfg(test)]
mod tests;
