//! The answer of another server.

use std::iter;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use headers::{Date, Header};
use http::header::{HeaderMap, RETRY_AFTER};

use crate::domain::Timestamp;

/// How the body of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// All of it was read.
    Complete,
    /// It is longer than the limit; the rest was not read.
    TooLong,
    /// The rest did not arrive in time.
    TimedOut,
    /// The connection broke off, or the body is malformed.
    Broken,
}

/// The answer of another server, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) end: BodyEnd,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body, up to the limit of the client.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// How the body ended. What is parsed has to be complete.
    pub fn body_end(&self) -> BodyEnd {
        self.end
    }

    /// The first header of this name, where it is visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long to wait before the next request, by `Retry-After` in either form (RFC 9110, 10.2.3).
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?;
        let text = value.to_str().ok()?.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            // Longer than any number is the longest.
            return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
        }
        let date = Date::decode(&mut iter::once(value)).ok()?;
        let since_epoch = SystemTime::from(date).duration_since(UNIX_EPOCH).ok()?;
        let seconds = i64::try_from(since_epoch.as_secs()).ok()?;
        Some(Timestamp::from_unix_seconds(seconds).since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = Timestamp::from_unix_seconds(784_111_777 - 60);
        for (value, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(60)),
            ("Thu, 01 Jan 1970 00:00:01 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            let answer = Answer {
                status: 429,
                headers,
                body: Bytes::new(),
                end: BodyEnd::Complete,
            };
            let seconds = answer.retry_after(now).map(|pause| pause.as_secs());
            assert_eq!(seconds, expected, "{value}");
        }
    }
}
