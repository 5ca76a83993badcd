//! From the bytes of an upload to the bytes of the stored photo. Decodes, scales, turns and encodes; knows nothing of files.
//!
//! Uploads are hostile until shown otherwise. What they claim to be is read from their first bytes, how large they claim to
//! be is looked at before memory is set aside, and a decoder that loses its footing takes only its upload down.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::imageops::FilterType;
use image::metadata::Orientation;
use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits, RgbaImage,
    guess_format,
};
use moxcms::{ColorProfile, DataColorSpace, Layout, TransformOptions};

use super::PhotoError;

/// Quality of stored JPEGs, of 100.
const QUALITY: u8 = 85;

/// Bytes that a decoder may take per pixel: the most that one takes is 8, for 16 bits in each of four channels, or a frame
/// of an animation and the canvas below it.
const BYTES_PER_PIXEL: u64 = 8;

/// Bytes that a decoder may take beside the pixels, for tables, rows and metadata.
const OVERHEAD: u64 = 16 * 1024 * 1024;

/// Largest colour profile that is taken into account, in bytes. Those of cameras and screens have a few hundred.
const LARGEST_PROFILE: usize = 1024 * 1024;

/// A photo that can be stored: encoded anew and free of metadata.
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

/// Makes a photo that can be stored of an upload.
///
/// # Errors
/// [`PhotoError::NotAnImage`] and [`PhotoError::TooManyPixels`].
pub(super) fn prepare(
    bytes: &[u8],
    max_pixels: u64,
    max_side: u32,
) -> Result<PreparedPhoto, PhotoError> {
    // The decoders are safe code, so a panic in one is a bug about this input that leaves nothing broken behind.
    catch_unwind(AssertUnwindSafe(|| {
        let decoded = decode(bytes, max_pixels)?;
        let mut image = scale_down(decoded.image, max_side);
        // Last, as it takes less time on the smaller image and the longer side is the same either way.
        image.apply_orientation(decoded.orientation);
        if let Some(profile) = decoded.profile {
            image = into_srgb(image, &profile);
        }
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

struct Decoded {
    /// Of type `Luma8`, `Rgb8`, or `Rgba8` where something shines through.
    image: DynamicImage,
    orientation: Orientation,
    profile: Option<Vec<u8>>,
}

fn decode(bytes: &[u8], max_pixels: u64) -> Result<Decoded, PhotoError> {
    let not_an_image = |e: image::ImageError| {
        log::debug!("an upload is no image: {e}");
        PhotoError::NotAnImage
    };
    let check_pixels = |(width, height): (u32, u32)| {
        if u64::from(width) * u64::from(height) > max_pixels {
            Err(PhotoError::TooManyPixels { width, height })
        } else {
            Ok(())
        }
    };
    let format = guess_format(bytes).map_err(not_an_image)?;
    let is_whole = match format {
        ImageFormat::Png | ImageFormat::Gif => true,
        ImageFormat::WebP => {
            // The decoder compares the size of a lossy frame with that of the image only once it has decoded the frame.
            lossy_webp_dimensions(bytes).try_for_each(check_pixels)?;
            true
        }
        ImageFormat::Jpeg => has_jpeg_end(bytes),
        _ => false,
    };
    if !is_whole {
        return Err(PhotoError::NotAnImage);
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(
        max_pixels
            .saturating_mul(BYTES_PER_PIXEL)
            .saturating_add(OVERHEAD),
    );
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(not_an_image)?;
    let (width, height) = decoder.dimensions();
    check_pixels((width, height))?;
    if width == 0 || height == 0 {
        return Err(PhotoError::NotAnImage);
    }
    // Damaged metadata does not make the image worse: it is shown as if it had none.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten();
    let image = read_pixels(decoder, limits).map_err(not_an_image)?;
    Ok(Decoded {
        image: into_eight_bits(image),
        orientation,
        profile,
    })
}

fn read_pixels(mut decoder: impl ImageDecoder, mut limits: Limits) -> ImageResult<DynamicImage> {
    // As `ImageReader::decode` does it: what the pixels themselves take is no longer the decoder's to take.
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    DynamicImage::from_decoder(decoder)
}

/// The sizes in pixels that the frames of a lossy WebP claim, wherever in the file they are (RFC 6386, section 9.1).
fn lossy_webp_dimensions(bytes: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    // "VP8 ", length of the chunk (4 bytes), frame tag (3 bytes), start code (3 bytes), width and height (14 bits each,
    // above them two of scaling).
    bytes.windows(18).filter_map(|chunk| {
        let number = |at: usize| u32::from(u16::from_le_bytes([chunk[at], chunk[at + 1]]) & 0x3fff);
        (chunk.starts_with(b"VP8 ") && chunk[11..14] == [0x9d, 0x01, 0x2a])
            .then(|| (number(14), number(16)))
    })
}

/// Whether the marker that ends a JPEG comes after its first scan. The decoder fills what is missing of an upload that
/// broke off with grey; we would rather say that it is damaged.
fn has_jpeg_end(bytes: &[u8]) -> bool {
    const END: [u8; 2] = [0xff, 0xd9];
    const START_OF_SCAN: u8 = 0xda;
    let mut rest = bytes.get(2..).unwrap_or_default();
    // Segments are stepped over, as there are whole JPEGs (thumbnails) in the metadata.
    loop {
        match rest {
            // Any number of 0xff may stand before a marker.
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, marker, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                rest = rest.get(2 + length..).unwrap_or_default();
                if *marker == START_OF_SCAN {
                    // In the data of a scan 0xff is followed by zero unless it begins a marker.
                    return rest.windows(2).any(|pair| pair == END);
                }
            }
            [_, after @ ..] => rest = after,
            [] => return false,
        }
    }
}

/// Eight bits per channel, and only those channels that the image makes use of.
fn into_eight_bits(image: DynamicImage) -> DynamicImage {
    let color = image.color();
    if color.has_alpha() {
        let image = image.into_rgba8();
        if image.pixels().any(|pixel| pixel.0[3] != u8::MAX) {
            return image.into();
        }
        return DynamicImage::ImageRgba8(image).into_rgb8().into();
    }
    if color.has_color() {
        image.into_rgb8().into()
    } else {
        image.into_luma8().into()
    }
}

/// Makes the longer side `max_side` if it is longer.
fn scale_down(image: DynamicImage, max_side: u32) -> DynamicImage {
    let (width, height) = (image.width(), image.height());
    let longer = width.max(height);
    if longer <= max_side {
        return image;
    }
    let scaled = |side: u32| {
        let exact = u64::from(side) * u64::from(max_side) + u64::from(longer) / 2;
        u32::try_from(exact / u64::from(longer))
            .unwrap_or(max_side)
            .max(1)
    };
    let (new_width, new_height) = (scaled(width), scaled(height));
    let mut image = match image {
        DynamicImage::ImageRgba8(pixels) => weighted(pixels).into(),
        opaque => opaque,
    };
    // The good filter needs 16 bytes for each pixel of a strip as wide as the source, and time to match: a far larger
    // image is first averaged to twice the size.
    if longer / 4 > max_side {
        image = image.thumbnail_exact(width.min(2 * new_width), height.min(2 * new_height));
    }
    match image.resize_exact(new_width, new_height, FilterType::Lanczos3) {
        DynamicImage::ImageRgba8(pixels) => unweighted(pixels).into(),
        opaque => opaque,
    }
}

/// Multiplies the colours by the alpha, so that what cannot be seen does not bleed into what can when pixels are mixed.
fn weighted(mut image: RgbaImage) -> RgbaImage {
    for pixel in image.pixels_mut() {
        let [red, green, blue, alpha] = &mut pixel.0;
        for channel in [red, green, blue] {
            let exact = u32::from(*channel) * u32::from(*alpha);
            *channel = u8::try_from((exact + 127) / 255).unwrap_or(u8::MAX);
        }
    }
    image
}

/// Undoes [`weighted`].
fn unweighted(mut image: RgbaImage) -> RgbaImage {
    for pixel in image.pixels_mut() {
        let [red, green, blue, alpha] = &mut pixel.0;
        let alpha = u32::from(*alpha);
        for channel in [red, green, blue] {
            let exact = u32::from(*channel) * 255 + alpha / 2;
            // Mixing rounds, so the colour may come out a little above its alpha.
            *channel = u8::try_from(exact.checked_div(alpha).unwrap_or(0)).unwrap_or(u8::MAX);
        }
    }
    image
}

/// Translates the colours to those of sRGB, which is what an image without a profile is taken to have: the profile goes
/// with the other metadata. Phones take their photos in a larger space, which would look pale otherwise.
///
/// Profiles that cannot be made use of, or describe another kind of colour than the pixels have, count as none.
fn into_srgb(image: DynamicImage, profile: &[u8]) -> DynamicImage {
    if profile.len() > LARGEST_PROFILE {
        return image;
    }
    let layout = match &image {
        DynamicImage::ImageRgb8(_) => Layout::Rgb,
        DynamicImage::ImageRgba8(_) => Layout::Rgba,
        _ => return image,
    };
    let translated = ColorProfile::new_from_slice(profile)
        .ok()
        .filter(|profile| profile.color_space == DataColorSpace::Rgb)
        .and_then(|profile| {
            let srgb = ColorProfile::new_srgb();
            let options = TransformOptions::default();
            let transform = profile
                .create_transform_8bit(layout, &srgb, layout, options)
                .ok()?;
            let mut pixels = vec![0; image.as_bytes().len()];
            transform.transform(image.as_bytes(), &mut pixels).ok()?;
            Some(pixels)
        });
    let (width, height) = (image.width(), image.height());
    translated
        .and_then(|pixels| match layout {
            Layout::Rgb => image::RgbImage::from_raw(width, height, pixels).map(Into::into),
            _ => RgbaImage::from_raw(width, height, pixels).map(Into::into),
        })
        .unwrap_or(image)
}

fn encode(image: &DynamicImage) -> Result<PreparedPhoto, PhotoError> {
    let mut bytes = Vec::new();
    let (written, extension) = if image.color().has_alpha() {
        let encoder =
            PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, PngFilter::Adaptive);
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
mod tests {
    use image::codecs::gif::GifEncoder;
    use image::codecs::webp::WebPEncoder;
    use image::{
        Frame, GrayImage, ImageBuffer, ImageEncoder, Luma, Rgb, Rgb32FImage, RgbImage, Rgba,
        load_from_memory,
    };

    use super::*;

    const MAX_PIXELS: u64 = 1_000_000;
    const MAX_SIDE: u32 = 64;
    const RED: Rgb<u8> = Rgb([250, 10, 10]);
    const BLUE: Rgb<u8> = Rgb([10, 10, 250]);

    fn prepared(bytes: &[u8]) -> Result<PreparedPhoto, PhotoError> {
        prepare(bytes, MAX_PIXELS, MAX_SIDE)
    }

    /// Left half red, right half blue.
    fn two_halves(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, _| if x < width / 2 { RED } else { BLUE })
    }

    fn written(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn is_close(a: Rgb<u8>, b: Rgb<u8>) -> bool {
        a.0.iter().zip(b.0).all(|(a, b)| a.abs_diff(b) < 24)
    }

    /// A JPEG with an EXIF segment that tells an orientation and, in its place for that, where the photo was taken.
    fn jpeg_with_exif(image: &RgbImage, orientation: u8) -> Vec<u8> {
        let plain = written(image.clone(), ImageFormat::Jpeg);
        let mut exif = b"Exif\0\0II*\0\x08\0\0\0".to_vec();
        exif.extend(2_u16.to_le_bytes());
        // Orientation: tag, type SHORT, count, value.
        exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0]);
        // GPS directory: tag, type LONG, count, offset.
        exif.extend([0x25, 0x88, 4, 0, 1, 0, 0, 0, 38, 0, 0, 0]);
        exif.extend([0; 4]);
        // The directory with one entry, GPSMapDatum, of 19 ASCII characters behind it.
        exif.extend([1, 0, 0x12, 0, 2, 0, 19, 0, 0, 0, 56, 0, 0, 0, 0, 0, 0, 0]);
        exif.extend(b"52.5163N, 13.3777E\0");
        let mut bytes = plain[..2].to_vec();
        bytes.extend([0xff, 0xe1]);
        bytes.extend(u16::try_from(exif.len() + 2).unwrap().to_be_bytes());
        bytes.extend(exif);
        bytes.extend(&plain[2..]);
        bytes
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
            })
        })
    }

    /// A PNG of one pixel that claims to be larger.
    fn png_claiming(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = written(two_halves(1, 1), ImageFormat::Png);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// A RIFF chunk.
    fn chunk(name: &str, content: &[u8]) -> Vec<u8> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
        bytes.extend(content);
        bytes.extend(std::iter::repeat_n(0, content.len() % 2));
        bytes
    }

    /// The bitstream of a lossy WebP of one pixel, claiming the given size.
    fn vp8(width: u16, height: u16) -> Vec<u8> {
        let mut bytes = vec![0x30, 0x01, 0x00, 0x9d, 0x01, 0x2a];
        bytes.extend(width.to_le_bytes());
        bytes.extend(height.to_le_bytes());
        bytes.extend([
            0x0e, 0xc0, 0xfe, 0x25, 0xa4, 0x00, 0x03, 0x70, 0x00, 0x00, 0x00, 0x00,
        ]);
        bytes
    }

    fn webp(chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut content = b"WEBP".to_vec();
        content.extend(chunks.concat());
        chunk("RIFF", &content)
    }

    #[test]
    fn every_format_becomes_a_jpeg() {
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Gif,
        ] {
            let photo = prepared(&written(two_halves(40, 20), format)).unwrap();
            assert_eq!(photo.extension(), "jpg", "{format:?}");
            assert_eq!(photo.dimensions(), (40, 20), "{format:?}");
            assert_eq!(guess_format(photo.bytes()).unwrap(), ImageFormat::Jpeg);
            let shown = load_from_memory(photo.bytes()).unwrap().into_rgb8();
            assert_eq!(shown.dimensions(), (40, 20));
            assert!(is_close(*shown.get_pixel(5, 10), RED), "{format:?}");
            assert!(is_close(*shown.get_pixel(35, 10), BLUE), "{format:?}");
        }
    }

    #[test]
    fn a_lossy_webp_is_read() {
        let photo = prepared(&webp(&[chunk("VP8 ", &vp8(1, 1))])).unwrap();
        assert_eq!(photo.dimensions(), (1, 1));
    }

    #[test]
    fn other_kinds_of_pixels_are_read() {
        let gray = GrayImage::from_fn(20, 10, |_, _| Luma([90]));
        let photo = prepared(&written(gray, ImageFormat::Png)).unwrap();
        let shown = load_from_memory(photo.bytes()).unwrap();
        assert!(!shown.color().has_color());
        assert!(shown.into_luma8().get_pixel(5, 5).0[0].abs_diff(90) < 4);

        let deep: ImageBuffer<Rgba<u16>, Vec<u16>> =
            ImageBuffer::from_pixel(20, 10, Rgba([u16::MAX, 0, 0, u16::MAX / 2]));
        let photo = prepared(&written(deep, ImageFormat::Png)).unwrap();
        assert_eq!(photo.extension(), "png");
        let shown = load_from_memory(photo.bytes()).unwrap();
        assert_eq!(shown.into_rgba8().get_pixel(5, 5), &Rgba([255, 0, 0, 127]));
    }

    #[test]
    fn the_orientation_is_applied_and_the_place_forgotten() {
        let upload = jpeg_with_exif(&two_halves(40, 20), 6);
        assert!(contains(&upload, b"52.5163N"));
        let photo = prepared(&upload).unwrap();
        // Orientation 6: to be turned by a quarter clockwise, so that the left half is above.
        assert_eq!(photo.dimensions(), (20, 40));
        let shown = load_from_memory(photo.bytes()).unwrap().into_rgb8();
        assert!(is_close(*shown.get_pixel(10, 5), RED));
        assert!(is_close(*shown.get_pixel(10, 35), BLUE));
        for metadata in [b"52.5163N".as_slice(), b"Exif", b"II*\0"] {
            assert!(!contains(photo.bytes(), metadata));
        }
    }

    #[test]
    fn an_orientation_of_no_meaning_is_none() {
        for orientation in [0, 1, 9, 255] {
            let photo = prepared(&jpeg_with_exif(&two_halves(40, 20), orientation)).unwrap();
            assert_eq!(photo.dimensions(), (40, 20), "{orientation}");
        }
    }

    #[test]
    fn a_large_photo_is_scaled_down() {
        for (size, stored) in [
            ((64, 64), (64, 64)),
            ((65, 64), (64, 63)),
            ((130, 100), (64, 49)),
            ((100, 130), (49, 64)),
            ((900, 600), (64, 43)),
            ((5000, 1), (64, 1)),
            ((1, 5000), (1, 64)),
        ] {
            let upload = written(two_halves(size.0, size.1), ImageFormat::Png);
            let photo = prepared(&upload).unwrap();
            assert_eq!(photo.dimensions(), stored, "{size:?}");
            let shown = load_from_memory(photo.bytes()).unwrap().into_rgb8();
            assert_eq!(shown.dimensions(), stored);
            if stored.0 > 1 {
                assert!(is_close(*shown.get_pixel(5, 0), RED), "{size:?}");
                assert!(
                    is_close(*shown.get_pixel(stored.0 - 6, 0), BLUE),
                    "{size:?}"
                );
            }
        }
    }

    #[test]
    fn transparency_is_kept_and_does_not_bleed() {
        // A white disc on nothing at all, which is black as nothing mostly is.
        for side in [60_i32, 200, 700] {
            let image = RgbaImage::from_fn(side.unsigned_abs(), side.unsigned_abs(), |x, y| {
                let of_centre = |at: u32| i32::try_from(at).unwrap() - side / 2;
                let square = of_centre(x).pow(2) + of_centre(y).pow(2);
                if square < (side / 3).pow(2) {
                    Rgba([255, 255, 255, 255])
                } else {
                    Rgba([0, 0, 0, 0])
                }
            });
            let photo = prepared(&written(image, ImageFormat::Png)).unwrap();
            assert_eq!(photo.extension(), "png");
            let shown = load_from_memory(photo.bytes()).unwrap().into_rgba8();
            let (width, height) = shown.dimensions();
            assert!(width <= MAX_SIDE);
            assert_eq!(shown.get_pixel(0, 0).0[3], 0);
            assert_eq!(shown.get_pixel(width / 2, height / 2).0, [255; 4]);
            for pixel in shown.pixels().filter(|pixel| pixel.0[3] > 32) {
                assert!(
                    pixel.0[..3].iter().all(|channel| *channel > 240),
                    "{pixel:?}"
                );
            }
        }
    }

    #[test]
    fn an_alpha_of_no_effect_is_left_out() {
        let image = RgbaImage::from_pixel(20, 20, Rgba([250, 10, 10, 255]));
        let photo = prepared(&written(image, ImageFormat::WebP)).unwrap();
        assert_eq!(photo.extension(), "jpg");
    }

    #[test]
    fn of_an_animation_the_first_frame_is_taken() {
        let mut bytes = Vec::new();
        let mut encoder = GifEncoder::new(&mut bytes);
        for color in [RED, BLUE] {
            let Rgb([red, green, blue]) = color;
            let frame = RgbaImage::from_pixel(30, 20, Rgba([red, green, blue, 255]));
            encoder.encode_frame(Frame::new(frame)).unwrap();
        }
        drop(encoder);
        let photo = prepared(&bytes).unwrap();
        assert_eq!(photo.dimensions(), (30, 20));
        let shown = load_from_memory(photo.bytes()).unwrap().into_rgb8();
        assert!(is_close(*shown.get_pixel(15, 10), RED));
    }

    #[test]
    fn colours_of_another_space_are_translated() {
        let profile = ColorProfile::new_display_p3().encode().unwrap();
        let image = RgbImage::from_pixel(16, 16, Rgb([200, 100, 100]));
        let mut upload = Vec::new();
        let mut encoder = WebPEncoder::new_lossless(&mut upload);
        encoder.set_icc_profile(profile).unwrap();
        image.write_with_encoder(encoder).unwrap();
        let photo = prepared(&upload).unwrap();
        let shown = load_from_memory(photo.bytes()).unwrap().into_rgb8();
        // (200, 100, 100) of Display P3, to the nearest whole number.
        let [red, green, blue] = shown.get_pixel(8, 8).0;
        assert!(red.abs_diff(214) < 4, "{red}");
        assert!(green.abs_diff(94) < 4, "{green}");
        assert!(blue.abs_diff(97) < 4, "{blue}");
        assert!(!contains(photo.bytes(), b"acsp"), "the profile is kept");
    }

    #[test]
    fn a_profile_of_no_use_counts_as_none() {
        let rgb = DynamicImage::from(two_halves(4, 4));
        for profile in [b"".as_slice(), b"no profile", &[0; 200]] {
            assert_eq!(into_srgb(rgb.clone(), profile), rgb);
        }
        let gray = ColorProfile::new_gray_with_gamma(2.2).encode().unwrap();
        assert_eq!(into_srgb(rgb.clone(), &gray), rgb);
    }

    #[test]
    fn too_many_pixels_are_refused_unseen() {
        assert_eq!(
            prepared(&png_claiming(60_000, 60_000)).unwrap_err(),
            PhotoError::TooManyPixels {
                width: 60_000,
                height: 60_000
            }
        );
        let mut gif = written(two_halves(4, 4), ImageFormat::Gif);
        gif[6..10].copy_from_slice(&[0xff; 4]);
        assert_eq!(
            prepared(&gif).unwrap_err(),
            PhotoError::TooManyPixels {
                width: 65_535,
                height: 65_535
            }
        );
        let mut jpeg = written(two_halves(4, 4), ImageFormat::Jpeg);
        let frame = jpeg
            .windows(2)
            .position(|pair| pair == [0xff, 0xc0])
            .unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xf0, 0xff, 0xf0]);
        assert!(matches!(
            prepared(&jpeg),
            Err(PhotoError::TooManyPixels { .. })
        ));
        // As many as are accepted are.
        let upload = written(two_halves(1000, 1000), ImageFormat::Png);
        assert_eq!(prepared(&upload).unwrap().dimensions(), (64, 64));
        assert!(prepare(&upload, MAX_PIXELS - 1, MAX_SIDE).is_err());
    }

    #[test]
    fn a_webp_whose_frame_is_larger_than_the_image_is_refused_unseen() {
        let too_many = Err(PhotoError::TooManyPixels {
            width: 16_383,
            height: 16_383,
        });
        let frame = chunk("VP8 ", &vp8(16_383, 16_383));
        // Flags and the size less one: one pixel.
        let image = chunk("VP8X", &[0; 10]);
        assert_eq!(prepared(&webp(&[image, frame.clone()])), too_many);
        let animation = [
            chunk("VP8X", &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            chunk("ANIM", &[0; 6]),
            chunk("ANMF", &[[0; 16].as_slice(), &frame].concat()),
        ];
        assert_eq!(prepared(&webp(&animation)), too_many);
    }

    #[test]
    fn a_gif_whose_frame_is_larger_than_the_image_takes_no_memory() {
        let mut gif = written(two_halves(4, 4), ImageFormat::Gif);
        let frame = (13..gif.len())
            .find(|at| gif[*at..].starts_with(&[0x2c, 0, 0, 0, 0, 4, 0, 4, 0]))
            .unwrap();
        gif[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
        assert_eq!(prepared(&gif).unwrap_err(), PhotoError::NotAnImage);
    }

    #[test]
    fn what_is_cut_off_is_no_image() {
        let image = two_halves(300, 200);
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Gif,
        ] {
            let whole = written(image.clone(), format);
            for length in [1, 4, 12, 40, whole.len() / 2, whole.len() * 9 / 10] {
                let cut = prepared(&whole[..length]);
                assert_eq!(cut, Err(PhotoError::NotAnImage), "{format:?} {length}");
            }
        }
        // A thumbnail in the metadata has an end of its own.
        let mut jpeg = jpeg_with_exif(&image, 1);
        let place = jpeg.windows(4).position(|bytes| bytes == b"52.5").unwrap();
        jpeg[place..place + 2].copy_from_slice(&[0xff, 0xd9]);
        assert!(prepared(&jpeg).is_ok());
        jpeg.truncate(jpeg.len() - 2);
        assert_eq!(prepared(&jpeg), Err(PhotoError::NotAnImage));
    }

    #[test]
    fn what_follows_the_image_is_dropped() {
        let mut jpeg = written(two_halves(30, 20), ImageFormat::Jpeg);
        jpeg.extend(b"<script>alert(1)</script>");
        let photo = prepared(&jpeg).unwrap();
        assert!(!contains(photo.bytes(), b"<script>"));
    }

    #[test]
    fn anything_else_is_no_image() {
        let bmp = b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0";
        for upload in [
            b"just some text".as_slice(),
            b"\0",
            b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
            b"%PDF-1.7",
            bmp,
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xe0\xff\xff",
            b"\xff\xd8\xff\xda\0\0\xff\xd9",
            b"\x89PNG\r\n\x1a\n",
            b"GIF89a\0\0\0\0\0\0\0;",
            b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        ] {
            assert_eq!(prepared(upload), Err(PhotoError::NotAnImage), "{upload:?}");
        }
    }

    #[test]
    fn damage_brings_nothing_down() {
        let image = two_halves(48, 32);
        let mut seed = 1_u32;
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::WebP,
            ImageFormat::Gif,
        ] {
            let whole = written(image.clone(), format);
            for _ in 0..200 {
                let mut damaged = whole.clone();
                for _ in 0..3 {
                    // Any sequence of numbers does, as long as it is the same each time.
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let at = (seed >> 8) as usize % damaged.len();
                    damaged[at] ^= seed.to_le_bytes()[3] | 1;
                }
                match prepared(&damaged) {
                    Ok(photo) => assert!(load_from_memory(photo.bytes()).is_ok()),
                    Err(e) => assert!(
                        matches!(e, PhotoError::NotAnImage | PhotoError::TooManyPixels { .. }),
                        "{e:?}"
                    ),
                }
            }
        }
    }

    #[test]
    fn floating_point_colours_would_be_read_too() {
        // No accepted format has them; the step that follows decoding takes whatever a decoder gives.
        let image = Rgb32FImage::from_pixel(2, 2, Rgb([1.0, 0.0, 0.0]));
        let image = into_eight_bits(image.into()).into_rgb8();
        assert_eq!(image.get_pixel(0, 0), &Rgb([255, 0, 0]));
    }
}
