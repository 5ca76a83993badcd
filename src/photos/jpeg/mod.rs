//! A JPEG decoder that can decode at reduced size: baseline, extended and progressive Huffman-coded
//! JPEGs of 8 bits (ITU-T T.81), in any arrangement of scans.
//!
//! Photos of 48 megapixels are common and are stored at a fraction of that, so each block of 8×8
//! samples is averaged to 4×4, 2×2 or 1×1 as soon as it is decoded. Memory is known before anything
//! is allocated: [`Header::memory`]. Damaged and truncated scans are errors; only the marker at the
//! end of the file may be missing.
//!
//! Not supported, as in browsers: arithmetic coding, lossless and hierarchical JPEGs, 12 bits.

mod bits;
mod color;
mod dct;
mod header;
mod scan;

use image::DynamicImage;

pub(super) use header::Header;

/// A JPEG that cannot be decoded; the text is for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JpegError(pub(super) &'static str);

/// Pixels of a decoded JPEG.
pub(super) enum Pixels {
    /// Grey or RGB.
    Screen(DynamicImage),
    /// Four channels of ink, 255 being full; stored like RGBA.
    Cmyk(image::RgbaImage),
}

/// Decodes a JPEG at `1 / scale` of its size; `scale` is 1, 2, 4 or 8.
///
/// # Errors
/// When the file is damaged, or not of a supported kind.
pub(super) fn decode(header: &Header, bytes: &[u8], scale: u32) -> Result<Pixels, JpegError> {
    let planes = scan::decode_planes(header, bytes, scale)?;
    color::into_pixels(header, planes, scale)
}

#[cfg(test)]
mod tests;
