//! Answers without a request that hyper has parsed: bytes, ready to be sent, in the forms of the
//! API.

/// 408: the header of a request did not arrive in time (RFC 9110, section 15.5.9).
pub(super) const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    connection: close\r\n\
    content-type: application/json\r\n\
    content-length: 48\r\n\
    \r\n\
    {\"detail\":\"The request did not arrive in time.\"}";

/// 503: all connections are in use.
pub(super) const OVERLOADED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    connection: close\r\n\
    retry-after: 5\r\n\
    content-type: application/json\r\n\
    content-length: 62\r\n\
    \r\n\
    {\"detail\":\"Service temporarily unavailable, try again later.\"}";

/// 400: plain HTTP on a TLS port.
pub(super) const NOT_ENCRYPTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    connection: close\r\n\
    content-type: application/json\r\n\
    content-length: 55\r\n\
    \r\n\
    {\"detail\":\"This port speaks HTTPS: ask with https://.\"}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_lengths_are_right() {
        for answer in [TIMEOUT, OVERLOADED, NOT_ENCRYPTED] {
            let answer = std::str::from_utf8(answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            assert_eq!(length, Some(&*body.len().to_string()), "{answer}");
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(body["detail"].is_string());
        }
    }
}
