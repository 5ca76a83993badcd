//! From a request body to raw fields, as the three default parsers of Django REST framework do it.
//!
//! Text is decoded by its declared charset and never altered: what does not decode is an error.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use multer::{Constraints, Multipart, SizeLimit};

use super::error::ApiError;
use super::request::Request;
use super::text_encoding::{Charset, TransferEncoding};
use crate::app::App;
use crate::domain::{BodyError, Fields, Input, UploadedFile, parse_json_object};

/// Most parts of one form (Django's `DATA_UPLOAD_MAX_NUMBER_FIELDS`).
const MAX_PARTS: usize = 1000;

/// Room for the other parts of a form that uploads a photo.
const ROOM_BESIDE_PHOTO: usize = 64 * 1024;

/// Reads the fields of a request within the ordinary limit.
///
/// # Errors
/// 413, 415 and 400, in this order.
pub(super) async fn fields(app: &App, request: &mut Request) -> Result<Fields, ApiError> {
    let limit = app.config.server.max_body_kib as usize * 1024;
    fields_within(app, request, limit).await
}

/// Reads the fields of a request that may upload a photo; the limit is then that of photos.
///
/// # Errors
/// As [`fields`].
pub(super) async fn fields_with_photo(
    app: &App,
    request: &mut Request,
) -> Result<Fields, ApiError> {
    let ordinary = app.config.server.max_body_kib as usize * 1024;
    let is_form = media_type(&content_type(request)) == "multipart/form-data";
    let limit = if is_form {
        ordinary.max(app.config.media.max_photo_mib as usize * 1024 * 1024 + ROOM_BESIDE_PHOTO)
    } else {
        ordinary
    };
    fields_within(app, request, limit).await
}

/// Reads the fields of a request whose body is an URL-encoded form, and nothing else.
///
/// # Errors
/// As [`fields`].
pub(super) async fn urlencoded_fields(
    app: &App,
    request: &mut Request,
) -> Result<Fields, ApiError> {
    let content_type = content_type(request);
    let limit = app.config.server.max_body_kib as usize * 1024;
    let body = request.read_body(limit, app).await?;
    match media_type(&content_type).as_str() {
        "application/x-www-form-urlencoded" => urlencoded(&content_type, &body),
        _ => Err(ApiError::UnsupportedMediaType(content_type)),
    }
}

/// Reads the fields of a body in memory; `None` when it is malformed.
#[cfg(feature = "fuzzing")]
pub(crate) fn read_fields(content_type: &str, body: Bytes) -> Option<Fields> {
    use futures_util::FutureExt as _;
    // A body in memory is never waited for.
    parse(content_type.to_owned(), body).now_or_never()?.ok()
}

fn content_type(request: &Request) -> String {
    request
        .head
        .headers
        .get(CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default()
}

fn media_type(content_type: &str) -> String {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Reads the fields of a request of at most `limit` bytes.
async fn fields_within(app: &App, request: &mut Request, limit: usize) -> Result<Fields, ApiError> {
    let body = request.read_body(limit, app).await?;
    if body.is_empty() {
        return Ok(Fields::json());
    }
    let content_type = content_type(request);
    parse(content_type, body).await
}

/// Reads the fields of a whole body.
async fn parse(content_type: String, body: Bytes) -> Result<Fields, ApiError> {
    match media_type(&content_type).as_str() {
        "application/json" => json(&body),
        "application/x-www-form-urlencoded" => urlencoded(&content_type, &body),
        "multipart/form-data" => multipart(&content_type, body).await,
        _ => Err(ApiError::UnsupportedMediaType(content_type)),
    }
}

fn json(body: &[u8]) -> Result<Fields, ApiError> {
    parse_json_object(body).map_err(|error| match error {
        BodyError::NotJson(cause) => ApiError::BadRequest(format!("JSON parse error - {cause}")),
        BodyError::NotAnObject(type_name) => ApiError::NonField(format!(
            "Invalid data. Expected a dictionary, but got {type_name}."
        )),
        BodyError::Null => ApiError::NonField("No data provided".into()),
    })
}

fn urlencoded(content_type: &str, body: &[u8]) -> Result<Fields, ApiError> {
    let malformed = |cause: String| ApiError::BadRequest(format!("Form parse error - {cause}"));
    let charset = Charset::of(content_type)
        .map_err(malformed)?
        .unwrap_or_default();
    let decode = |text: &[u8]| charset.decode(&unescaped(text)).map_err(malformed);
    let mut fields = Fields::form();
    let pairs = body
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty());
    for (number, pair) in pairs.enumerate() {
        check_count(number)?;
        let (name, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        fields.insert(decode(name)?, Input::Text(decode(value)?));
    }
    Ok(fields)
}

/// Resolves `+` and percent-escapes.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    percent_encoding::percent_decode(&spaced).collect()
}

async fn multipart(content_type: &str, body: Bytes) -> Result<Fields, ApiError> {
    let malformed = |cause: &dyn std::fmt::Display| {
        ApiError::BadRequest(format!("Multipart form parse error - {cause}"))
    };
    let boundary = multer::parse_boundary(content_type)
        .map_err(|_| malformed(&"Invalid boundary in multipart: None"))?;
    let default_charset = Charset::of(content_type)
        .map_err(|e| malformed(&e))?
        .unwrap_or_default();
    let limit = SizeLimit::new().whole_stream(body.len() as u64);
    let mut form = Multipart::with_constraints(
        stream::iter([Ok::<_, Infallible>(body)]),
        boundary,
        Constraints::new().size_limit(limit),
    );
    let mut fields = Fields::form();
    let mut number = 0;
    while let Some(part) = form.next_field().await.map_err(|e| malformed(&e))? {
        check_count(number)?;
        number += 1;
        let Some(name) = part.name().map(str::to_owned) else {
            continue;
        };
        // `multer` does not read `filename*` (RFC 5987), which older clients send for names that
        // are not ASCII.
        let has_extended_name = part
            .headers()
            .get(CONTENT_DISPOSITION)
            .is_some_and(|value| value.as_bytes().windows(10).any(|w| w == b"filename*="));
        let file_name = part
            .file_name()
            .or(has_extended_name.then_some("file"))
            .map(str::to_owned);
        let encoding = TransferEncoding::of(part.headers()).map_err(|e| malformed(&e))?;
        let content_type = part.headers().get(CONTENT_TYPE);
        let content_type =
            content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let bytes = part.bytes().await.map_err(|e| malformed(&e))?;
        let bytes = encoding.decode(bytes).map_err(|e| malformed(&e))?;
        let input = match file_name {
            Some(file_name) if !file_name.is_empty() => Input::File(UploadedFile {
                file_name,
                content_type,
                bytes,
            }),
            // A browser sends an empty file field as an empty part with an empty file name. That
            // does not ask to remove a photo, which an empty text would.
            Some(_) if bytes.is_empty() => continue,
            Some(_) | None => {
                let charset = match &content_type {
                    Some(content_type) => Charset::of(content_type).map_err(|e| malformed(&e))?,
                    None => None,
                };
                let charset = charset.unwrap_or(default_charset);
                Input::Text(charset.decode(&bytes).map_err(|e| malformed(&e))?)
            }
        };
        fields.insert(name, input);
    }
    Ok(fields)
}

fn check_count(number: usize) -> Result<(), ApiError> {
    if number >= MAX_PARTS {
        return Err(ApiError::BadRequest(format!(
            "The form has more than {MAX_PARTS} fields."
        )));
    }
    Ok(())
}
