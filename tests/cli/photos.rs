//! What uploaded photos may cost the process.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::{Running, create_user, folder};

/// A PNG whose pixels are all zero.
fn zero_png(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().unwrap();
    let mut stream = writer.stream_writer().unwrap();
    let row = vec![0; color.samples() * (depth as usize).div_ceil(8) * width as usize];
    for _ in 0..height {
        stream.write_all(&row).unwrap();
    }
    stream.finish().unwrap();
    drop(writer);
    bytes
}

/// The chunks of a PNG: their names and contents.
fn chunks(png: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
    let mut chunks = Vec::new();
    let mut at = 8;
    while at < png.len() {
        let length = u32::from_be_bytes(*png[at..].first_chunk().unwrap()) as usize;
        let content = png[at + 8..at + 8 + length].to_vec();
        chunks.push((*png[at + 4..].first_chunk().unwrap(), content));
        at += 12 + length;
    }
    chunks
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A small PNG with a chunk behind its header that inflates to 200 MB.
fn png_with_bomb(name: [u8; 4]) -> Vec<u8> {
    let large = zero_png(
        20_000,
        10_000,
        png::ColorType::Grayscale,
        png::BitDepth::Eight,
    );
    let mut content = b"x\0\0".to_vec();
    for (name, part) in chunks(&large) {
        if name == *b"IDAT" {
            content.extend(part);
        }
    }
    let small = zero_png(40, 20, png::ColorType::Rgb, png::BitDepth::Eight);
    let named = [&name[..], &content].concat();
    let length = u32::try_from(content.len()).unwrap();
    [
        &small[..33],
        &length.to_be_bytes(),
        &named,
        &crc32(&named).to_be_bytes(),
        &small[33..],
    ]
    .concat()
}

fn upload(address: SocketAddr, token: &str, photo: &[u8]) -> (u16, Value) {
    let body = [
        &b"--b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a\"\r\n\r\n"[..],
        photo,
        b"\r\n--b--\r\n",
    ]
    .concat();
    let request = http::Request::builder()
        .method("PATCH")
        .uri(format!("http://{address}/api/v1/accounts/users/me/"))
        .header("content-type", "multipart/form-data; boundary=b")
        .header("authorization", format!("Bearer {token}"))
        .body(body)
        .unwrap();
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent();
    let mut response = agent.run(request).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (response.status().as_u16(), body)
}

/// The most memory that a process has had, in KiB, where the system reports it.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn decoding_stays_within_its_memory_budget() {
    let dir = folder();
    create_user(dir.path(), "one@example.com", &[]);
    create_user(dir.path(), "two@example.com", &[]);
    let server = Running::start(dir.path());
    let tokens = ["one@example.com", "two@example.com"].map(|email| server.sign_in(email));
    let too_many = json!({"photo": ["The image has too many pixels. Upload a smaller one."]});
    let (rgba, sixteen) = (png::ColorType::Rgba, png::BitDepth::Sixteen);
    let uploads = [
        // 192 MB of samples, within the limit of pixels; and as many again beyond it.
        (zero_png(6000, 4000, rgba, sixteen), None),
        (zero_png(7000, 7000, rgba, sixteen), Some(&too_many)),
        (png_with_bomb(*b"zTXt"), None),
        (png_with_bomb(*b"iCCP"), None),
        (png_with_bomb(*b"iTXt"), None),
    ];
    let before = peak_memory(server.id());
    std::thread::scope(|scope| {
        for token in &tokens {
            for (photo, refusal) in &uploads {
                let address = server.address;
                scope.spawn(move || {
                    let (status, body) = upload(address, token, photo);
                    match refusal {
                        Some(refusal) => assert_eq!((status, &body), (400, *refusal)),
                        None => assert_eq!(status, 200, "{body}"),
                    }
                });
            }
        }
    });
    if let (Some(before), Some(after)) = (before, peak_memory(server.id())) {
        // 100 MiB for decoding, and the bodies.
        assert!(
            after - before < 160 * 1024,
            "{before} KiB, then {after} KiB"
        );
    }
}
