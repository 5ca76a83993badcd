//! How a client says who it is (RFC 6749, section 2.3): `client_secret_basic`, `client_secret_post`,
//! or its id alone.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;

use super::error::OAuthError;
use super::parameters::Parameters;

/// Base 64 with or without padding: libraries differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client says about itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Credentials {
    /// Its id.
    pub(super) id: String,
    secret: Option<Secret>,
}

/// A secret as it came.
#[derive(PartialEq, Eq)]
struct Secret {
    text: String,
    /// Its other reading, where it differs.
    unescaped: Option<String>,
}

/// Shows nothing of a secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Credentials {
    /// The readings of its secret: none without one, and two where a header leaves doubt.
    pub(super) fn secrets(&self) -> Vec<&str> {
        let secret = self.secret.iter();
        secret
            .flat_map(|secret| [Some(&*secret.text), secret.unescaped.as_deref()])
            .flatten()
            .collect()
    }
}

/// Reads the credentials of a request.
///
/// # Errors
/// `invalid_client` when there are none or the header is malformed; `invalid_request` when there are
/// several.
pub(super) fn read(
    headers: &HeaderMap,
    parameters: &Parameters,
) -> Result<Credentials, OAuthError> {
    let id = parameters.find("client_id");
    let secret = parameters.find("client_secret");
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(header) = values.next() else {
        let id =
            id.ok_or_else(|| OAuthError::invalid_client("The client does not say who it is."))?;
        return Ok(Credentials {
            id: id.to_owned(),
            secret: secret.map(|text| Secret {
                text: text.to_owned(),
                unescaped: None,
            }),
        });
    };
    if values.next().is_some() || secret.is_some() {
        return Err(OAuthError::invalid_request(
            "The client authenticates in several ways at once; use one of them.",
        ));
    }
    let basic = header.to_str().ok().and_then(basic).ok_or_else(|| {
        OAuthError::invalid_client(
            "The header Authorization has to be Basic, with the client's id and secret.",
        )
    })?;
    if id.is_some_and(|id| id != basic.id) {
        return Err(OAuthError::invalid_request(
            "The parameter client_id differs from the id in the header Authorization.",
        ));
    }
    Ok(basic)
}

/// Reads a header of the scheme `Basic` (RFC 7617).
///
/// Id and secret are form-encoded before base 64 (RFC 6749, section 2.3.1). Many libraries leave that
/// out, so a secret with `+` or `%` has two readings, and either may be the right one.
fn basic(header: &str) -> Option<Credentials> {
    let (scheme, encoded) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    let decoded = BASE64.decode(encoded.trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let id = unescaped(id).filter(|id| !id.is_empty())?;
    // An empty secret is none (RFC 6749, section 2.3.1).
    let secret = (!secret.is_empty()).then(|| Secret {
        text: secret.to_owned(),
        unescaped: unescaped(secret).filter(|other| other != secret),
    });
    Some(Credentials { id, secret })
}

fn unescaped(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_basic(text: &str) -> Option<(String, Vec<String>)> {
        let header = format!("Basic {}", BASE64.encode(text));
        basic(&header).map(|found| {
            let secrets = found.secrets().into_iter().map(str::to_owned).collect();
            (found.id, secrets)
        })
    }

    #[test]
    fn header_is_read_with_and_without_form_encoding() {
        for (text, id, secrets) in [
            ("app:secret", "app", &["secret"][..]),
            ("my%2Eapp:secret", "my.app", &["secret"]),
            ("app:a%2Bb", "app", &["a%2Bb", "a+b"]),
            ("app:a+b", "app", &["a+b", "a b"]),
            ("app:a:b", "app", &["a:b"]),
            ("app:%ff", "app", &["%ff"]),
            ("app:", "app", &[]),
        ] {
            let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
            assert_eq!(read_basic(text), Some((id.to_owned(), secrets)), "{text}");
        }
        for text in ["app", ":secret", "", "%ff:secret"] {
            assert_eq!(read_basic(text), None, "{text}");
        }
    }

    #[test]
    fn other_headers_are_not_read() {
        for header in ["Basic YTpi", "basic YTpi", "BASIC  YTpi"] {
            let expected = Credentials {
                id: "a".into(),
                secret: Some(Secret {
                    text: "b".into(),
                    unescaped: None,
                }),
            };
            assert_eq!(basic(header), Some(expected), "{header}");
        }
        for header in ["Basic", "Basic ", "Bearer YTpi", "Basic Y!pi", "Basic /w=="] {
            assert_eq!(basic(header), None, "{header}");
        }
    }
}
