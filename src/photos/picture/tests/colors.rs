//! Colour profiles and other descriptions of colours.

use png::{ScaledFloat, SourceChromaticities};

use super::*;

/// The JPEG with a colour profile behind its first marker.
fn jpeg_with_profile(jpeg: &[u8], profile: &[u8]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xff, 0xe2]);
    bytes.extend(u16::try_from(profile.len() + 16).unwrap().to_be_bytes());
    bytes.extend(b"ICC_PROFILE\0\x01\x01");
    bytes.extend(profile);
    bytes.extend(&jpeg[2..]);
    bytes
}

/// A profile for four inks: white paper, on which cyan ink looks green and black ink black.
fn cmyk_profile() -> Vec<u8> {
    let mut table = b"mft1\0\0\0\0\x04\x03\x02\0".to_vec();
    for row in [[1, 0, 0], [0, 1, 0], [0, 0, 1]] {
        for value in row {
            table.extend((value * 65_536_u32).to_be_bytes());
        }
    }
    let identity: Vec<u8> = (0..=255).collect();
    table.extend(identity.repeat(4));
    for corner in 0..16_u8 {
        let (has_cyan, has_black) = (corner & 8 != 0, corner & 1 != 0);
        // CIE Lab in eight bits.
        table.extend(match (has_cyan, has_black) {
            (_, true) => [0, 128, 128],
            (true, false) => [153, 68, 178],
            (false, false) => [255, 128, 128],
        });
    }
    table.extend(identity.repeat(3));

    let start = 128 + 4 + 12;
    let total = u32::try_from(start + table.len()).unwrap();
    let mut profile = vec![0; 128];
    profile[..4].copy_from_slice(&total.to_be_bytes());
    profile[8] = 2;
    profile[12..24].copy_from_slice(b"prtrCMYKLab ");
    profile[36..40].copy_from_slice(b"acsp");
    for (at, value) in [(68, 0xf6d6_u32), (72, 0x1_0000), (76, 0xd32d)] {
        profile[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    profile.extend(1_u32.to_be_bytes());
    profile.extend(b"A2B0");
    profile.extend(u32::try_from(start).unwrap().to_be_bytes());
    profile.extend(u32::try_from(table.len()).unwrap().to_be_bytes());
    profile.extend(table);
    profile
}

/// A PNG of one colour, and what it says of it.
fn png_saying(gamma: Option<f32>, chromaticities: Option<[(f32, f32); 4]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 8, 8);
    encoder.set_color(png::ColorType::Rgb);
    if let Some(gamma) = gamma {
        encoder.set_source_gamma(ScaledFloat::new(gamma));
    }
    if let Some([white, red, green, blue]) = chromaticities {
        encoder.set_source_chromaticities(SourceChromaticities::new(white, red, green, blue));
    }
    let mut writer = encoder.write_header().unwrap();
    writer
        .write_image_data(&[200, 100, 100].repeat(64))
        .unwrap();
    drop(writer);
    bytes
}

#[track_caller]
fn assert_shown(upload: &[u8], expected: [u8; 3]) {
    let photo = prepared(upload).unwrap();
    let shown = load_from_memory(photo.bytes()).unwrap().into_rgb8();
    let found = shown.get_pixel(shown.width() / 2, shown.height() / 2).0;
    let is_near = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) < 6);
    assert!(is_near, "{found:?} is not {expected:?}");
}

#[test]
fn grey_profile_is_applied() {
    let linear = ColorProfile::new_gray_with_gamma(1.0).encode().unwrap();
    let grey = GrayImage::from_pixel(16, 16, Luma([90]));
    let mut upload = Vec::new();
    let mut encoder = PngEncoder::new(&mut upload);
    encoder.set_icc_profile(linear.clone()).unwrap();
    grey.write_with_encoder(encoder).unwrap();
    assert_shown(&upload, [160; 3]);
    let jpeg = jpeg_with_profile(&written(grey, ImageFormat::Jpeg), &linear);
    assert_shown(&jpeg, [160; 3]);
    let photo = prepared(&jpeg).unwrap();
    assert!(!load_from_memory(photo.bytes()).unwrap().color().has_color());
}

#[test]
fn inks_become_colours_with_a_profile_and_without() {
    // By Pillow: cyan at 200 of 255, no other ink; stored inverted, as Adobe does.
    let jpeg = include_bytes!("../../../../tests/photos/cyan.jpg");
    assert_shown(jpeg, [55, 255, 255]);
    // Cyan at 200 of 255 is near Lab (69, -47, 39).
    assert_shown(&jpeg_with_profile(jpeg, &cmyk_profile()), [83, 189, 91]);
}

#[test]
fn gamma_and_chromaticities_of_png_are_applied() {
    let p3 = Some([(0.3127, 0.329), (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)]);
    let srgb = Some([(0.3127, 0.329), (0.64, 0.33), (0.3, 0.6), (0.15, 0.06)]);
    for (gamma, chromaticities, expected) in [
        (None, None, [200, 100, 100]),
        (Some(0.45455), None, [200, 100, 100]),
        (Some(0.45455), srgb, [200, 100, 100]),
        (Some(1.0), None, [229, 168, 168]),
        (Some(0.45455), p3, [214, 94, 97]),
        // Nonsense counts as nothing.
        (Some(0.0001), None, [200, 100, 100]),
    ] {
        assert_shown(&png_saying(gamma, chromaticities), expected);
    }
}
