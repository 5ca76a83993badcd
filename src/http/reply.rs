//! Building answers.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use warp::reply::Response;

use crate::limits::Reservation;

/// Bytes that most answers fit into.
const USUAL_LENGTH: usize = 640;

/// Headers that most answers have.
const USUAL_HEADERS: usize = 12;

/// The media type of most answers.
pub(super) const JSON: &str = "application/json";

/// A JSON answer.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    with_type(status, JSON, write(body))
}

/// JSON, written compactly as Django REST framework does.
pub(super) fn write(body: &impl Serialize) -> Bytes {
    // Room for a whole profile, the most frequent answer.
    let mut bytes = Vec::with_capacity(USUAL_LENGTH);
    serde_json::to_writer(&mut bytes, body).expect("answers consist of texts, numbers and lists");
    bytes.into()
}

/// An answer that says only what was done.
#[derive(Serialize, JsonSchema)]
pub(super) struct Message {
    msg: &'static str,
}

/// `200` and what was done.
pub(super) fn message(msg: &'static str) -> Response {
    json(StatusCode::OK, &Message { msg })
}

/// What is in the way, where it is no error of the API itself.
#[derive(Serialize, JsonSchema)]
pub(super) struct Detail {
    detail: &'static str,
}

impl Detail {
    pub(super) const fn new(detail: &'static str) -> Self {
        Self { detail }
    }
}

/// An answer with nothing to say.
#[derive(Serialize, JsonSchema)]
pub(super) struct Nothing {}

/// `200` and nothing else.
pub(super) fn nothing() -> Response {
    json(StatusCode::OK, &Nothing {})
}

/// An answer of the given media type.
pub(super) fn with_type(status: StatusCode, media_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    // Room for those that every answer gets: to grow would mean to sort them in anew.
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

/// `204 No Content`.
pub(super) fn no_content() -> Response {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
