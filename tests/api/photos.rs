//! `photo` in `PATCH users/<pk>/`, and `/media/photos/`.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use accounts_server::config::PublicUrl;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use serde_json::{Value, json};

use crate::contract::{FORBIDDEN, NO_TOKEN, NO_USER, NOT_FOUND, TOO_LARGE};
use crate::support::{Answer, Download, PASSWORD, TestServer, User, at_once};

const NO_IMAGE: &str =
    "Upload a valid image. The file you uploaded was either not an image or a corrupted image.";
const TOO_MANY_PIXELS: &str = "The image has too many pixels. Upload a smaller one.";
const UNSUPPORTED: &str =
    "HEIC and AVIF images are not supported. Upload a JPEG, PNG, WebP or GIF instead.";
const NO_FILE: &str = "The submitted data was not a file. Check the encoding type on the form.";
const EMPTY: &str = "The submitted file is empty.";
const MULTIPART: &str = "multipart/form-data; boundary=BoUnD";
const RED: [u8; 3] = [220, 20, 20];
const BLUE: [u8; 3] = [20, 20, 220];

/// A part of a form: its name, its file name if it is a file, its content.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

fn multipart(parts: &[Part]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file_name, content) in parts {
        body.extend(format!("--BoUnD\r\nContent-Disposition: form-data; name=\"{name}\"").bytes());
        if let Some(file_name) = file_name {
            // What the client says about the file is not believed.
            body.extend(format!("; filename=\"{file_name}\"\r\nContent-Type: text/html").bytes());
        }
        body.extend(b"\r\n\r\n");
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--BoUnD--\r\n");
    body
}

fn patch_form(server: &TestServer, path: &str, token: Option<&str>, parts: &[Part]) -> Answer {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", MULTIPART)];
    if let Some(value) = &authorization {
        headers.push(("authorization", value));
    }
    let path = format!("/api/v1/accounts/{path}");
    server.request("PATCH", &path, &headers, multipart(parts))
}

fn upload(server: &TestServer, user: &User, content: &[u8]) -> Answer {
    let parts: [Part; 1] = [("photo", Some("me.jpg"), content)];
    patch_form(server, "users/me/", Some(&user.access), &parts)
}

/// Uploads a photo and returns its name.
#[track_caller]
fn uploaded(server: &TestServer, user: &User, content: &[u8]) -> String {
    let answer = upload(server, user, content);
    assert_eq!(answer.status, 200, "{}", answer.body);
    name_in(&answer.text("photo"))
}

/// The name at the end of the link to a photo, which has exactly one form.
#[track_caller]
fn name_in(url: &str) -> String {
    let name = url
        .strip_prefix("http://localhost:8000/media/photos/")
        .unwrap_or_else(|| panic!("{url}"));
    let (stem, extension) = name.split_once('.').unwrap();
    assert!(
        stem.len() == 32 && stem.bytes().all(|b| b.is_ascii_hexdigit()),
        "{name}"
    );
    assert!(["jpg", "png"].contains(&extension), "{name}");
    name.to_owned()
}

fn get(server: &TestServer, name: &str) -> Download {
    get_with(server, name, &[])
}

fn get_with(server: &TestServer, name: &str, headers: &[(&str, &str)]) -> Download {
    server.download("GET", &format!("/media/photos/{name}"), headers)
}

/// The photo of an account in the API.
fn shown(server: &TestServer, user: &User) -> Value {
    server.get("users/me/", Some(&user.access)).json()["photo"].clone()
}

fn folder(server: &TestServer) -> PathBuf {
    server.dir().join("users.db.media").join("photos")
}

/// The files in the folder of the photos, hidden ones too.
fn files(server: &TestServer) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder(server)) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// An image whose halves have one colour each.
fn halves(width: u32, height: u32, left: [u8; 3], right: [u8; 3]) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, _| {
        Rgb(if x < width / 2 { left } else { right })
    })
    .into()
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg() -> Vec<u8> {
    encoded(&halves(40, 20, RED, BLUE), ImageFormat::Jpeg)
}

fn decoded(content: &[u8]) -> RgbImage {
    image::load_from_memory(content).unwrap().into_rgb8()
}

#[track_caller]
fn assert_close(pixel: Rgb<u8>, expected: [u8; 3]) {
    let is_close = pixel
        .0
        .iter()
        .zip(expected)
        .all(|(a, b)| a.abs_diff(b) < 40);
    assert!(is_close, "{pixel:?} is not {expected:?}");
}

fn contains(content: &[u8], what: &[u8]) -> bool {
    content.windows(what.len()).any(|part| part == what)
}

#[test]
fn every_kind_of_image_becomes_a_photo() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let image = halves(40, 20, RED, BLUE);
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
    ] {
        server.advance_seconds(1);
        let answer = upload(&server, &user, &encoded(&image, format));
        assert_eq!(answer.status, 200, "{format:?}: {}", answer.body);
        let url = answer.text("photo");
        let name = name_in(&url);
        let profile = server.get("users/me/", Some(&user.access)).json();
        let updated_at = profile["updated_at"].as_str().unwrap();
        assert_ne!(updated_at, "2024-12-03T12:00:00Z", "{format:?}");
        answer.assert(
            200,
            &format!(
                r#"{{"id":1,"email":"user@example.com","first_name":"","last_name":"","phone":"","gender":"","country":"","created_at":"2024-12-03T12:00:00Z","updated_at":"{updated_at}","photo":"{url}"}}"#
            ),
        );
        assert_eq!(profile["photo"], url, "{format:?}");

        let photo = get(&server, &name);
        assert_eq!(photo.status, 200, "{format:?}");
        let media_type = if name.ends_with("png") {
            "image/png"
        } else {
            "image/jpeg"
        };
        assert_eq!(photo.header("content-type"), Some(media_type), "{format:?}");
        let pixels = decoded(&photo.content);
        assert_eq!(pixels.dimensions(), (40, 20), "{format:?}");
        assert_close(*pixels.get_pixel(5, 10), RED);
        assert_close(*pixels.get_pixel(35, 10), BLUE);
    }
}

#[test]
fn photo_is_set_together_with_other_fields() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let jpeg = jpeg();
    let parts: [Part; 4] = [
        ("first_name", None, b"John"),
        ("photo", Some("../../etc/passwd\\me.exe"), &jpeg),
        ("birthday", None, b"1990-01-01"),
        ("address", None, b"123 Main Street"),
    ];
    let answer = patch_form(&server, "users/1", Some(&user.access), &parts);
    let url = answer.text("photo");
    name_in(&url);
    answer.assert(
        200,
        &format!(
            r#"{{"id":1,"email":"user@example.com","first_name":"John","last_name":"","phone":"","gender":"","country":"","created_at":"2024-12-03T12:00:00Z","updated_at":"2024-12-03T12:00:00Z","photo":"{url}","address":"123 Main Street","birthday":"1990-01-01"}}"#
        ),
    );
}

#[test]
fn link_begins_with_the_public_url() {
    let server = TestServer::start_with(|config| {
        config.server.public_url = PublicUrl::parse("https://accounts.example.com/people");
    });
    let user = server.user("user@example.com");
    let authorization = format!("Bearer {}", user.access);
    let answer = server.request(
        "PATCH",
        "/api/v1/accounts/users/me/",
        &[
            ("authorization", &authorization),
            ("content-type", MULTIPART),
            ("host", "evil.example.net"),
            ("x-forwarded-host", "evil.example.net"),
            ("x-forwarded-proto", "gopher"),
        ],
        multipart(&[("photo", Some("x"), &jpeg())]),
    );
    let url = answer.text("photo");
    let name = url
        .strip_prefix("https://accounts.example.com/people/media/photos/")
        .unwrap_or_else(|| panic!("{url}"));
    assert_eq!(get(&server, name).status, 200);
    // A cached profile shows the current public URL too.
    assert_eq!(shown(&server, &user), json!(url));
    server
        .reload(|config| config.server.public_url = PublicUrl::parse("https://people.example.com"))
        .unwrap();
    let moved = format!("https://people.example.com/media/photos/{name}");
    assert_eq!(shown(&server, &user), json!(moved));
    assert_eq!(shown(&server, &user), json!(moved));
}

#[test]
fn photo_is_public_and_cacheable() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let name = uploaded(&server, &user, &jpeg());
    let whole = get(&server, &name);
    assert_eq!(whole.status, 200);
    assert_eq!(
        whole.content,
        fs::read(folder(&server).join(&name)).unwrap()
    );
    let length = whole.content.len();
    for (header, value) in [
        ("content-type", "image/jpeg"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("accept-ranges", "bytes"),
        ("content-disposition", "inline"),
        ("content-length", &length.to_string()),
    ] {
        assert_eq!(whole.header(header), Some(value), "{header}");
    }
    let policy = whole.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(whole.header("last-modified").is_some());
    let etag = whole.header("etag").unwrap();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");

    let path = format!("/media/photos/{name}");
    let head = server.download("HEAD", &path, &[]);
    assert_eq!((head.status, head.content.len()), (200, 0));
    for header in ["content-type", "content-length", "etag", "cache-control"] {
        assert_eq!(head.header(header), whole.header(header), "{header}");
    }
    // No token is needed, and a bad one does no harm.
    let with_token = get_with(&server, &name, &[("authorization", "Bearer nonsense")]);
    assert_eq!(with_token.status, 200);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = server.request(method, &path, &[], "");
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    assert_eq!(get(&server, &name).content, whole.content);
}

#[test]
fn conditional_requests_are_answered() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let name = uploaded(&server, &user, &jpeg());
    let whole = get(&server, &name);
    let etag = whole.header("etag").unwrap();
    let modified = whole.header("last-modified").unwrap();
    for (header, value) in [
        ("if-none-match", etag),
        ("if-none-match", &format!("\"other\", W/{etag}")),
        ("if-none-match", "*"),
        ("if-modified-since", modified),
    ] {
        let answer = get_with(&server, &name, &[(header, value)]);
        assert_eq!(answer.status, 304, "{header}: {value}");
        assert!(answer.content.is_empty());
        assert_eq!(answer.header("etag"), Some(etag));
        assert_eq!(
            answer.header("cache-control"),
            whole.header("cache-control")
        );
        assert_eq!(answer.header("content-type"), None);
    }
    let answer = get_with(&server, &name, &[("if-none-match", "\"other\"")]);
    assert_eq!(
        (answer.status, answer.content),
        (200, whole.content.clone())
    );
    let answer = get_with(&server, &name, &[("if-match", "\"other\"")]);
    assert_eq!(answer.status, 412);
}

#[test]
fn ranges_are_served() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let name = uploaded(&server, &user, &jpeg());
    let content = get(&server, &name).content;
    let length = content.len();
    for (range, first, last) in [
        ("bytes=0-9", 0, 9),
        ("bytes=10-", 10, length - 1),
        ("bytes=-5", length - 5, length - 1),
        ("bytes=3-999999999", 3, length - 1),
    ] {
        let part = get_with(&server, &name, &[("range", range)]);
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(part.content, content[first..=last], "{range}");
        assert_eq!(
            part.header("content-range"),
            Some(&*format!("bytes {first}-{last}/{length}")),
            "{range}"
        );
        assert_eq!(
            part.header("content-length"),
            Some(&*part.content.len().to_string())
        );
        assert_eq!(part.header("content-type"), Some("image/jpeg"));
    }
    let beyond = get_with(&server, &name, &[("range", &format!("bytes={length}-"))]);
    assert_eq!(beyond.status, 416);
    assert_eq!(
        beyond.header("content-range"),
        Some(&*format!("bytes */{length}"))
    );
    for range in ["bytes=0-1,4-5", "bytes=9-1", "lines=1-2", "nonsense"] {
        let whole = get_with(&server, &name, &[("range", range)]);
        assert_eq!((whole.status, &whole.content), (200, &content), "{range}");
    }
    let stale = get_with(
        &server,
        &name,
        &[("range", "bytes=0-9"), ("if-range", "\"other\"")],
    );
    assert_eq!((stale.status, stale.content), (200, content));
}

/// A JPEG segment of that marker.
fn segment(marker: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + 2).unwrap();
    [&[0xff, marker], &length.to_be_bytes()[..], content].concat()
}

/// EXIF data: the camera, an orientation, and where the photo was taken.
fn exif(orientation: u16) -> Vec<u8> {
    let mut tiff = b"II\x2a\0\x08\0\0\0".to_vec();
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        [
            &tag.to_le_bytes()[..],
            &kind.to_le_bytes(),
            &count.to_le_bytes(),
            &value,
        ]
        .concat()
    };
    let [low, high] = orientation.to_le_bytes();
    tiff.extend(3_u16.to_le_bytes());
    tiff.extend(entry(0x010f, 2, 13, 50_u32.to_le_bytes()));
    tiff.extend(entry(0x0112, 3, 1, [low, high, 0, 0]));
    tiff.extend(entry(0x8825, 4, 1, 64_u32.to_le_bytes()));
    tiff.extend([0; 4]);
    assert_eq!(tiff.len(), 50);
    tiff.extend(b"SecretCamera\0\0");
    assert_eq!(tiff.len(), 64);
    tiff.extend(2_u16.to_le_bytes());
    tiff.extend(entry(1, 2, 2, *b"N\0\0\0"));
    tiff.extend(entry(2, 5, 3, 94_u32.to_le_bytes()));
    tiff.extend([0; 4]);
    assert_eq!(tiff.len(), 94);
    for number in [48_u32, 1, 51, 1, 123_456, 1000] {
        tiff.extend(number.to_le_bytes());
    }
    [b"Exif\0\0", &tiff[..]].concat()
}

#[test]
fn metadata_is_dropped_and_orientation_applied() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let plain = jpeg();
    // To be rotated by a quarter to the right, so the left becomes the top.
    let upload = [
        &plain[..2],
        &segment(0xe1, &exif(6)),
        &segment(
            0xe1,
            b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>SecretPlace</x:xmpmeta>",
        ),
        &segment(0xfe, b"SecretComment"),
        &plain[2..],
        b"SecretTail<script>alert(1)</script>",
    ]
    .concat();
    let name = uploaded(&server, &user, &upload);
    let content = get(&server, &name).content;
    for secret in ["Exif", "Secret", "xmpmeta", "<script"] {
        assert!(contains(&upload, secret.as_bytes()), "{secret}");
        assert!(!contains(&content, secret.as_bytes()), "{secret}");
    }
    let pixels = decoded(&content);
    assert_eq!(pixels.dimensions(), (20, 40));
    assert_close(*pixels.get_pixel(10, 5), RED);
    assert_close(*pixels.get_pixel(10, 35), BLUE);
}

#[test]
fn large_photo_is_scaled_down() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (width, height, expected) in [
        (2000, 1000, (1024, 512)),
        (600, 1200, (512, 1024)),
        (1024, 1024, (1024, 1024)),
        (5000, 1, (1024, 1)),
        (1, 1, (1, 1)),
    ] {
        let image = halves(width, height, RED, BLUE);
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 60)
            .encode_image(&image)
            .unwrap();
        let name = uploaded(&server, &user, &bytes);
        let pixels = decoded(&get(&server, &name).content);
        assert_eq!(pixels.dimensions(), expected, "{width} x {height}");
        if width > 1 {
            assert_close(*pixels.get_pixel(0, 0), RED);
            assert_close(*pixels.get_pixel(expected.0 - 1, 0), BLUE);
        }
    }
}

#[test]
fn largest_side_is_configurable() {
    let server = TestServer::start_with(|config| config.media.max_side_pixels = 16);
    let user = server.user("user@example.com");
    let name = uploaded(&server, &user, &jpeg());
    assert_eq!(decoded(&get(&server, &name).content).dimensions(), (16, 8));
}

#[test]
fn transparency_is_kept() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let image: DynamicImage = RgbaImage::from_fn(30, 30, |x, _| {
        Rgba(if x < 15 {
            [0, 0, 0, 0]
        } else {
            [20, 220, 20, 255]
        })
    })
    .into();
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif] {
        let name = uploaded(&server, &user, &encoded(&image, format));
        assert_eq!(name.split_once('.').unwrap().1, "png", "{format:?}");
        let photo = get(&server, &name);
        assert_eq!(photo.header("content-type"), Some("image/png"));
        let pixels = image::load_from_memory(&photo.content)
            .unwrap()
            .into_rgba8();
        assert_eq!(pixels.get_pixel(3, 3).0[3], 0, "{format:?}");
        assert_eq!(pixels.get_pixel(25, 3).0, [20, 220, 20, 255], "{format:?}");
    }
}

#[test]
fn new_photo_replaces_the_old_one() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let first = uploaded(&server, &user, &jpeg());
    let second = uploaded(&server, &user, &jpeg());
    assert_ne!(first, second, "a name is never used for another content");
    assert_eq!(files(&server), [second.as_str()]);
    assert_eq!(get(&server, &first).status, 404);
    assert_eq!(get(&server, &second).status, 200);
    assert_eq!(server.db_number("SELECT count(*) FROM unused_photos"), 0);
}

#[test]
fn photo_can_be_removed() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let authorization = format!("Bearer {}", user.access);
    let remove = |how| match how {
        "json" => server.patch("users/me/", &user, &json!({"photo": null})),
        "multipart" => {
            let parts: [Part; 1] = [("photo", None, b"")];
            patch_form(&server, "users/me/", Some(&user.access), &parts)
        }
        _ => server.request(
            "PATCH",
            "/api/v1/accounts/users/me/",
            &[
                ("authorization", &authorization),
                ("content-type", "application/x-www-form-urlencoded"),
            ],
            "photo=",
        ),
    };
    for how in ["json", "multipart", "urlencoded"] {
        let name = uploaded(&server, &user, &jpeg());
        let answer = remove(how);
        assert_eq!(answer.status, 200, "{how}: {}", answer.body);
        assert!(
            answer.body.ends_with(r#","photo":null}"#),
            "{how}: {}",
            answer.body
        );
        assert_eq!(shown(&server, &user), Value::Null, "{how}");
        assert_eq!(files(&server), [""; 0], "{how}");
        assert_eq!(get(&server, &name).status, 404, "{how}");
        // Removing nothing is not an error.
        assert_eq!(remove(how).status, 200, "{how}");
    }
}

#[test]
fn form_without_a_file_keeps_the_photo() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let name = uploaded(&server, &user, &jpeg());
    // The second form is what a browser sends when no file was chosen.
    for parts in [
        &[("first_name", None, &b"John"[..])][..],
        &[
            ("first_name", None, &b"John"[..]),
            ("photo", Some(""), &b""[..]),
        ],
    ] {
        let answer = patch_form(&server, "users/me/", Some(&user.access), parts);
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.json().get("photo"), None, "{}", answer.body);
    }
    assert_eq!(files(&server), [name]);
}

/// Uploads that are refused, with their messages.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let image = halves(40, 20, RED, BLUE);
    let cut = |format: ImageFormat| {
        let mut bytes = encoded(&image, format);
        bytes.truncate(bytes.len() * 2 / 3);
        bytes
    };
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>"#;
    vec![
        ("nothing", Vec::new(), EMPTY),
        ("text", b"no image".to_vec(), NO_IMAGE),
        ("one byte", vec![0], NO_IMAGE),
        ("svg", svg.to_vec(), NO_IMAGE),
        (
            "html",
            b"<!doctype html><script>alert(1)</script>".to_vec(),
            NO_IMAGE,
        ),
        (
            "the beginning of a JPEG",
            b"\xff\xd8\xff\xe0".to_vec(),
            NO_IMAGE,
        ),
        (
            "the beginning of a PNG",
            b"\x89PNG\r\n\x1a\n".to_vec(),
            NO_IMAGE,
        ),
        ("the beginning of a GIF", b"GIF89a".to_vec(), NO_IMAGE),
        ("a cut JPEG", cut(ImageFormat::Jpeg), NO_IMAGE),
        ("a cut PNG", cut(ImageFormat::Png), NO_IMAGE),
        ("a cut WebP", cut(ImageFormat::WebP), NO_IMAGE),
        ("a BMP", bmp(), NO_IMAGE),
        (
            "a HEIC",
            b"\0\0\0\x18ftypheic\0\0\0\0".to_vec(),
            UNSUPPORTED,
        ),
        (
            "an AVIF",
            b"\0\0\0\x1cftypavif\0\0\0\0".to_vec(),
            UNSUPPORTED,
        ),
        (
            "a GIF of four thousand million pixels",
            gif_bomb(),
            TOO_MANY_PIXELS,
        ),
    ]
}

/// An image of a format that is not accepted.
fn bmp() -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    for number in [58_u32, 0, 54, 40, 1, 1] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes.extend([20, 20, 220, 0]);
    bytes
}

/// A few bytes that claim to be an image of 65,535 by 65,535 pixels.
fn gif_bomb() -> Vec<u8> {
    [
        &b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff"[..],
        b",\0\0\0\0\xff\xff\xff\xff\0\x02\x02\x4c\x01\0;",
    ]
    .concat()
}

#[test]
fn other_content_is_refused_and_leaves_no_file() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for (what, content, message) in refused() {
        let answer = upload(&server, &user, &content);
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"photo": [message]})),
            "{what}"
        );
    }
    assert_eq!(files(&server), [""; 0]);
    assert_eq!(shown(&server, &user), Value::Null);

    let name = uploaded(&server, &user, &jpeg());
    for (what, content, _) in refused() {
        assert_eq!(upload(&server, &user, &content).status, 400, "{what}");
    }
    assert_eq!(files(&server), [name.as_str()]);
    assert_eq!(name_in(shown(&server, &user).as_str().unwrap()), name);
}

#[test]
fn text_is_refused() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    for text in ["me.jpg", " ", "null", "data:image/png;base64,AAAA"] {
        let parts: [Part; 1] = [("photo", None, text.as_bytes())];
        let answer = patch_form(&server, "users/me/", Some(&user.access), &parts);
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"photo": [NO_FILE]})),
            "{text:?}"
        );
    }
}

#[test]
fn any_file_name_makes_a_file_and_an_empty_one_does_not() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let token = format!("Bearer {}", user.access);
    let send = |disposition: &str, content: &[u8]| {
        let mut body = format!(
            "--BoUnD\r\nContent-Disposition: form-data; name=\"photo\"; {disposition}\r\n\r\n"
        )
        .into_bytes();
        body.extend(content);
        body.extend(b"\r\n--BoUnD--\r\n");
        let headers = [
            ("content-type", "multipart/form-data; boundary=BoUnD"),
            ("authorization", token.as_str()),
        ];
        let path = format!("/api/v1/accounts/{}", user.path());
        server.request("PATCH", &path, &headers, body)
    };
    // Names that are not ASCII, as RFC 5987 and as plain UTF-8.
    for disposition in ["filename*=UTF-8''%D1%84.png", "filename=\"ф.png\""] {
        let answer = send(disposition, &jpeg());
        assert_eq!(answer.status, 200, "{disposition}: {}", answer.body);
        assert!(answer.json()["photo"].is_string(), "{disposition}");
    }
    let answer = send("filename=\"\"", b"some text");
    answer.assert(
        400,
        r#"{"photo":["The submitted data was not a file. Check the encoding type on the form."]}"#,
    );
}

#[test]
fn refused_photo_is_reported_with_other_errors() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    server.user("taken@example.com");
    let long = "x".repeat(151);
    let jpeg = jpeg();
    for (photo, message) in [
        (&b"no image"[..], Some(NO_IMAGE)),
        (b"", Some(EMPTY)),
        // A good photo is refused with the rest.
        (&jpeg, None),
    ] {
        let parts: [Part; 5] = [
            ("email", None, b"taken@example.com"),
            ("first_name", None, long.as_bytes()),
            ("photo", Some("me.jpg"), photo),
            ("birthday", None, b"yesterday"),
            ("last_name", None, b"Doe"),
        ];
        let answer = patch_form(&server, "users/me/", Some(&user.access), &parts);
        let mut expected = json!({
            "email": ["user with this email already exists."],
            "first_name": ["Ensure this field has no more than 150 characters."],
            "birthday": ["Date has wrong format. Use one of these formats instead: YYYY-MM-DD."],
        });
        if let Some(message) = message {
            expected["photo"] = json!([message]);
        }
        assert_eq!((answer.status, answer.json()), (400, expected));
    }
    let profile = server.get("users/me/", Some(&user.access)).json();
    assert_eq!(
        (&profile["photo"], &profile["last_name"]),
        (&Value::Null, &json!(""))
    );
    assert_eq!(files(&server), [""; 0]);
}

#[test]
fn change_refused_by_the_store_leaves_no_file() {
    let server = TestServer::start_with_mail_limits();
    let user = server.user("user@example.com");
    let name = uploaded(&server, &user, &jpeg());
    // The address has had its mail of this minute, so the change has to wait.
    server.patch("users/me/", &user, &json!({"email": "new@example.com"}));
    server.patch("users/me/", &user, &json!({"email": "user@example.com"}));
    let jpeg = jpeg();
    let parts: [Part; 2] = [
        ("email", None, b"new@example.com"),
        ("photo", Some("me.jpg"), &jpeg),
    ];
    patch_form(&server, "users/me/", Some(&user.access), &parts).assert_throttled(60);
    assert_eq!(files(&server), [name.as_str()]);
    assert_eq!(name_in(shown(&server, &user).as_str().unwrap()), name);
    assert_eq!(server.db_number("SELECT count(*) FROM unused_photos"), 0);
}

/// A JPEG of that length, by bytes after its end.
fn jpeg_of_length(length: usize) -> Vec<u8> {
    let mut bytes = jpeg();
    bytes.resize(length, b'x');
    bytes
}

#[test]
fn upload_is_limited_to_five_mebibytes() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let most = 5 * 1024 * 1024;
    let name = uploaded(&server, &user, &jpeg_of_length(most));
    for length in [most + 1, most + 100_000, 3 * most] {
        upload(&server, &user, &jpeg_of_length(length)).assert(413, TOO_LARGE);
    }
    assert_eq!(files(&server), [name.as_str()]);
    assert_eq!(name_in(shown(&server, &user).as_str().unwrap()), name);
    // Other endpoints keep their own limit.
    let answer = server.request(
        "POST",
        "/api/v1/accounts/users/",
        &[("content-type", MULTIPART)],
        multipart(&[("photo", Some("me.jpg"), &jpeg_of_length(2 * 1024 * 1024))]),
    );
    answer.assert(413, TOO_LARGE);
}

#[test]
fn limits_of_bytes_and_pixels_are_configurable() {
    let server = TestServer::start_with(|config| {
        config.media.max_photo_mib = 2;
        config.media.max_megapixels = 1;
    });
    let user = server.user("user@example.com");
    uploaded(&server, &user, &jpeg_of_length(2 * 1024 * 1024));
    upload(&server, &user, &jpeg_of_length(2 * 1024 * 1024 + 1)).assert(413, TOO_LARGE);

    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
    ] {
        let image = |width, height| encoded(&halves(width, height, RED, BLUE), format);
        uploaded(&server, &user, &image(1000, 1000));
        // A JPEG of up to four times as many is decoded at reduced size.
        let too_large = if format == ImageFormat::Jpeg {
            uploaded(&server, &user, &image(2000, 2000));
            image(2000, 2001)
        } else {
            image(1001, 1000)
        };
        let answer = upload(&server, &user, &too_large);
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"photo": [TOO_MANY_PIXELS]})),
            "{format:?}"
        );
    }
    assert_eq!(files(&server).len(), 1);
}

#[test]
fn only_owner_and_staff_set_a_photo() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let jpeg = jpeg();
    let parts: [Part; 1] = [("photo", Some("me.jpg"), &jpeg)];
    patch_form(&server, &user.path(), None, &parts).assert(401, NO_TOKEN);
    for path in [user.path(), "users/99/".to_owned()] {
        patch_form(&server, &path, Some(&other.access), &parts).assert(403, FORBIDDEN);
    }
    let staff = server.staff("staff@example.com");
    patch_form(&server, "users/99/", Some(&staff.access), &parts).assert(404, NO_USER);
    assert_eq!(files(&server), [""; 0]);
}

#[test]
fn sign_up_ignores_a_photo() {
    let server = TestServer::start();
    let answer = server.request(
        "POST",
        "/api/v1/accounts/users/",
        &[("content-type", MULTIPART)],
        multipart(&[
            ("email", None, b"user@example.com"),
            ("password", None, PASSWORD.as_bytes()),
            ("confirm_password", None, PASSWORD.as_bytes()),
            ("photo", Some("me.jpg"), &jpeg()),
        ]),
    );
    assert_eq!(answer.status, 201, "{}", answer.body);
    let access = server.confirm("user@example.com").text("access");
    let profile = server.get("users/me/", Some(&access));
    assert_eq!(profile.json()["photo"], Value::Null);
    assert_eq!(files(&server), [""; 0]);
}

#[test]
fn staff_sets_and_removes_photos_of_others() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let staff = server.staff("staff@example.com");
    let jpeg = jpeg();
    let parts: [Part; 1] = [("photo", Some("x"), &jpeg)];
    let answer = patch_form(&server, &user.path(), Some(&staff.access), &parts);
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(shown(&server, &user), answer.json()["photo"]);
    assert_eq!(shown(&server, &staff), Value::Null);
    let removed = server.patch(&user.path(), &staff, &json!({"photo": null}));
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert_eq!(shown(&server, &user), Value::Null);
    assert_eq!(files(&server), [""; 0]);
}

#[test]
fn only_photos_are_served() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let name = uploaded(&server, &user, &jpeg());
    // Files that exist and must not be served.
    let hidden = format!(".{name}.part");
    fs::write(folder(&server).join(&hidden), "unfinished").unwrap();
    fs::write(folder(&server).join("notes.jpg"), "notes").unwrap();
    fs::create_dir(folder(&server).join(format!("{}.jpg", "a".repeat(32)))).unwrap();
    for path in [
        "",
        ".",
        "..",
        "../",
        "../../users.db",
        "..%2F..%2Fusers.db",
        "%2e%2e/%2e%2e/users.db",
        "%2e%2e%2f%2e%2e%2fusers.db",
        "%252e%252e%252f%252e%252e%252fusers.db",
        "..%5C..%5Cusers.db",
        "..\\..\\users.db",
        "%2Fetc%2Fpasswd",
        "//etc/passwd",
        "./%2e%2e/photos/../../users.db",
        "notes.jpg",
        "users.db",
        "%00",
        "%FF%FE",
        &hidden,
        &format!("{name}%00"),
        &format!("{name}%00.png"),
        &format!("{name}%2F..%2F{name}"),
        &format!("./{name}"),
        &format!("%2e%2f{name}"),
        &format!("../photos/{name}"),
        &name.to_uppercase(),
        &format!("{}.jpg", "a".repeat(32)),
        &format!("{}.jpg", "0".repeat(32)),
        &format!("{name}.part"),
        &"a".repeat(5000),
    ] {
        // A raw request: a client library might normalise the path.
        let answer = server.raw(format!(
            "GET /media/photos/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ));
        assert!(
            answer.starts_with("HTTP/1.1 404 ") || answer.starts_with("HTTP/1.1 400 "),
            "{path}: {answer}"
        );
        if answer.starts_with("HTTP/1.1 404 ") {
            assert!(answer.ends_with(NOT_FOUND), "{path}: {answer}");
        }
    }
    assert_eq!(get(&server, &name).status, 200);
    // Needless escapes mean the same name, and a trailing slash is accepted as everywhere.
    assert_eq!(get(&server, &name.replace('.', "%2E")).status, 200);
    assert_eq!(get(&server, &format!("{name}/")).status, 200);
}

#[test]
fn photo_is_removed_with_its_account() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    let name = uploaded(&server, &user, &jpeg());
    let others = uploaded(&server, &other, &jpeg());
    let answer = server.api(
        "DELETE",
        "users/me/",
        Some(&user.access),
        &json!({"password": PASSWORD}),
    );
    assert_eq!(answer.status, 204, "{}", answer.body);
    assert_eq!(get(&server, &name).status, 404);
    assert_eq!(files(&server), [others]);
}

#[test]
fn photo_survives_a_restart() {
    let mut server = TestServer::start();
    let user = server.user("user@example.com");
    let name = uploaded(&server, &user, &jpeg());
    let before = get(&server, &name);
    server.advance_seconds(2 * 3600);
    server.restart();
    let after = get(&server, &name);
    assert_eq!((after.status, &after.content), (200, &before.content));
    assert_eq!(after.header("etag"), before.header("etag"));
}

#[test]
fn concurrent_uploads_leave_one_file() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let jpeg = jpeg();
    let answers = at_once(6, |_| upload(&server, &user, &jpeg));
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let name = name_in(shown(&server, &user).as_str().unwrap());
    assert_eq!(files(&server), [name.as_str()]);
    assert_eq!(get(&server, &name).status, 200);
}

#[test]
fn folder_is_configurable() {
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = elsewhere.path().join("deep").join("media");
    let server = TestServer::start_with(|config| config.media.dir = Some(dir.clone()));
    let user = server.user("user@example.com");
    let name = uploaded(&server, &user, &jpeg());
    assert!(dir.join("photos").join(&name).is_file());
    assert_eq!(files(&server), [""; 0]);
    assert_eq!(get(&server, &name).status, 200);
}

/// Leaves files behind as a crash does: an old one, an old unfinished one, and a recent one.
fn leave_behind(server: &TestServer) -> [String; 3] {
    let now = server.db_number("SELECT created_at FROM users");
    let [old, unfinished, recent] = ["a", "b", "c"].map(|c| format!("{}.jpg", c.repeat(32)));
    for (file, name, age) in [
        (old.clone(), &old, 3_600_001),
        (format!(".{unfinished}.part"), &unfinished, 3_600_001),
        (recent.clone(), &recent, 1000),
    ] {
        fs::write(folder(server).join(file), "left over").unwrap();
        server.db_execute(&format!(
            "INSERT INTO unused_photos (name, noted_at) VALUES ('{name}', {})",
            now - age
        ));
    }
    [old, unfinished, recent]
}

#[test]
fn leftovers_of_a_crash_are_removed_at_start() {
    let mut server = TestServer::start();
    let user = server.user("user@example.com");
    let kept = uploaded(&server, &user, &jpeg());
    let [old, ..] = leave_behind(&server);
    assert_eq!(files(&server).len(), 4);
    server.restart();
    assert_eq!(server.db_number("SELECT count(*) FROM unused_photos"), 0);
    assert_eq!(files(&server), [kept.as_str()]);
    assert_eq!(get(&server, &kept).status, 200);
    assert_eq!(get(&server, &old).status, 404);
}

#[test]
fn recent_unnamed_file_is_kept() {
    let server = TestServer::start();
    let user = server.user("user@example.com");
    let kept = uploaded(&server, &user, &jpeg());
    let [.., recent] = leave_behind(&server);
    assert_eq!(server.remove_unused_photos(), 2);
    let mut left = [kept, recent];
    left.sort();
    assert_eq!(files(&server), left);
}

#[test]
fn photo_of_a_displaced_account_is_removed() {
    let mut server = TestServer::start();
    let user = server.user("user@example.com");
    let staff = server.staff("staff@example.com");
    let waiting = server.sign_up("waiting@example.com").json()["data"]["id"].clone();
    let jpeg = jpeg();
    let parts: [Part; 1] = [("photo", Some("x"), &jpeg)];
    let path = format!("users/{waiting}/");
    let answer = patch_form(&server, &path, Some(&staff.access), &parts);
    let name = name_in(&answer.text("photo"));
    // The address was never confirmed, so another account may claim it.
    let changed = server.patch("users/me/", &user, &json!({"email": "waiting@example.com"}));
    assert_eq!(changed.status, 200, "{}", changed.body);
    server.get(&path, Some(&staff.access)).assert(404, NO_USER);
    server.restart();
    assert_eq!(get(&server, &name).status, 404);
    assert_eq!(files(&server), [""; 0]);
}

#[test]
fn uploads_of_one_account_are_limited() {
    let server = TestServer::start_with(|config| {
        config.rate_limits.enabled = true;
        config.rate_limits.photo_uploads = 3;
    });
    let user = server.user("user@example.com");
    let other = server.user("other@example.com");
    for content in [&jpeg()[..], b"no image", &jpeg()] {
        let answer = upload(&server, &user, content);
        assert_ne!(answer.status, 429, "{}", answer.body);
    }
    upload(&server, &user, &jpeg()).assert_throttled(600);
    assert_eq!(upload(&server, &other, &jpeg()).status, 200);
    // Other changes and the removal of the photo are not uploads.
    let changed = server.patch(
        "users/me/",
        &user,
        &json!({"photo": null, "first_name": "A"}),
    );
    assert_eq!(changed.status, 200, "{}", changed.body);
    server.advance_seconds(600);
    let access = server.sign_in("user@example.com", PASSWORD).text("access");
    let content = jpeg();
    let parts: [Part; 1] = [("photo", Some("me.jpg"), &content)];
    assert_eq!(
        patch_form(&server, "users/me/", Some(&access), &parts).status,
        200
    );
}
