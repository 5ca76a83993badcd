//! Uploads of all formats, and what they become.

use std::io::Cursor;

use image::codecs::gif::GifEncoder;
use image::codecs::webp::WebPEncoder;
use image::{
    Frame, GrayImage, ImageBuffer, ImageEncoder, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage,
    guess_format, load_from_memory,
};

use moxcms::ColorProfile;

use super::*;
use crate::photos::color::ColorSpace;

mod colors;
mod memory;
mod metadata;

const MAX_PIXELS: u64 = 1_000_000;
const MAX_SIDE: u32 = 64;
const RED: Rgb<u8> = Rgb([250, 10, 10]);
const BLUE: Rgb<u8> = Rgb([10, 10, 250]);

fn prepared(bytes: &[u8]) -> Result<PreparedPhoto, PhotoError> {
    prepared_within(bytes, MAX_PIXELS)
}

fn prepared_within(bytes: &[u8], max_pixels: u64) -> Result<PreparedPhoto, PhotoError> {
    let bounds = Bounds {
        max_pixels,
        max_side: MAX_SIDE,
    };
    prepare(bytes, bounds, &MemoryBudget::new(100 * 1024 * 1024))
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

/// A JPEG whose EXIF segment has an orientation and a location.
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
fn lossy_webp_is_decoded() {
    let photo = prepared(&webp(&[chunk("VP8 ", &vp8(1, 1))])).unwrap();
    assert_eq!(photo.dimensions(), (1, 1));
}

#[test]
fn grey_and_16_bit_pixels_are_decoded() {
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
fn orientation_is_applied_and_location_dropped() {
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
fn invalid_orientation_is_ignored() {
    for orientation in [0, 1, 9, 255] {
        let photo = prepared(&jpeg_with_exif(&two_halves(40, 20), orientation)).unwrap();
        assert_eq!(photo.dimensions(), (40, 20), "{orientation}");
    }
}

#[test]
fn large_photo_is_scaled_down() {
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
fn transparency_is_kept_without_bleeding() {
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
fn opaque_alpha_channel_is_dropped() {
    let image = RgbaImage::from_pixel(20, 20, Rgba([250, 10, 10, 255]));
    let photo = prepared(&written(image, ImageFormat::WebP)).unwrap();
    assert_eq!(photo.extension(), "jpg");
}

#[test]
fn animation_becomes_its_first_frame() {
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
fn colours_are_converted_to_srgb() {
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
fn unusable_profile_counts_as_none() {
    let rgb = DynamicImage::from(two_halves(4, 4));
    let gray = ColorProfile::new_gray_with_gamma(2.2).encode().unwrap();
    for profile in [b"".as_slice(), b"no profile", &[0; 200], &gray] {
        let space = ColorSpace {
            profile: Some(profile.to_vec()),
            ..ColorSpace::default()
        };
        assert_eq!(into_srgb(rgb.clone(), &space), rgb);
    }
}

#[test]
fn too_many_pixels_are_refused_before_decoding() {
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
    // The limit itself is accepted.
    let upload = written(two_halves(1000, 1000), ImageFormat::Png);
    assert_eq!(prepared(&upload).unwrap().dimensions(), (64, 64));
    assert!(prepared_within(&upload, MAX_PIXELS - 1).is_err());
}

#[test]
fn webp_with_oversized_frame_is_refused_before_decoding() {
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
fn gif_with_oversized_frame_is_refused() {
    let mut gif = written(two_halves(4, 4), ImageFormat::Gif);
    let frame = (13..gif.len())
        .find(|at| gif[*at..].starts_with(&[0x2c, 0, 0, 0, 0, 4, 0, 4, 0]))
        .unwrap();
    gif[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    assert_eq!(prepared(&gif).unwrap_err(), PhotoError::NotAnImage);
}

#[test]
fn truncated_upload_is_refused() {
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
    // A thumbnail in the metadata has an end marker of its own.
    let mut jpeg = jpeg_with_exif(&image, 1);
    let place = jpeg.windows(4).position(|bytes| bytes == b"52.5").unwrap();
    jpeg[place..place + 2].copy_from_slice(&[0xff, 0xd9]);
    assert!(prepared(&jpeg).is_ok());
    // Like browsers, we do not miss the end marker, but we do miss pixels.
    jpeg.truncate(jpeg.len() - 2);
    assert!(prepared(&jpeg).is_ok());
    jpeg.truncate(jpeg.len() - 8);
    assert_eq!(prepared(&jpeg), Err(PhotoError::NotAnImage));
}

#[test]
fn trailing_bytes_are_dropped() {
    let mut jpeg = written(two_halves(30, 20), ImageFormat::Jpeg);
    jpeg.extend(b"<script>alert(1)</script>");
    let photo = prepared(&jpeg).unwrap();
    assert!(!contains(photo.bytes(), b"<script>"));
}

#[test]
fn other_content_is_refused() {
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
fn damaged_upload_never_panics_or_stores_garbage() {
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
