//! Orders of rows, EXIF data of other formats, and formats that are not supported.

use super::*;

/// A PNG chunk.
fn png_chunk(name: [u8; 4], content: &[u8]) -> Vec<u8> {
    let named = [&name, content].concat();
    let mut bytes = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(&named);
    bytes.extend(crc32(&named).to_be_bytes());
    bytes
}

/// A zlib stream that stores its content.
pub(super) fn zlib_stored(content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x78, 0x01];
    let mut blocks = content.chunks(65_535).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap();
        bytes.push(u8::from(blocks.peek().is_none()));
        bytes.extend(length.to_le_bytes());
        bytes.extend((!length).to_le_bytes());
        bytes.extend(block);
    }
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in content {
        a = (a + u32::from(*byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    bytes.extend((b << 16 | a).to_be_bytes());
    bytes
}

fn interlaced_png(image: &RgbImage) -> Vec<u8> {
    let (width, height) = image.dimensions();
    let mut header = width.to_be_bytes().to_vec();
    header.extend(height.to_be_bytes());
    header.extend([8, 2, 0, 0, 1]);
    let mut rows = Vec::new();
    for (x0, y0, step_x, step_y) in [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ] {
        for y in (y0..height).step_by(step_y) {
            if x0 < width {
                rows.push(0);
            }
            for x in (x0..width).step_by(step_x) {
                rows.extend(image.get_pixel(x, y).0);
            }
        }
    }
    [
        &b"\x89PNG\r\n\x1a\n"[..],
        &png_chunk(*b"IHDR", &header),
        &png_chunk(*b"IDAT", &zlib_stored(&rows)),
        &png_chunk(*b"IEND", &[]),
    ]
    .concat()
}

fn interlaced_gif(image: &RgbImage) -> Vec<u8> {
    let (width, height) = image.dimensions();
    let mut rows: Vec<u32> = Vec::new();
    for (first, step) in [(0, 8), (4, 8), (2, 4), (1, 2)] {
        rows.extend((first..height).step_by(step));
    }
    let mut pixels = Vec::new();
    for y in rows {
        pixels.extend((0..width).map(|x| u8::from(*image.get_pixel(x, y) == BLUE)));
    }
    let palette = [RED.0, BLUE.0].concat();
    let side = |length: u32| u16::try_from(length).unwrap();
    let mut bytes = Vec::new();
    let mut encoder = gif::Encoder::new(&mut bytes, side(width), side(height), &palette).unwrap();
    let mut frame = gif::Frame::from_indexed_pixels(side(width), side(height), pixels, None);
    frame.interlaced = true;
    encoder.write_frame(&frame).unwrap();
    drop(encoder);
    bytes
}

#[test]
fn interlaced_rows_come_to_their_places() {
    // Rows differ, so that no row can be in the place of another.
    for size in [(1, 1), (3, 2), (5, 9), (33, 30), (300, 250)] {
        let image = RgbImage::from_fn(size.0, size.1, |x, y| {
            if x * size.1 < y * size.0 { RED } else { BLUE }
        });
        let plain = prepared(&written(image.clone(), ImageFormat::Png)).unwrap();
        for upload in [interlaced_png(&image), interlaced_gif(&image)] {
            assert!(prepared(&upload).unwrap() == plain, "{size:?}");
        }
    }
}

#[test]
fn orientation_of_webp_and_png_is_applied() {
    let mut exif = b"II*\0\x08\0\0\0\x01\0".to_vec();
    exif.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
    let prefixed = [b"Exif\0\0", &exif[..]].concat();
    for exif in [exif, prefixed] {
        let mut webp = Vec::new();
        let mut encoder = WebPEncoder::new_lossless(&mut webp);
        encoder.set_exif_metadata(exif.clone()).unwrap();
        two_halves(40, 20).write_with_encoder(encoder).unwrap();
        let mut png = Vec::new();
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(exif).unwrap();
        two_halves(40, 20).write_with_encoder(encoder).unwrap();
        for upload in [webp, png] {
            let photo = prepared(&upload).unwrap();
            assert_eq!(photo.dimensions(), (20, 40));
            let shown = load_from_memory(photo.bytes()).unwrap().into_rgb8();
            assert!(is_close(*shown.get_pixel(10, 5), RED));
        }
    }
}

#[test]
fn heic_and_avif_have_an_error_of_their_own() {
    for brand in [b"heic", b"heix", b"mif1", b"avif", b"avis"] {
        let upload = [b"\0\0\0\x18ftyp", &brand[..], b"\0\0\0\0mif1heic"].concat();
        assert_eq!(prepared(&upload), Err(PhotoError::Unsupported), "{brand:?}");
    }
    for other in [b"\0\0\0\x18ftypisom".as_slice(), b"\0\0\0\x18ftyp"] {
        assert_eq!(prepared(other), Err(PhotoError::NotAnImage), "{other:?}");
    }
}
