//! Origins and apps that use passkeys.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{CorsOrigin, TextValue};
use crate::domain::is_passkey_domain;

/// What Android puts before the hash of an app's certificate.
const ANDROID: &str = "android:apk-key-hash:";

/// Bytes of a SHA-256 hash.
const HASH_BYTES: usize = 32;

/// Characters of the id of an Apple team.
const TEAM_LENGTH: usize = 10;

/// An origin that may use passkeys: of a website, or `android:apk-key-hash:…` of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyOrigin(String);

impl PasskeyOrigin {
    /// The origin as clients write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of a website.
    pub fn is_web(&self) -> bool {
        !self.0.starts_with(ANDROID)
    }
}

impl TextValue for PasskeyOrigin {
    const EXPECTED: &'static str =
        "origins such as https://app.example.com or android:apk-key-hash:…, without a path";

    fn parse(text: &str) -> Option<Self> {
        if let Some(hash) = text.strip_prefix(ANDROID) {
            let bytes = URL_SAFE_NO_PAD.decode(hash).ok()?;
            return (bytes.len() == HASH_BYTES).then(|| Self(text.to_owned()));
        }
        let origin = CorsOrigin::parse(text)?;
        let is_web = ["https://", "http://"]
            .iter()
            .any(|scheme| origin.as_str().starts_with(scheme));
        is_web.then(|| Self(origin.as_str().to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// An Android app and the certificate that it is signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AndroidApp {
    package: String,
    fingerprint: [u8; HASH_BYTES],
}

impl AndroidApp {
    /// The name of its package.
    pub fn package(&self) -> &str {
        &self.package
    }

    /// The SHA-256 fingerprint of the certificate, in hexadecimal with colons.
    pub fn fingerprint(&self) -> String {
        let bytes: Vec<_> = self
            .fingerprint
            .iter()
            .map(|b| format!("{b:02X}"))
            .collect();
        bytes.join(":")
    }

    /// The origin of the passkeys that it uses.
    pub fn origin(&self) -> String {
        format!("{ANDROID}{}", URL_SAFE_NO_PAD.encode(self.fingerprint))
    }
}

impl TextValue for AndroidApp {
    const EXPECTED: &'static str = "apps such as com.example.app=14:6D:…, the name of the package \
         and the SHA-256 fingerprint of its certificate";

    fn parse(text: &str) -> Option<Self> {
        let (package, fingerprint) = text.split_once('=')?;
        let mut bytes = [0; HASH_BYTES];
        let digits = fingerprint.split(':').collect::<Vec<_>>();
        (digits.len() == HASH_BYTES).then_some(())?;
        for (byte, digits) in bytes.iter_mut().zip(digits) {
            let is_hex = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = is_hex
                .then(|| u8::from_str_radix(digits, 16).ok())
                .flatten()?;
        }
        is_app_name(package).then(|| Self {
            package: package.to_owned(),
            fingerprint: bytes,
        })
    }

    fn text(&self) -> String {
        format!("{}={}", self.package, self.fingerprint())
    }
}

/// An app of Apple's systems: its team and bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppleApp(String);

impl AppleApp {
    /// Team and bundle, as Apple writes them.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TextValue for AppleApp {
    const EXPECTED: &'static str = "apps such as ABCDE12345.com.example.app, team and bundle";

    fn parse(text: &str) -> Option<Self> {
        let (team, bundle) = text.split_once('.')?;
        let is_team = team.len() == TEAM_LENGTH && team.bytes().all(|b| b.is_ascii_alphanumeric());
        (is_team && is_app_name(bundle)).then(|| Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

/// Whether the text is a name such as `com.example.app`.
fn is_app_name(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    text.split('.').all(is_part)
}

/// Whether the text is a domain to which passkeys can be bound, or empty.
pub(in crate::config) fn is_rp_id(text: &str) -> bool {
    text.is_empty() || is_passkey_domain(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "14:6D:E9:83:C5:73:06:50:D8:EE:B9:95:2F:34:FC:64:16:A0:83:42:E6:1D:BE:A8:8A:04:96:B2:3F:CF:44:E5";

    #[test]
    fn origins_are_of_websites_and_of_android_apps() {
        for (text, is_web) in [
            ("https://app.example.com", true),
            ("http://localhost:5173", true),
            (
                "android:apk-key-hash:FG3pg8VzBlDY7rmVLzT8ZBagg0LmHb6oigSWsj_PROU",
                false,
            ),
        ] {
            let origin = PasskeyOrigin::parse(text).expect(text);
            assert_eq!((origin.as_str(), origin.is_web()), (text, is_web));
        }
        for text in [
            "",
            "app.example.com",
            "https://app.example.com/",
            "capacitor://localhost",
            "android:apk-key-hash:",
            "android:apk-key-hash:FG3pg8Vz",
            "ios:bundle-id:com.example.app",
        ] {
            assert_eq!(PasskeyOrigin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn android_app_has_an_origin() {
        let text = format!("com.example.app={}", FINGERPRINT.to_lowercase());
        let app = AndroidApp::parse(&text).unwrap();
        assert_eq!(app.package(), "com.example.app");
        assert_eq!(app.fingerprint(), FINGERPRINT);
        assert_eq!(
            app.origin(),
            "android:apk-key-hash:FG3pg8VzBlDY7rmVLzT8ZBagg0LmHb6oigSWsj_PROU"
        );
        assert_eq!(AndroidApp::parse(&app.text()), Some(app));
        for text in [
            FINGERPRINT.to_owned(),
            format!("={FINGERPRINT}"),
            format!("com..app={FINGERPRINT}"),
            format!("com.example.app={}", &FINGERPRINT[3..]),
            format!("com.example.app={}", FINGERPRINT.replace("14", "+4")),
        ] {
            assert_eq!(AndroidApp::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn apple_apps_have_a_team_and_a_bundle() {
        assert!(AppleApp::parse("ABCDE12345.com.example.app").is_some());
        for text in [
            "",
            "com.example.app",
            "ABCDE12345",
            "ABCDE12345.",
            "ABCDE12345.a/b",
        ] {
            assert_eq!(AppleApp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn passkeys_are_bound_to_domains() {
        for text in ["", "example.com", "localhost", "xn--bcher-kva.example"] {
            assert!(is_rp_id(text), "{text}");
        }
        for text in [
            "Example.com",
            "example.com.",
            "https://a.example",
            "10.0.0.1",
            "::1",
            "a_b",
        ] {
            assert!(!is_rp_id(text), "{text}");
        }
    }
}
