//! Building answers.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc::Receiver;
use warp::Reply;
use warp::reply::Response;

use super::HandlerResult;
use super::error::ApiError;
use crate::limits::Reservation;

/// Most answers fit into this many bytes.
const USUAL_LENGTH: usize = 640;

/// Most answers have this many headers.
const USUAL_HEADERS: usize = 12;

/// The media type of most answers.
pub(super) const JSON: &str = "application/json";

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    with_type(status, JSON, write(body))
}

/// JSON, written compactly as Django REST framework does.
pub(super) fn write(body: &impl Serialize) -> Bytes {
    // A whole profile, the most frequent answer, fits.
    let mut bytes = Vec::with_capacity(USUAL_LENGTH);
    serde_json::to_writer(&mut bytes, body).expect("answers consist of texts, numbers and lists");
    bytes.into()
}

/// An answer that is only a message.
#[derive(Serialize, JsonSchema)]
pub(super) struct Message {
    msg: &'static str,
}

/// `200` with a message.
pub(super) fn message(msg: &'static str) -> Response {
    json(StatusCode::OK, &Message { msg })
}

/// An error that only one resource has.
#[derive(Serialize, JsonSchema)]
pub(super) struct Detail {
    detail: &'static str,
}

impl Detail {
    pub(super) const fn new(detail: &'static str) -> Self {
        Self { detail }
    }
}

/// `200` with a detail.
pub(super) fn detail(detail: &'static str) -> Response {
    json(StatusCode::OK, &Detail::new(detail))
}

/// An empty object.
#[derive(Serialize, JsonSchema)]
pub(super) struct Nothing {}

/// `200` with an empty object.
pub(super) fn nothing() -> Response {
    json(StatusCode::OK, &Nothing {})
}

/// An answer of the given media type.
pub(super) fn with_type(status: StatusCode, media_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    // With room for the headers that every answer gets, so that the map need not grow.
    *response.headers_mut() = HeaderMap::with_capacity(USUAL_HEADERS);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The bytes of an answer, with their memory reserved until they are sent.
struct HeldBytes {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Keeps memory reserved for as long as these bytes are in it.
pub(super) fn held(bytes: Bytes, reservation: Reservation) -> Bytes {
    Bytes::from_owner(HeldBytes {
        bytes,
        _reservation: reservation,
    })
}

/// Marks an answer whose memory is reserved already.
#[derive(Clone, Copy)]
pub(super) struct IsHeld;

/// A file for download, sent as it is made. An error ends the connection, so that nobody takes a
/// part for the whole.
pub(super) fn download(
    media_type: &'static str,
    disposition: &'static str,
    mut chunks: Receiver<io::Result<Bytes>>,
) -> Response {
    let chunks = stream::poll_fn(move |context| chunks.poll_recv(context));
    let mut response = warp::reply::stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static(disposition));
    response
}

/// `204 No Content`.
pub(super) fn no_content() -> Response {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// `202 Accepted` without a body.
pub(super) fn accepted() -> Response {
    let mut response = no_content();
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// `303 See Other` to a path of this server (RFC 9110, section 15.4.4).
///
/// # Errors
/// When no header can hold the path.
pub(super) fn see_other(path: &str) -> HandlerResult {
    let location = HeaderValue::try_from(path)
        .map_err(|_| ApiError::internal("a redirect to a path that no header can hold"))?;
    let mut response = no_content();
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}
