//! `/media/photos/<name>`: photo files, with conditional requests and ranges (RFC 9110, sections 13
//! and 14).
//!
//! A name is random and never reused for other content, so an answer may be cached for ever, and
//! the name is the version.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::time::SystemTime;

use bytes::Bytes;
use headers::{
    AcceptRanges, ContentLength, ContentRange, ETag, HeaderMapExt, IfMatch, IfModifiedSince,
    IfNoneMatch, IfRange, IfUnmodifiedSince, LastModified,
};
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName,
    HeaderValue, IF_RANGE, RANGE,
};
use http::{Method, StatusCode};
use warp::reply::Response;

use crate::accounts::open_photo;
use crate::app::SharedApp;
use crate::http::error::ApiError;
use crate::http::operation::{Content, Operation, Outcome, Refusal, Tag};
use crate::http::reply::{self, Detail};
use crate::http::request::{Request, reservation};
use crate::http::route::HandlerResult;
use crate::limits::Reservation;

/// Headers of every photo. Photos are re-encoded; should a browser take one for a document all the
/// same, it can do nothing.
const PHOTO_HEADERS: [(HeaderName, HeaderValue); 2] = [
    (CONTENT_DISPOSITION, HeaderValue::from_static("inline")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    ),
];

/// A year, the longest that caches keep anything.
const KEEP: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The media types of photos.
const IMAGES: Content = Content::Bytes(&["image/jpeg", "image/png"]);

/// `GET /media/photos/<name>`
pub(crate) const RETRIEVE: Operation = Operation {
    id: "retrievePhoto",
    tag: Tag::Users,
    summary: "Read a photo",
    description: "The file of a photo, at the URL in the profile. Conditional requests and a \
                  single range are supported; a name never gets other content.",
    answers: &[
        Outcome {
            status: 200,
            when: "the file",
            content: IMAGES,
        },
        Outcome {
            status: 206,
            when: "the part that `Range` asks for",
            content: IMAGES,
        },
        Outcome::nothing(304, "the client has it already"),
        Outcome::json::<Detail>(
            412,
            "`If-Match` or `If-Unmodified-Since` does not hold",
            r#"{"detail": "Precondition failed."}"#,
        ),
        Outcome::json::<Detail>(
            416,
            "the range is outside the file",
            r#"{"detail": "Requested range not satisfiable."}"#,
        ),
    ],
    refusals: &[Refusal {
        when: "no such photo",
        error: || ApiError::NotFound,
    }],
    ..Operation::NEW
};

/// `GET /media/photos/<name>`
pub(crate) async fn retrieve(app: &SharedApp, request: &mut Request) -> HandlerResult {
    let name = request.last_segment().to_owned();
    let method = request.head.method.clone();
    let headers = request.head.headers.clone();
    let app = app.clone();
    let reservation = reservation(&app, &request.head);
    let file = open_photo(&app, &name).await?;
    let file = file.ok_or(ApiError::NotFound)?;
    tokio::task::spawn_blocking(move || serve(file, &name, &method, &headers, reservation))
        .await
        .map_err(|e| ApiError::Internal(format!("a task failed: {e}")))?
}

/// Reads as much of the file as the request asks for. Faults of the media folder pass, so the
/// client may retry (503).
///
/// The memory for the content is reserved before it is read, and until it is sent.
fn serve(
    mut file: File,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
    mut reservation: Reservation,
) -> HandlerResult {
    let failed = |e: io::Error| ApiError::Overloaded(format!("cannot read the photo {name}: {e}"));
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(ApiError::NotFound);
    }
    let stored = Stored {
        media_type: media_type(name),
        etag: format!("\"{name}\"")
            .parse()
            .map_err(|_| ApiError::internal("the name of a photo is not an entity tag"))?,
        modified: metadata.modified().map_err(failed)?,
        length: metadata.len(),
    };
    let answer = decide(&stored, method, headers);
    let read = |first: u64, length: u64| {
        if method == Method::HEAD {
            return Ok(Bytes::new());
        }
        let bytes = usize::try_from(length).unwrap_or(usize::MAX);
        reservation.grow(bytes).map_err(io::Error::other)?;
        let mut content = Vec::with_capacity(bytes);
        file.seek(SeekFrom::Start(first))?;
        (&mut file).take(length).read_to_end(&mut content)?;
        Ok(reply::held(content.into(), reservation))
    };
    Ok(match answer {
        Answer::NotModified => stored.not_modified(),
        Answer::PreconditionFailed => reply::json(
            StatusCode::PRECONDITION_FAILED,
            &Detail::new("Precondition failed."),
        ),
        Answer::NotSatisfiable => stored.not_satisfiable(),
        Answer::Whole => stored.whole(read(0, stored.length).map_err(failed)?),
        Answer::Part { first, last } => {
            stored.part(first, last, read(first, last - first + 1).map_err(failed)?)
        }
    })
}

/// The media type of a photo; its name ends in `.jpg` or `.png`.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "png")) => "image/png",
        _ => "image/jpeg",
    }
}

/// A file, as the headers describe it.
struct Stored {
    media_type: &'static str,
    etag: ETag,
    modified: SystemTime,
    /// In bytes.
    length: u64,
}

impl Stored {
    fn whole(&self, content: Bytes) -> Response {
        self.content(StatusCode::OK, content, self.length)
    }

    /// The bytes from `first` to `last`, both of them included.
    fn part(&self, first: u64, last: u64, content: Bytes) -> Response {
        let mut response = self.content(StatusCode::PARTIAL_CONTENT, content, last - first + 1);
        if let Ok(range) = ContentRange::bytes(first..=last, self.length) {
            response.headers_mut().typed_insert(range);
        }
        response
    }

    fn content(&self, status: StatusCode, content: Bytes, length: u64) -> Response {
        let mut response = reply::with_type(status, self.media_type, content);
        response.extensions_mut().insert(reply::IsHeld);
        let headers = response.headers_mut();
        // Set here because the answer to HEAD has no content.
        headers.typed_insert(ContentLength(length));
        headers.typed_insert(AcceptRanges::bytes());
        headers.extend(PHOTO_HEADERS);
        self.add_validators(headers);
        response
    }

    /// 304 has the headers that a cache needs to go on using what it has, and no others.
    fn not_modified(&self) -> Response {
        let mut response = Response::new(Bytes::new().into());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        self.add_validators(response.headers_mut());
        response
    }

    fn not_satisfiable(&self) -> Response {
        let mut response = reply::json(
            StatusCode::RANGE_NOT_SATISFIABLE,
            &Detail::new("Requested range not satisfiable."),
        );
        response
            .headers_mut()
            .typed_insert(ContentRange::unsatisfied_bytes(self.length));
        response
    }

    fn add_validators(&self, headers: &mut HeaderMap) {
        headers.insert(CACHE_CONTROL, KEEP);
        headers.typed_insert(self.etag.clone());
        headers.typed_insert(LastModified::from(self.modified));
    }
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Whole,
    /// From this byte to that one, both included and in the file.
    Part {
        first: u64,
        last: u64,
    },
    NotModified,
    PreconditionFailed,
    NotSatisfiable,
}

/// Evaluates the preconditions in the order of RFC 9110, section 13.2.2. A malformed header is
/// ignored.
fn decide(stored: &Stored, method: &Method, headers: &HeaderMap) -> Answer {
    let is_met = match headers.typed_get::<IfMatch>() {
        Some(tags) => tags.precondition_passes(&stored.etag),
        None => headers
            .typed_get::<IfUnmodifiedSince>()
            .is_none_or(|since| since.precondition_passes(stored.modified)),
    };
    if !is_met {
        return Answer::PreconditionFailed;
    }
    let is_modified = match headers.typed_get::<IfNoneMatch>() {
        Some(tags) => tags.precondition_passes(&stored.etag),
        None => headers
            .typed_get::<IfModifiedSince>()
            .is_none_or(|since| since.is_modified(stored.modified)),
    };
    if !is_modified {
        return Answer::NotModified;
    }
    // A range means something for GET alone (section 14.2).
    if method != Method::GET {
        return Answer::Whole;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return Answer::Whole;
    };
    // Unlike the others, a malformed `If-Range` is not ignored: it gets the whole.
    let has_same_version = !headers.contains_key(IF_RANGE)
        || headers.typed_get::<IfRange>().is_some_and(|version| {
            !version.is_modified(Some(&stored.etag), Some(&stored.modified.into()))
        });
    match range.to_str() {
        Ok(range) if has_same_version => part_of(range, stored.length),
        _ => Answer::Whole,
    }
}

/// The part that a `Range` header asks for. Several ranges, other units and malformed ranges get
/// the whole: a server may ignore any range (section 14.2).
fn part_of(range: &str, length: u64) -> Answer {
    let part = range
        .split_once('=')
        .filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"))
        .and_then(|(_, part)| part.trim().split_once('-'));
    let Some((first, last)) = part else {
        return Answer::Whole;
    };
    match (position(first), position(last)) {
        (Some(first), Some(last)) if first <= last => {
            let last = last.min(length.saturating_sub(1));
            if first < length {
                Answer::Part { first, last }
            } else {
                Answer::NotSatisfiable
            }
        }
        (Some(first), None) if last.is_empty() => match length.checked_sub(1) {
            Some(end) if first <= end => Answer::Part { first, last: end },
            _ => Answer::NotSatisfiable,
        },
        // The last `count` bytes.
        (None, Some(count)) if first.is_empty() => match length.checked_sub(1) {
            Some(end) if count > 0 => Answer::Part {
                first: length.saturating_sub(count),
                last: end,
            },
            _ => Answer::NotSatisfiable,
        },
        _ => Answer::Whole,
    }
}

/// A number of ASCII digits; one that is too large is as good as the largest.
fn position(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::limits::{BufferLimits, Buffers};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const TAG: &str = "\"0123456789abcdef0123456789abcdef.jpg\"";
    const MODIFIED: &str = "Tue, 03 Dec 2024 12:00:00 GMT";
    const LATER: &str = "Tue, 03 Dec 2024 12:00:01 GMT";
    const EARLIER: &str = "Tue, 03 Dec 2024 11:59:59 GMT";

    fn stored() -> Stored {
        Stored {
            media_type: "image/jpeg",
            etag: TAG.parse().unwrap(),
            // The file system knows fractions of seconds, which HTTP does not.
            modified: UNIX_EPOCH + Duration::from_millis(1_733_227_200_250),
            length: 100,
        }
    }

    fn decided(method: &Method, headers: &[(&'static str, &str)]) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            });
        decide(&stored(), method, &headers)
    }

    fn got(headers: &[(&'static str, &str)]) -> Answer {
        decided(&Method::GET, headers)
    }

    const fn part(first: u64, last: u64) -> Answer {
        Answer::Part { first, last }
    }

    #[test]
    fn a_single_range_is_a_part() {
        for (range, answer) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=0-99", part(0, 99)),
            ("bytes=10-19", part(10, 19)),
            ("bytes=10-", part(10, 99)),
            ("bytes=99-", part(99, 99)),
            ("bytes=90-1000", part(90, 99)),
            ("bytes=5-99999999999999999999999", part(5, 99)),
            ("bytes=-1", part(99, 99)),
            ("bytes=-100", part(0, 99)),
            ("bytes=-1000", part(0, 99)),
            ("Bytes= 10-19", part(10, 19)),
            ("bytes=100-", Answer::NotSatisfiable),
            ("bytes=100-200", Answer::NotSatisfiable),
            ("bytes=99999999999999999999999-", Answer::NotSatisfiable),
            ("bytes=-0", Answer::NotSatisfiable),
        ] {
            assert_eq!(got(&[("range", range)]), answer, "{range}");
        }
    }

    #[test]
    fn other_ranges_get_the_whole() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=20-10",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=--1",
            "bytes=0-1,5-6",
            "bytes=0-1, 5-6",
            "items=0-1",
            "0-1",
        ] {
            assert_eq!(got(&[("range", range)]), Answer::Whole, "{range}");
        }
        assert_eq!(
            got(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]),
            Answer::Whole
        );
        assert_eq!(
            decided(&Method::HEAD, &[("range", "bytes=0-1")]),
            Answer::Whole
        );
    }

    #[test]
    fn nothing_has_no_parts() {
        for range in ["bytes=0-0", "bytes=0-", "bytes=-1"] {
            assert_eq!(part_of(range, 0), Answer::NotSatisfiable, "{range}");
        }
    }

    #[test]
    fn unchanged_photo_is_not_sent_again() {
        let weak = format!("W/{TAG}");
        let among = format!("\"other\", {TAG}");
        for (name, value, answer) in [
            ("if-none-match", TAG, Answer::NotModified),
            ("if-none-match", weak.as_str(), Answer::NotModified),
            ("if-none-match", &among, Answer::NotModified),
            ("if-none-match", "*", Answer::NotModified),
            ("if-none-match", "\"other\"", Answer::Whole),
            ("if-modified-since", MODIFIED, Answer::NotModified),
            ("if-modified-since", LATER, Answer::NotModified),
            ("if-modified-since", EARLIER, Answer::Whole),
            ("if-modified-since", "yesterday", Answer::Whole),
        ] {
            assert_eq!(got(&[(name, value)]), answer, "{name}: {value}");
            assert_eq!(decided(&Method::HEAD, &[(name, value)]), answer);
        }
        // With a tag, the date does not count.
        assert_eq!(
            got(&[
                ("if-none-match", "\"other\""),
                ("if-modified-since", MODIFIED)
            ]),
            Answer::Whole
        );
    }

    #[test]
    fn failed_precondition_is_412() {
        for (name, value, answer) in [
            ("if-match", TAG, Answer::Whole),
            ("if-match", "*", Answer::Whole),
            ("if-match", "\"other\"", Answer::PreconditionFailed),
            ("if-unmodified-since", MODIFIED, Answer::Whole),
            ("if-unmodified-since", EARLIER, Answer::PreconditionFailed),
        ] {
            assert_eq!(got(&[(name, value)]), answer, "{name}: {value}");
        }
    }

    #[test]
    fn if_range_needs_the_same_version() {
        for (version, answer) in [
            (TAG, part(1, 2)),
            (MODIFIED, part(1, 2)),
            ("\"other\"", Answer::Whole),
            (EARLIER, Answer::Whole),
            ("W/\"other\"", Answer::Whole),
            ("nonsense", Answer::Whole),
        ] {
            assert_eq!(
                got(&[("range", "bytes=1-2"), ("if-range", version)]),
                answer,
                "{version}"
            );
        }
    }

    fn unlimited() -> Reservation {
        let limits = BufferLimits {
            total: usize::MAX,
            per_network: 0,
        };
        Arc::new(Buffers::default()).reservation(None, limits)
    }

    #[test]
    fn file_is_served_with_its_headers() {
        let temp = tempfile::tempdir().unwrap();
        let name = "0123456789abcdef0123456789abcdef.png";
        let path = temp.path().join(name);
        std::fs::write(&path, "0123456789").unwrap();
        let headers = |range: &str| {
            let mut headers = HeaderMap::new();
            if !range.is_empty() {
                headers.insert(RANGE, HeaderValue::from_str(range).unwrap());
            }
            headers
        };
        let header = |response: &Response, name: &str| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let whole = serve(
            File::open(&path).unwrap(),
            name,
            &Method::GET,
            &headers(""),
            unlimited(),
        )
        .unwrap();
        assert_eq!(whole.status(), StatusCode::OK);
        for (name, value) in [
            ("content-type", "image/png"),
            ("content-length", "10"),
            ("accept-ranges", "bytes"),
            ("content-disposition", "inline"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("cache-control", "public, max-age=31536000, immutable"),
            ("etag", "\"0123456789abcdef0123456789abcdef.png\""),
        ] {
            assert_eq!(header(&whole, name).as_deref(), Some(value), "{name}");
        }
        assert!(header(&whole, "last-modified").is_some_and(|date| date.ends_with(" GMT")));

        let part = serve(
            File::open(&path).unwrap(),
            name,
            &Method::GET,
            &headers("bytes=2-4"),
            unlimited(),
        )
        .unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(
            header(&part, "content-range").as_deref(),
            Some("bytes 2-4/10")
        );
        assert_eq!(header(&part, "content-length").as_deref(), Some("3"));

        let beyond = serve(
            File::open(&path).unwrap(),
            name,
            &Method::GET,
            &headers("bytes=10-"),
            unlimited(),
        )
        .unwrap();
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(
            header(&beyond, "content-range").as_deref(),
            Some("bytes */10")
        );

        let head = serve(
            File::open(&path).unwrap(),
            name,
            &Method::HEAD,
            &headers(""),
            unlimited(),
        )
        .unwrap();
        assert_eq!(header(&head, "content-length").as_deref(), Some("10"));

        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let folder = serve(
            File::open(&path).unwrap(),
            name,
            &Method::GET,
            &headers(""),
            unlimited(),
        );
        assert!(matches!(folder, Err(ApiError::NotFound)), "{folder:?}");
    }
}
