//! How the text of a form is encoded: its charset, and the transfer encoding of a part.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use encoding_rs::Encoding;
use http::{HeaderMap, HeaderName};

const CONTENT_TRANSFER_ENCODING: HeaderName = HeaderName::from_static("content-transfer-encoding");

/// A charset that text is decoded by; UTF-8 by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charset(&'static Encoding);

impl Default for Charset {
    fn default() -> Self {
        Self(encoding_rs::UTF_8)
    }
}

impl Charset {
    /// The charset that a media type declares, if it does.
    ///
    /// # Errors
    /// When the charset is unknown.
    pub(super) fn of(content_type: &str) -> Result<Option<Self>, String> {
        let mut parameters = content_type.split(';').skip(1);
        let Some(label) = parameters.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("charset")
                .then(|| value.trim().trim_matches(['"', '\'']))
        }) else {
            return Ok(None);
        };
        Encoding::for_label_no_replacement(label.as_bytes())
            .map(|encoding| Some(Self(encoding)))
            .ok_or_else(|| format!("unknown encoding: {label}"))
    }

    /// Decodes a text.
    ///
    /// # Errors
    /// When the bytes are not text in this charset.
    pub(super) fn decode(self, bytes: &[u8]) -> Result<String, String> {
        self.0
            .decode_without_bom_handling_and_without_replacement(bytes)
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(|| format!("the text is not in the encoding {}", self.0.name()))
    }
}

/// The transfer encoding of a part (RFC 2045, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransferEncoding {
    /// `7bit`, `8bit` and `binary`: the bytes as they are.
    Identity,
    Base64,
    QuotedPrintable,
}

impl TransferEncoding {
    /// The encoding that the headers of a part declare.
    ///
    /// # Errors
    /// When it is unknown.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let Some(value) = headers.get(CONTENT_TRANSFER_ENCODING) else {
            return Ok(Self::Identity);
        };
        let name = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        match name.trim() {
            "" | "7bit" | "8bit" | "binary" => Ok(Self::Identity),
            "base64" => Ok(Self::Base64),
            "quoted-printable" => Ok(Self::QuotedPrintable),
            other => Err(format!("unknown Content-Transfer-Encoding: {other}")),
        }
    }

    /// Decodes the content of a part.
    ///
    /// # Errors
    /// When it is not in this encoding.
    pub(super) fn decode(self, content: Bytes) -> Result<Bytes, String> {
        match self {
            Self::Identity => Ok(content),
            Self::Base64 => {
                let mut digits = content.to_vec();
                digits.retain(|byte| !byte.is_ascii_whitespace());
                STANDARD
                    .decode(digits)
                    .map(Bytes::from)
                    .map_err(|e| format!("Could not decode base64 data: {e}"))
            }
            Self::QuotedPrintable => quoted_printable(&content)
                .map(Bytes::from)
                .ok_or_else(|| "Could not decode quoted-printable data".to_owned()),
        }
    }
}

/// Decodes quoted-printable content; `None` for an escape that is none.
fn quoted_printable(content: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(content.len());
    let mut lines = content.split(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let (line, ending) = match line.strip_suffix(b"\r") {
            Some(line) if !is_last => (line, &b"\r\n"[..]),
            _ => (line, &b"\n"[..]),
        };
        // Blanks at the end of a line were added on the way (RFC 2045, section 6.7, rule 3).
        let line = line.trim_ascii_end();
        let (line, is_joined) = match line.strip_suffix(b"=") {
            Some(line) => (line, true),
            None => (line, false),
        };
        let mut rest = line.iter();
        while let Some(byte) = rest.next() {
            if *byte == b'=' {
                let digits = [*rest.next()?, *rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                decoded.push(u8::from_str_radix(digits, 16).ok()?);
            } else {
                decoded.push(*byte);
            }
        }
        if !is_last && !is_joined {
            decoded.extend_from_slice(ending);
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charset_is_that_of_the_media_type() {
        for (content_type, name) in [
            ("text/plain", None),
            ("text/plain; charset=utf-8", Some("UTF-8")),
            ("text/plain;CharSet=\"ISO-8859-1\"", Some("windows-1252")),
            (
                "text/plain; boundary=x; charset=shift_jis",
                Some("Shift_JIS"),
            ),
        ] {
            let charset = Charset::of(content_type).unwrap();
            assert_eq!(charset.map(|charset| charset.0.name()), name);
        }
        for unknown in ["utf-9", "", "iso-2022-kr"] {
            assert!(Charset::of(&format!("text/plain; charset={unknown}")).is_err());
        }
    }

    #[test]
    fn undecodable_text_is_an_error() {
        let latin = Charset::of("x; charset=latin1").unwrap().unwrap();
        assert_eq!(latin.decode(b"M\xfcnchen").unwrap(), "München");
        assert!(Charset::default().decode(b"M\xfcnchen").is_err());
        assert_eq!(
            Charset::default().decode("\u{feff}x".as_bytes()).unwrap(),
            "\u{feff}x"
        );
    }

    #[test]
    fn transfer_encodings_are_decoded() {
        let decode = |encoding: TransferEncoding, text: &'static str| {
            encoding.decode(Bytes::from_static(text.as_bytes()))
        };
        let quoted = |text| decode(TransferEncoding::QuotedPrintable, text);
        assert_eq!(quoted("J=C3=BCrgen").unwrap(), "Jürgen");
        assert_eq!(
            quoted("one =\r\ntwo=20\r\nthree  ").unwrap(),
            "one two \r\nthree"
        );
        assert_eq!(quoted("").unwrap(), "");
        for broken in ["=G0", "=4", "=+1"] {
            assert!(quoted(broken).is_err(), "{broken}");
        }
        assert_eq!(
            decode(TransferEncoding::Base64, "SsO8\r\ncmdlbg==").unwrap(),
            "Jürgen"
        );
        assert!(decode(TransferEncoding::Base64, "***").is_err());
    }
}
