//! From the bytes of an upload to pixels, at a size that fits into memory.
//!
//! Uploads are hostile until shown otherwise. The format is recognised by the first bytes, the
//! claimed size is checked before memory is allocated, and what decoding takes is known before: a
//! [`Plan`] says how much. PNG, GIF and JPEG are averaged while they are decoded; WebP cannot be.

use std::io::Cursor;

use gif::{ColorOutput, DecodeOptions, MemoryLimit};
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, guess_format};

use super::color::ColorSpace;
use super::jpeg::{self, JpegError, Pixels};
use super::reduce::{Fourth, Reduced, Reducer};
use super::size::Size;
use super::{PhotoError, scale};

/// How many times the pixels of other formats a JPEG may have: it is decoded at reduced size.
const JPEG_FACTOR: u64 = 4;

/// Bytes of tables, metadata and rows beside what grows with the image.
const OVERHEAD: u64 = 4 * 1024 * 1024;

/// Bytes that metadata of a PNG may have once it is inflated.
const MOST_METADATA: usize = 2 * 1024 * 1024;

/// Brands of HEIC and AVIF files, in the box with which they begin.
const HEIF_BRANDS: [&[u8]; 9] = [
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis",
];

/// The bounds of an upload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) max_pixels: u64,
    pub(super) max_side: u32,
}

/// A decoded image.
pub(super) struct Decoded {
    pub(super) reduced: Reduced,
    pub(super) orientation: Orientation,
    pub(super) space: ColorSpace,
}

/// How an upload is decoded.
pub(super) struct Plan<'a> {
    bytes: &'a [u8],
    bounds: Bounds,
    size: Size,
    kind: Kind,
    /// The bytes that decoding and scaling allocate at most.
    pub(super) memory: u64,
}

enum Kind {
    Jpeg { header: jpeg::Header, scale: u32 },
    Png,
    Gif,
    WebP,
}

impl<'a> Plan<'a> {
    /// Reads the header of an upload.
    ///
    /// # Errors
    /// [`PhotoError::NotAnImage`], [`PhotoError::Unsupported`], [`PhotoError::TooManyPixels`].
    pub(super) fn new(bytes: &'a [u8], bounds: Bounds) -> Result<Self, PhotoError> {
        if is_heif(bytes) {
            return Err(PhotoError::Unsupported);
        }
        match guess_format(bytes).map_err(refused)? {
            ImageFormat::Jpeg => Self::jpeg(bytes, bounds),
            ImageFormat::Png => Self::png(bytes, bounds),
            ImageFormat::Gif => Self::gif(bytes, bounds),
            ImageFormat::WebP => Self::webp(bytes, bounds),
            _ => Err(PhotoError::NotAnImage),
        }
    }

    fn jpeg(bytes: &'a [u8], bounds: Bounds) -> Result<Self, PhotoError> {
        let header = jpeg::Header::parse(bytes).map_err(damaged)?;
        let size = header.size;
        check(size, bounds.max_pixels.saturating_mul(JPEG_FACTOR))?;
        let is_large = |scale: u32| size.reduced(scale).pixels() > bounds.max_pixels;
        let mut scale = 1;
        while scale < 8
            && (is_large(scale) || size.longer() / (2 * scale) >= bounds.max_side * 3 / 2)
        {
            scale *= 2;
        }
        let channels = header.channels();
        let memory = header.memory(scale).max(scale::memory(
            size.reduced(scale),
            channels,
            bounds.max_side,
        ));
        Ok(Self {
            bytes,
            bounds,
            size,
            memory: memory + OVERHEAD,
            kind: Kind::Jpeg { header, scale },
        })
    }

    fn png(bytes: &'a [u8], bounds: Bounds) -> Result<Self, PhotoError> {
        let mut decoder = png_decoder(bytes);
        let info = decoder.read_header_info().map_err(refused)?;
        let size = Size::new(info.size());
        check(size, bounds.max_pixels)?;
        // A row as it is stored, the one before it, and as it is expanded; and what is read ahead.
        let row = 4 * info.raw_row_length() as u64 + 4 * u64::from(size.width);
        let (sums, reduced) = Reducer::memory(size, 4, bounds.max_side);
        let memory = (row + sums).max(scale::memory(reduced, 4, bounds.max_side));
        Ok(Self {
            bytes,
            bounds,
            size,
            memory: memory + OVERHEAD + 2 * bytes.len() as u64,
            kind: Kind::Png,
        })
    }

    fn gif(bytes: &'a [u8], bounds: Bounds) -> Result<Self, PhotoError> {
        let side = |at: usize| {
            let [low, high] = *bytes.get(at..)?.first_chunk()?;
            Some(u32::from(u16::from_le_bytes([low, high])))
        };
        let size = side(6).zip(side(8)).ok_or(PhotoError::NotAnImage)?;
        let size = Size::new(size);
        check(size, bounds.max_pixels)?;
        let (sums, reduced) = Reducer::memory(size, 4, bounds.max_side);
        let memory = sums.max(scale::memory(reduced, 4, bounds.max_side));
        Ok(Self {
            bytes,
            bounds,
            size,
            memory: memory + OVERHEAD,
            kind: Kind::Gif,
        })
    }

    fn webp(bytes: &'a [u8], bounds: Bounds) -> Result<Self, PhotoError> {
        // The decoder compares the size of a lossy frame with that of the image only once it has
        // decoded the frame.
        let mut frames = 0;
        for frame in lossy_webp_sizes(bytes) {
            check(frame, bounds.max_pixels)?;
            frames = frames.max(frame.pixels());
        }
        let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(refused)?;
        let size = Size::new(decoder.dimensions());
        check(size, bounds.max_pixels)?;
        let has_alpha = decoder.color_type().has_alpha();
        // Bytes for each pixel: planes of brightness and colour, the frame, and the image that they
        // are put into.
        let each = match (frames > 0, has_alpha) {
            _ if decoder.has_animation() => 20,
            (true, false) => 5,
            (true, true) => 12,
            (false, true) => 6,
            (false, false) => 9,
        };
        let pixels = size.pixels().max(frames);
        let channels = if has_alpha { 4 } else { 3 };
        let memory = (pixels * each).max(scale::memory(size, channels, bounds.max_side));
        Ok(Self {
            bytes,
            bounds,
            size,
            memory: memory + OVERHEAD,
            kind: Kind::WebP,
        })
    }

    /// The size that the upload claims.
    pub(super) fn size(&self) -> Size {
        self.size
    }

    /// Decodes the upload.
    ///
    /// # Errors
    /// [`PhotoError::NotAnImage`].
    pub(super) fn decode(&self) -> Result<Decoded, PhotoError> {
        match &self.kind {
            Kind::Jpeg { header, scale } => decode_jpeg(self.bytes, header, *scale),
            Kind::Png => decode_png(self.bytes, self.size, self.bounds),
            Kind::Gif => decode_gif(self.bytes, self.size, self.bounds),
            Kind::WebP => decode_webp(self.bytes),
        }
    }
}

fn check(size: Size, max_pixels: u64) -> Result<(), PhotoError> {
    if size.pixels() == 0 {
        Err(PhotoError::NotAnImage)
    } else if size.pixels() > max_pixels {
        Err(PhotoError::too_large(size))
    } else {
        Ok(())
    }
}

fn refused(e: impl std::fmt::Display) -> PhotoError {
    log::debug!("an upload is not an image: {e}");
    PhotoError::NotAnImage
}

fn damaged(JpegError(reason): JpegError) -> PhotoError {
    refused(reason)
}

fn is_heif(bytes: &[u8]) -> bool {
    bytes
        .get(4..12)
        .and_then(|head| head.strip_prefix(b"ftyp"))
        .is_some_and(|brand| HEIF_BRANDS.contains(&brand))
}

/// The orientation that EXIF data says, if any. Damaged metadata does not make an image worse.
fn orientation(exif: Option<&[u8]>) -> Orientation {
    exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms)
}

fn decode_jpeg(bytes: &[u8], header: &jpeg::Header, scale: u32) -> Result<Decoded, PhotoError> {
    let (image, fourth) = match jpeg::decode(header, bytes, scale).map_err(damaged)? {
        Pixels::Screen(image) => (image, Fourth::Alpha),
        Pixels::Cmyk(image) => (image.into(), Fourth::Black),
    };
    Ok(Decoded {
        reduced: Reduced { image, fourth },
        orientation: orientation(header.exif.as_deref()),
        space: ColorSpace {
            profile: header.profile.clone(),
            ..ColorSpace::default()
        },
    })
}

fn png_decoder(bytes: &[u8]) -> png::Decoder<Cursor<&[u8]>> {
    let limits = png::Limits {
        // Chunks are no longer than the file; what they inflate to is bounded.
        bytes: bytes.len() + MOST_METADATA,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_ignore_text_chunk(true);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder
}

fn decode_png(bytes: &[u8], size: Size, bounds: Bounds) -> Result<Decoded, PhotoError> {
    let mut reader = match png_decoder(bytes).read_info() {
        Err(png::DecodingError::LimitsExceeded) => {
            // A profile that inflates to far more than any profile has is passed over.
            let mut decoder = png_decoder(bytes);
            decoder.set_ignore_iccp_chunk(true);
            decoder.read_info().map_err(refused)?
        }
        other => other.map_err(refused)?,
    };
    let info = reader.info();
    let orientation = orientation(info.exif_metadata.as_deref());
    let space = png_color_space(info);
    let is_interlaced = info.interlaced;
    let (color, _) = reader.output_color_type();
    let channels = if color == png::ColorType::Grayscale {
        1
    } else if color == png::ColorType::Rgb {
        3
    } else {
        4
    };
    let mut reducer = Reducer::new(size, channels, bounds.max_side);
    let mut expanded = Vec::new();
    let mut add = |y: u32, x: u32, step: u32, row: &[u8]| {
        if color == png::ColorType::GrayscaleAlpha {
            expanded.clear();
            expanded.extend(row.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]]));
            reducer.add(y, x, step, &expanded);
        } else {
            reducer.add(y, x, step, row);
        }
    };
    if is_interlaced {
        for (x0, y0, step_x, step_y) in ADAM7 {
            if x0 >= size.width {
                continue;
            }
            for y in (y0..size.height).step_by(step_y) {
                let row = reader.next_row().map_err(refused)?;
                add(y, x0, step_x, row.ok_or(PhotoError::NotAnImage)?.data());
            }
        }
    } else {
        for y in 0..size.height {
            let row = reader.next_row().map_err(refused)?;
            add(y, 0, 1, row.ok_or(PhotoError::NotAnImage)?.data());
        }
    }
    Ok(Decoded {
        reduced: reducer.finish().ok_or(PhotoError::NotAnImage)?,
        orientation,
        space,
    })
}

/// The passes of interlacing: first column and row, and the steps to the next ones.
const ADAM7: [(u32, u32, u32, usize); 7] = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
];

fn png_color_space(info: &png::Info<'_>) -> ColorSpace {
    if let Some(profile) = &info.icc_profile {
        return ColorSpace {
            profile: Some(profile.to_vec()),
            ..ColorSpace::default()
        };
    }
    if info.srgb.is_some() {
        return ColorSpace::default();
    }
    ColorSpace {
        profile: None,
        // The chunk has the exponent for encoding.
        gamma: info
            .gama_chunk
            .map(|gamma| 1.0 / gamma.into_value())
            .filter(|gamma| (0.2..10.0).contains(gamma)),
        chromaticities: info.chrm_chunk.map(|found| {
            [found.white, found.red, found.green, found.blue]
                .map(|(x, y)| (x.into_value(), y.into_value()))
        }),
    }
}

fn decode_gif(bytes: &[u8], size: Size, bounds: Bounds) -> Result<Decoded, PhotoError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let most = std::num::NonZeroU64::new(OVERHEAD).ok_or(PhotoError::NotAnImage)?;
    options.set_memory_limit(MemoryLimit::Bytes(most));
    let mut decoder = options.read_info(Cursor::new(bytes)).map_err(refused)?;
    let frame = decoder
        .next_frame_info()
        .map_err(refused)?
        .ok_or(PhotoError::NotAnImage)?;
    let (left, top) = (u32::from(frame.left), u32::from(frame.top));
    let (width, height) = (usize::from(frame.width), u32::from(frame.height));
    let (is_interlaced, transparent) = (frame.interlaced, frame.transparent);
    let palette = decoder.palette().map_err(refused)?.to_vec();
    let mut reducer = Reducer::new(size, 4, bounds.max_side);
    let mut indices = vec![0; width];
    let mut row = Vec::with_capacity(4 * width);
    let passes: &[(u32, usize)] = if is_interlaced {
        &[(0, 8), (4, 8), (2, 4), (1, 2)]
    } else {
        &[(0, 1)]
    };
    for (first, step) in passes {
        for y in (*first..height).step_by(*step) {
            if width > 0 && !decoder.fill_buffer(&mut indices).map_err(refused)? {
                return Err(PhotoError::NotAnImage);
            }
            row.clear();
            for index in &indices {
                let at = 3 * usize::from(*index);
                row.extend(match palette.get(at..at + 3) {
                    Some([red, green, blue]) if transparent != Some(*index) => {
                        [*red, *green, *blue, u8::MAX]
                    }
                    _ => [0; 4],
                });
            }
            reducer.add(top + y, left, 1, &row);
        }
    }
    Ok(Decoded {
        reduced: reducer.finish().ok_or(PhotoError::NotAnImage)?,
        orientation: Orientation::NoTransforms,
        space: ColorSpace::default(),
    })
}

fn decode_webp(bytes: &[u8]) -> Result<Decoded, PhotoError> {
    let mut decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(refused)?;
    let exif = decoder.exif_metadata().ok().flatten();
    let profile = decoder.icc_profile().ok().flatten();
    let image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    Ok(Decoded {
        reduced: Reduced {
            image,
            fourth: Fourth::Alpha,
        },
        orientation: orientation(exif.as_deref()),
        space: ColorSpace {
            profile,
            ..ColorSpace::default()
        },
    })
}

/// The sizes that the frames of a lossy WebP claim, wherever in the file they are (RFC 6386,
/// section 9.1).
fn lossy_webp_sizes(bytes: &[u8]) -> impl Iterator<Item = Size> {
    // "VP8 ", length of the chunk (4 bytes), frame tag (3 bytes), start code (3 bytes), width and
    // height (14 bits each, above them two of scaling).
    bytes.windows(18).filter_map(|chunk| {
        let number = |at: usize| u32::from(u16::from_le_bytes([chunk[at], chunk[at + 1]]) & 0x3fff);
        (chunk.starts_with(b"VP8 ") && chunk[11..14] == [0x9d, 0x01, 0x2a])
            .then(|| Size::new((number(14), number(16))))
    })
}
