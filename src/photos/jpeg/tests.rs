//! JPEGs of libjpeg-turbo in all its encodings, against its own decoder; see
//! `tests/photos/make_jpegs.py`.

use std::collections::BTreeMap;
use std::io::Read;

use image::{DynamicImage, RgbImage, load_from_memory};

use super::*;

const FIXTURES: &[u8] = include_bytes!("../../../tests/photos/jpegs.tar");

fn fixtures() -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(FIXTURES);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name, content)
    });
    entries.collect()
}

/// The JPEGs with their names and pixels.
fn jpegs() -> Vec<(String, Vec<u8>, RgbImage)> {
    let files = fixtures();
    let jpegs = files.iter().filter(|(name, _)| name.contains(".jpg"));
    jpegs
        .map(|(name, jpeg)| {
            let kind: Vec<&str> = name.split('-').take(2).collect();
            let pixels = &files[&format!("{}.png", kind.join("-"))];
            let pixels = load_from_memory(pixels).unwrap().into_rgb8();
            (name.clone(), jpeg.clone(), pixels)
        })
        .collect()
}

fn decoded(jpeg: &[u8], scale: u32) -> Result<DynamicImage, JpegError> {
    let header = Header::parse(jpeg)?;
    match decode(&header, jpeg, scale)? {
        Pixels::Screen(image) => Ok(image),
        Pixels::Cmyk(image) => Ok(image.into()),
    }
}

/// The largest and the mean difference of two images' channels.
fn difference(one: &RgbImage, other: &RgbImage) -> (u8, f64) {
    assert_eq!(one.dimensions(), other.dimensions());
    let differences = || one.iter().zip(other.iter()).map(|(a, b)| a.abs_diff(*b));
    let sum: f64 = differences().map(f64::from).sum();
    (
        differences().max().unwrap(),
        sum / f64::from(u32::try_from(one.len()).unwrap()),
    )
}

#[test]
fn every_encoding_decodes_as_in_libjpeg() {
    let jpegs = jpegs();
    assert!(jpegs.len() > 150, "{}", jpegs.len());
    for (name, jpeg, expected) in jpegs {
        let image = decoded(&jpeg, 1).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(image.color().has_color(), !name.contains("grey"), "{name}");
        let (largest, mean) = difference(&image.into_rgb8(), &expected);
        // libjpeg repeats samples where it does not know how to interpolate between them.
        let is_interpolated_alike = !name.contains("4x1") && !name.contains('+');
        let (most, mean_most) = if is_interpolated_alike {
            (3, 0.6)
        } else {
            (40, 6.0)
        };
        assert!(
            largest <= most && mean <= mean_most,
            "{name}: {largest} {mean}"
        );
    }
}

#[test]
fn arrangement_of_scans_changes_no_pixel() {
    let mut by_kind: BTreeMap<String, DynamicImage> = BTreeMap::new();
    for (name, jpeg, _) in jpegs() {
        let kind: Vec<&str> = name.split('-').take(2).collect();
        let image = decoded(&jpeg, 1).unwrap();
        let first = by_kind.entry(kind.join("-")).or_insert(image.clone());
        assert_eq!(*first, image, "{name}");
    }
}

#[test]
fn reduced_image_is_the_average_of_the_whole_one() {
    for (name, jpeg, expected) in jpegs() {
        if !name.starts_with("33x26") {
            continue;
        }
        for scale in [2, 4, 8] {
            let image = decoded(&jpeg, scale).unwrap().into_rgb8();
            assert_eq!(
                image.dimensions(),
                (33_u32.div_ceil(scale), 26_u32.div_ceil(scale))
            );
            // Pixels at the edges average over samples beyond them.
            for y in 0..26 / scale {
                for x in 0..33 / scale {
                    let average = |channel: usize| {
                        let mut sum = 0;
                        for dy in 0..scale {
                            for dx in 0..scale {
                                let pixel = expected.get_pixel(x * scale + dx, y * scale + dy);
                                sum += u32::from(pixel.0[channel]);
                            }
                        }
                        sum / (scale * scale)
                    };
                    for channel in 0..3 {
                        let made = u32::from(image.get_pixel(x, y).0[channel]);
                        let wanted = average(channel);
                        assert!(
                            made.abs_diff(wanted) <= 16,
                            "{name} {scale} {x} {y} {channel}: {made} {wanted}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn memory_is_known_before() {
    for (name, jpeg, _) in jpegs() {
        let header = Header::parse(&jpeg).unwrap();
        for scale in [1, 2, 4, 8] {
            let planes = scan::decode_planes(&header, &jpeg, scale).unwrap();
            let samples: usize = planes.iter().map(|plane| plane.samples.len()).sum();
            let pixels = header.size.reduced(scale).pixels() * header.channels();
            let coefficients = if header.is_progressive {
                let all = scan::decode_planes(&header, &jpeg, 1).unwrap();
                2 * all.iter().map(|plane| plane.samples.len()).sum::<usize>()
            } else {
                0
            };
            let total = u64::try_from(samples + coefficients).unwrap() + pixels;
            assert_eq!(header.memory(scale), total, "{name} {scale}");
        }
    }
}

#[test]
fn only_the_end_marker_may_be_missing() {
    for (name, jpeg, _) in jpegs() {
        let whole = decoded(&jpeg, 1).unwrap();
        let without_end = &jpeg[..jpeg.len() - 2];
        assert_eq!(decoded(without_end, 1).as_ref(), Ok(&whole), "{name}");
        for length in (0..jpeg.len() - 6).step_by(37) {
            assert!(decoded(&jpeg[..length], 1).is_err(), "{name} {length}");
        }
    }
}

#[test]
fn damaged_jpeg_is_refused_or_decoded_but_never_panics() {
    let mut seed = 3_u32;
    for (_, jpeg, _) in jpegs() {
        for _ in 0..10 {
            let mut damaged = jpeg.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (seed >> 8) as usize % damaged.len();
                damaged[at] ^= seed.to_le_bytes()[3] | 1;
            }
            let Ok(header) = Header::parse(&damaged) else {
                continue;
            };
            if header.memory(2) < 1_000_000 {
                let _ = decode(&header, &damaged, 2);
            }
        }
    }
}

#[test]
fn scans_are_bounded() {
    let (_, jpeg, _) = jpegs()
        .into_iter()
        .find(|(name, _, _)| name == "8x8-1x1-separate-0.jpg")
        .unwrap();
    let start = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xda])
        .unwrap();
    let scans = &jpeg[start..jpeg.len() - 2];
    let repeated = |times| [&jpeg[..start], &scans.repeat(times), &[0xff, 0xd9]].concat();
    assert!(decoded(&repeated(30), 1).is_ok());
    assert_eq!(
        decoded(&repeated(40), 1),
        Err(JpegError("there are too many scans"))
    );
}
