//! What uploads may cost.

use super::*;

fn plan(bytes: &[u8], max_pixels: u64) -> Result<u64, PhotoError> {
    let bounds = Bounds {
        max_pixels,
        max_side: 1024,
    };
    Plan::new(bytes, bounds).map(|plan| plan.memory)
}

const MIB: u64 = 1024 * 1024;

#[test]
fn jpeg_of_up_to_four_times_the_pixels_is_decoded_at_reduced_size() {
    let image = two_halves(1000, 500);
    let jpeg = written(image.clone(), ImageFormat::Jpeg);
    for max_pixels in [500_000, 499_999, 125_000] {
        let photo = prepared_within(&jpeg, max_pixels).unwrap();
        assert_eq!(photo.dimensions(), (64, 32), "{max_pixels}");
        let shown = load_from_memory(photo.bytes()).unwrap().into_rgb8();
        assert!(is_close(*shown.get_pixel(10, 10), RED), "{max_pixels}");
        assert!(is_close(*shown.get_pixel(54, 10), BLUE), "{max_pixels}");
    }
    let too_many = Err(PhotoError::TooManyPixels {
        width: 1000,
        height: 500,
    });
    assert_eq!(prepared_within(&jpeg, 124_999), too_many);
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let upload = written(image.clone(), format);
        assert_eq!(prepared_within(&upload, 499_999), too_many, "{format:?}");
    }
}

#[test]
fn upload_beyond_the_whole_budget_is_refused() {
    let upload = written(two_halves(600, 600), ImageFormat::WebP);
    let bounds = Bounds {
        max_pixels: MAX_PIXELS,
        max_side: MAX_SIDE,
    };
    let needed = Plan::new(&upload, bounds).unwrap().memory;
    assert!(prepare(&upload, bounds, &MemoryBudget::new(needed)).is_ok());
    assert_eq!(
        prepare(&upload, bounds, &MemoryBudget::new(needed - 1)),
        Err(PhotoError::TooManyPixels {
            width: 600,
            height: 600
        })
    );
}

#[test]
fn largest_accepted_uploads_fit_into_the_default_budget() {
    for (what, upload) in [
        ("PNG of 24 megapixels", png_claiming(6000, 4000)),
        ("square PNG", png_claiming(4898, 4898)),
        ("PNG that is not averaged", png_claiming(3071, 3071)),
    ] {
        let memory = plan(&upload, 24_000_000).unwrap();
        assert!(memory <= 100 * MIB, "{what}: {memory}");
    }
    let mut jpeg = written(two_halves(16, 16), ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    for (width, height, most) in [(4032_u16, 3024_u16, 60), (6000, 4000, 60), (8064, 6048, 60)] {
        jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
        let memory = plan(&jpeg, 24_000_000).unwrap();
        assert!(memory <= most * MIB, "{width} x {height}: {memory}");
    }
}

#[test]
fn inflating_metadata_is_passed_over() {
    // A profile and a text that inflate to much more than they have bytes.
    let zeros = {
        // 64 MiB of zeros: deflate blocks by the png crate's own encoder.
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 8192, 8192);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&vec![0; 8192 * 8192]).unwrap();
        drop(writer);
        let mut stream = Vec::new();
        let mut at = 8;
        while at < bytes.len() {
            let length = u32::from_be_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
            if &bytes[at + 4..at + 8] == b"IDAT" {
                stream.extend(&bytes[at + 8..at + 8 + length]);
            }
            at += 12 + length;
        }
        stream
    };
    let plain = written(two_halves(40, 20), ImageFormat::Png);
    for (name, prefix) in [(b"iCCP", &b"x\0\0"[..]), (b"zTXt", b"x\0\0")] {
        let content = [prefix, &zeros].concat();
        let named = [&name[..], &content].concat();
        let upload = [
            &plain[..33],
            &u32::try_from(content.len()).unwrap().to_be_bytes(),
            &named,
            &crc32(&named).to_be_bytes(),
            &plain[33..],
        ]
        .concat();
        assert!(plan(&upload, MAX_PIXELS).unwrap() < 16 * MIB);
        let photo = prepared(&upload).unwrap();
        assert_eq!(photo.dimensions(), (40, 20));
    }
}
