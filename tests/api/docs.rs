//! The page about the API: all of it comes from the server itself, and its policy lets nothing else run.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::support::TestServer;

/// The text between two texts.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(start).unwrap();
    rest.split_once(end).unwrap().0
}

#[test]
fn the_page_is_whole_and_its_policy_is_strict() {
    let server = TestServer::start();
    for path in ["/api/docs/", "/api/docs"] {
        let page = server.request("GET", path, &[], "");
        assert_eq!(page.status, 200);
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        let policy = page.header("content-security-policy").unwrap();
        for (directive, text) in [
            ("style-src", between(&page.body, "<style>", "</style>")),
            ("script-src", between(&page.body, "<script>", "</script>")),
        ] {
            let hash = STANDARD.encode(Sha256::digest(text));
            assert!(
                policy.contains(&format!("{directive} 'sha256-{hash}';")),
                "{directive}: {policy}"
            );
        }
        for word in ["unsafe", "http", "*", "nonce"] {
            assert!(!policy.contains(word), "{word}: {policy}");
        }
        for directive in [
            "default-src 'none'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(directive), "{directive}: {policy}");
        }
    }
}

#[test]
fn the_page_names_no_other_host_and_has_nothing_inline_that_the_policy_forbids() {
    let server = TestServer::start();
    let page = server.request("GET", "/api/docs/", &[], "").body;
    for text in [
        "http:",
        "https:",
        "\"//",
        "'//",
        "url(",
        "@import",
        "innerHTML",
        "eval(",
        "localStorage",
    ] {
        assert!(!page.contains(text), "{text}");
    }
    // Attributes with a script or a style in them need more than a hash.
    let frame =
        page.split("<style>").next().unwrap().to_owned() + between(&page, "</style>", "<script>");
    for attribute in [" style=", " onclick=", " onsubmit=", " onload="] {
        assert!(!frame.contains(attribute), "{attribute}");
    }
}
