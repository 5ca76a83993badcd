//! One request: its head, its caller, and its body, which is read only when it is needed.

use std::borrow::Cow;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Uri};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::Peer;
use super::client;
use super::error::ApiError;
use crate::accounts::{Caller, Client, authenticate};
use crate::app::App;
use crate::config::ServerConfig;
use crate::domain::{OAuthClient, UserId};
use crate::limits::{BufferLimits, Reservation};
use crate::observability::request_id::RequestId;

/// Most bytes that are read and discarded so that a client that is still sending gets its answer.
const MOST_DRAINED: usize = 16 * 1024 * 1024;

/// Longest time spent on that.
const LONGEST_DRAIN: Duration = Duration::from_secs(5);

/// A body may take its timeout and the time that its length takes at this speed.
const SLOWEST_BYTES_PER_MILLI: usize = 16;

const MIB: usize = 1024 * 1024;

/// The scheme of tokens (RFC 6750) with the space behind it.
const BEARER: &[u8] = b"bearer ";

/// Why the rest of a body does not come.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send + Sync>>;

/// A user id in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pk {
    /// That of the caller.
    Me,
    /// This number.
    Id(UserId),
}

impl Pk {
    /// Parses a path segment: `me`, or an integer in ASCII digits.
    fn parse(segment: &str) -> Option<Self> {
        if segment == "me" {
            return Some(Self::Me);
        }
        let digits = segment.strip_prefix('-').unwrap_or(segment);
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // A number that is too large for an id is that of no account, like zero and below.
        is_number.then(|| Self::Id(segment.parse().unwrap_or(0)))
    }
}

/// The head of a request.
pub(crate) struct Head {
    pub(super) method: Method,
    uri: Uri,
    // `None` without percent-escapes.
    decoded_path: Option<String>,
    pub(super) headers: HeaderMap,
    /// The other end of the connection.
    pub(super) peer: Option<Peer>,
    /// Whether it came to `[metrics] listen`.
    pub(super) is_for_metrics: bool,
    /// Whether it has no `Host` or several: a proxy in front may read another one than we do.
    pub(crate) is_host_unclear: bool,
}

impl Head {
    /// A head from its parts.
    pub(crate) fn new(
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        peer: Option<Peer>,
        is_for_metrics: bool,
    ) -> Self {
        let decoded_path = match percent_decode_str(uri.path()).decode_utf8_lossy() {
            Cow::Borrowed(_) => None,
            Cow::Owned(path) => Some(path),
        };
        Self {
            method,
            uri,
            decoded_path,
            is_host_unclear: headers.get_all(HOST).iter().nth(1).is_some(),
            headers,
            peer,
            is_for_metrics,
        }
    }

    /// The path, percent-decoded.
    pub(super) fn path(&self) -> &str {
        self.decoded_path.as_deref().unwrap_or(self.uri.path())
    }

    /// The query string, not decoded.
    pub(super) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

/// A reservation of memory for the client of a request.
pub(super) fn reservation(app: &App, head: &Head) -> Reservation {
    let server = &app.config.server;
    let limits = BufferLimits {
        total: server.max_buffered_mib as usize * MIB,
        per_network: server.max_buffered_mib_per_network as usize * MIB,
    };
    app.buffers
        .reservation(client::limited_network(head, server), limits)
}

/// One request.
pub(crate) struct Request {
    /// The id in the answer and in the log.
    pub(super) id: RequestId,
    pub(super) head: Head,
    /// Place of the path's user id among its segments.
    pub(super) pk_index: Option<usize>,
    /// The caller, if the route authenticates.
    pub(super) caller: Option<Caller>,
    /// The OAuth client, once an endpoint for clients knows it.
    pub(super) oauth_client: Option<OAuthClient>,
    /// The page that a form below it is on, for requests that send one.
    pub(super) page: Option<String>,
    /// The new secret of the browser's session, which every answer hands over.
    pub(super) renewed_session: Option<String>,
    /// `None` once it was read to its end or given up.
    body: Option<BodyStream>,
    /// Whether reading has started, which sends a 100 Continue to a client that expects it.
    is_body_awaited: bool,
    /// Whether the rest of the body does not come.
    is_body_broken: bool,
    /// The memory that the body takes.
    reservation: Option<Reservation>,
}

impl Request {
    /// A request whose body comes in these parts.
    pub(crate) fn new(
        head: Head,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Send + Sync + 'static,
    ) -> Self {
        // Most requests have no body (RFC 9112, section 6.3).
        let has_body = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS)
            || head.headers.contains_key(CONTENT_LENGTH)
            || head.headers.contains_key(TRANSFER_ENCODING);
        Self {
            id: RequestId::new(),
            head,
            pk_index: None,
            caller: None,
            oauth_client: None,
            page: None,
            renewed_session: None,
            body: has_body.then(|| Box::pin(body) as BodyStream),
            is_body_awaited: false,
            is_body_broken: false,
            reservation: None,
        }
    }

    /// A request with a body from warp.
    pub(super) fn from_stream(
        head: Head,
        body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send + Sync + 'static,
    ) -> Self {
        let parts = body.map(|part| match part {
            Ok(mut data) => Ok(data.copy_to_bytes(data.remaining())),
            Err(e) => Err(e.into()),
        });
        Self::new(head, parts)
    }

    /// The client behind the connection and any trusted proxy.
    pub(super) fn client(&self, app: &App) -> Client {
        client::of(
            self.head.peer.map(|peer| peer.0),
            &self.head.headers,
            &app.config.server,
        )
    }

    /// Authenticates the caller.
    ///
    /// # Errors
    /// 401 without an `Authorization: Bearer` header or with an invalid token.
    pub(super) async fn authenticate(&self, app: &App) -> Result<Caller, ApiError> {
        match self.bearer()? {
            None => Err(ApiError::NotAuthenticated),
            Some(token) => Ok(authenticate(app, token)
                .await
                .map_err(ApiError::of_header_token)?),
        }
    }

    /// Authenticates the caller if there is a valid token; an invalid one counts as none.
    ///
    /// # Errors
    /// Only when the token cannot be looked up.
    pub(super) async fn authenticate_if_possible(
        &self,
        app: &App,
    ) -> Result<Option<Caller>, ApiError> {
        match self.authenticate(app).await {
            Ok(caller) => Ok(Some(caller)),
            Err(ApiError::NotAuthenticated | ApiError::BadToken) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The token of the `Authorization` header. Another scheme than `Bearer` counts as no token (as
    /// in simplejwt). `Bearer` without exactly one token is an error, and so are several headers: a
    /// proxy in front may read another one than we do.
    pub(super) fn bearer(&self) -> Result<Option<&str>, ApiError> {
        let mut headers = self.head.headers.get_all(AUTHORIZATION).iter();
        let Some(header) = headers.next() else {
            return Ok(None);
        };
        if headers.next().is_some() {
            return Err(ApiError::BadToken);
        }
        // The usual form; a token is long, so it is scanned once.
        if let Some((scheme, token)) = header.as_bytes().split_at_checked(BEARER.len())
            && scheme.eq_ignore_ascii_case(BEARER)
            && memchr::memchr2(b' ', b'\t', token).is_none()
            && token.is_ascii()
            && let Ok(token) = std::str::from_utf8(token)
            && !token.is_empty()
        {
            return Ok(Some(token));
        }
        let header = header.to_str().map_err(|_| ApiError::BadToken)?;
        let mut words = header.split_ascii_whitespace();
        match words.next() {
            Some(scheme) if scheme.eq_ignore_ascii_case("bearer") => {}
            _ => return Ok(None),
        }
        match (words.next(), words.next()) {
            (Some(token), None) => Ok(Some(token)),
            _ => Err(ApiError::BadToken),
        }
    }

    /// The user id in the path; `me` is that of the caller.
    ///
    /// # Errors
    /// 404 when it is neither a number nor `me`.
    pub(super) fn user_id(&self) -> Result<UserId, ApiError> {
        let segment = self
            .pk_index
            .and_then(|index| self.head.path().split('/').nth(index + 1))
            .unwrap_or_default();
        match (Pk::parse(segment), &self.caller) {
            (Some(Pk::Id(id)), _) => Ok(id),
            (Some(Pk::Me), Some(caller)) => Ok(caller.user.id),
            (Some(Pk::Me), None) => Err(ApiError::internal("`me` on a path without a caller")),
            (None, _) => Err(ApiError::NotFound),
        }
    }

    /// The last segment of the path, which is `{id}`.
    pub(super) fn last_segment(&self) -> &str {
        self.segment_from_end(0)
    }

    /// The segment of the path that `after` others follow.
    pub(super) fn segment_before(&self, after: usize) -> &str {
        self.segment_from_end(after)
    }

    /// The number in the last segment of the path but `after`.
    ///
    /// # Errors
    /// 404 when it is not a number.
    pub(super) fn number_before(&self, after: usize) -> Result<i64, ApiError> {
        let segment = self.segment_from_end(after);
        let is_number = segment.bytes().all(|b| b.is_ascii_digit());
        let number = segment.parse().ok().filter(|_| is_number);
        number.ok_or(ApiError::NotFound)
    }

    /// A segment of the path, counted from its end; ids of clients need no decoding.
    pub(super) fn segment_from_end(&self, place: usize) -> &str {
        let path = self.head.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        path.rsplit('/').nth(place).unwrap_or_default()
    }

    /// The caller of a route that needs a token.
    pub(super) fn take_caller(&mut self) -> Result<Caller, ApiError> {
        self.caller
            .take()
            .ok_or_else(|| ApiError::internal("a route that needs a token was handled without"))
    }

    /// The caller of a route for staff. Their right is checked before anything else of the request.
    ///
    /// # Errors
    /// 403 for others.
    pub(super) fn take_staff(&mut self) -> Result<Caller, ApiError> {
        let caller = self.take_caller()?;
        if caller.user.is_staff {
            Ok(caller)
        } else {
            Err(ApiError::Forbidden)
        }
    }

    /// Reads the whole body, of at most `limit` bytes.
    ///
    /// # Errors
    /// 413, 408, and 400 when the body breaks off.
    pub(super) async fn read_body(&mut self, limit: usize, app: &App) -> Result<Bytes, ApiError> {
        let server = &app.config.server;
        if self.content_length().is_some_and(|length| length > limit) {
            return Err(ApiError::TooLarge);
        }
        let length = self.content_length().unwrap_or(limit);
        let Some(body) = &mut self.body else {
            return Ok(Bytes::new());
        };
        self.is_body_awaited = true;
        // Until the request is answered: what is parsed from the body is about as large.
        let reservation = self
            .reservation
            .get_or_insert_with(|| reservation(app, &self.head));
        // The time allowed grows with the length, so that a slow line may upload a photo.
        let patience = Duration::from_secs(server.body_timeout_seconds.into())
            + Duration::from_millis((length / SLOWEST_BYTES_PER_MILLI) as u64);
        let pause = Duration::from_secs(server.body_pause_seconds.into());
        let read = async {
            let mut whole = BytesMut::new();
            while let Some(part) = timeout(pause, body.next())
                .await
                .map_err(|_| ApiError::Timeout)?
            {
                let part =
                    part.map_err(|e| ApiError::BadRequest(format!("The body broke off: {e}.")))?;
                if whole.len() + part.len() > limit {
                    return Err(ApiError::TooLarge);
                }
                reservation
                    .grow(part.len())
                    .map_err(|e| ApiError::Overloaded(e.to_string()))?;
                whole.extend_from_slice(&part);
            }
            Ok(whole.freeze())
        };
        let outcome = timeout(patience, read)
            .await
            .unwrap_or(Err(ApiError::Timeout));
        match &outcome {
            Ok(_) => self.body = None,
            // The rest is worth reading.
            Err(ApiError::TooLarge | ApiError::Overloaded(_)) => {}
            Err(_) => {
                self.body = None;
                self.is_body_broken = true;
            }
        }
        outcome
    }

    fn content_length(&self) -> Option<usize> {
        self.head
            .headers
            .get(CONTENT_LENGTH)?
            .to_str()
            .ok()?
            .parse()
            .ok()
    }

    /// Reads and discards the rest of the body, within limits. Returns whether all of it was read;
    /// otherwise the connection cannot be used for another request.
    pub(super) async fn drain(&mut self, server: &ServerConfig) -> bool {
        let Some(mut body) = self.body.take() else {
            return !self.is_body_broken;
        };
        // The client waits for a 100 Continue, or has sent the body without: which of the two, only
        // a closed connection leaves no doubt (RFC 9110, section 10.1.1).
        if self.head.headers.contains_key(EXPECT) && !self.is_body_awaited {
            return false;
        }
        let pause = Duration::from_secs(server.body_timeout_seconds.into()).min(LONGEST_DRAIN);
        let mut left = MOST_DRAINED;
        let read = async {
            loop {
                match body.next().await {
                    None => return true,
                    Some(Err(_)) => return false,
                    Some(Ok(part)) => match left.checked_sub(part.len()) {
                        Some(rest) => left = rest,
                        None => return false,
                    },
                }
            }
        };
        timeout(pause, read).await.unwrap_or_else(|_| {
            log::debug!("a client that went on sending was cut off");
            false
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_id_in_a_path_is_an_integer() {
        for (segment, pk) in [
            ("me", Some(Pk::Me)),
            ("1", Some(Pk::Id(1))),
            ("01", Some(Pk::Id(1))),
            ("99999999999999999999", Some(Pk::Id(0))),
            ("", None),
            ("-1", Some(Pk::Id(-1))),
            ("-", None),
            ("+1", None),
            ("1.0", None),
            ("abc", None),
            ("Me", None),
            ("١", None),
        ] {
            assert_eq!(Pk::parse(segment), pk, "{segment:?}");
        }
    }
}
