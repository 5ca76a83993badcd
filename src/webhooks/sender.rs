//! One try of a delivery: signs the message, sends it and reads the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::signature::{SigningKeys, sign};
use crate::domain::Timestamp;
use crate::outbound::{Client, EndpointUrl, OutboundError, OutboundRequest};

/// Most bytes of an answer that are kept for staff.
const EXCERPT_BYTES: usize = 512;

/// A message for an endpoint.
#[derive(Clone, Debug)]
pub struct WebhookMessage {
    /// The endpoint.
    pub url: EndpointUrl,
    /// The same at each try, so that receivers recognise repeats.
    pub id: String,
    /// The JSON text.
    pub body: Bytes,
    /// The current keys, and for a day the previous ones.
    pub keys: Vec<SigningKeys>,
    /// The time of this try.
    pub sent_at: Timestamp,
}

/// What an endpoint answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookAnswer {
    /// The status code; 2xx is success.
    pub status: u16,
    /// How long the endpoint asks to wait. It may be absurd.
    pub retry_after: Option<Duration>,
    /// The first bytes of the answer, safe to print.
    pub excerpt: String,
}

/// Sends messages to endpoints.
#[derive(Clone)]
pub struct WebhookSender {
    client: Arc<Client>,
}

impl WebhookSender {
    /// Sends with this client.
    pub fn new(client: Arc<Client>) -> Self {
        Self { client }
    }

    /// Checks whether this URL can be an endpoint now: its name has addresses, all of them allowed.
    ///
    /// # Errors
    /// For the log. Clients get one text for all reasons.
    pub async fn check(&self, url: &EndpointUrl) -> Result<(), OutboundError> {
        self.client.check(url).await
    }

    /// Tries to deliver a message once, within the client's limits.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, message: &WebhookMessage) -> Result<WebhookAnswer, OutboundError> {
        let WebhookMessage {
            url,
            id,
            body,
            keys,
            sent_at,
        } = message;
        let request = OutboundRequest::post(url.clone(), "application/json", body.clone())
            .header("webhook-id", id)
            .header("webhook-timestamp", sent_at.unix_seconds().to_string())
            .header("webhook-signature", sign(keys, id, *sent_at, body))
            .repeatable();
        let answer = self.client.send(&request).await?;
        // The status decides: it was received, however its body ends.
        Ok(WebhookAnswer {
            status: answer.status(),
            retry_after: answer.retry_after(*sent_at),
            excerpt: excerpt(answer.body()),
        })
    }
}

/// Host and port of the URL of an endpoint, for mails: its path may be a secret, which they must not
/// spread.
pub fn shown_host(url: &str) -> String {
    EndpointUrl::parse(url).map_or_else(|_| String::new(), |url| url.authority().to_owned())
}

/// The beginning of a body as text without control characters.
fn excerpt(body: &[u8]) -> String {
    let start = &body[..body.len().min(EXCERPT_BYTES)];
    let mut text: String = String::from_utf8_lossy(start)
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect();
    // A replacement has three bytes.
    text.truncate(text.floor_char_boundary(EXCERPT_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_host_leaves_the_path_out() {
        for (url, expected) in [
            ("https://a.example/secret", "a.example"),
            ("https://a.example:8443/?x", "a.example:8443"),
            ("https://a.example", "a.example"),
            ("not a URL", ""),
        ] {
            assert_eq!(shown_host(url), expected, "{url}");
        }
    }

    #[test]
    fn excerpts_are_short_text_without_control_characters() {
        for (body, expected) in [
            (&b"ok"[..], "ok"),
            (b"line\n\tline", "line\n\tline"),
            (b"\x1b[31mred\r\0", "\u{fffd}[31mred\u{fffd}\u{fffd}"),
            (b"\xff", "\u{fffd}"),
            (b"", ""),
        ] {
            assert_eq!(excerpt(body), expected);
        }
        assert_eq!(excerpt(&[b'a'; 600]).len(), 512);
        assert_eq!(excerpt(&[0xff; 600]).len(), 510);
        assert_eq!(excerpt("ü".repeat(600).as_bytes()).len(), 512);
    }
}
