//! The types of settings that have a form of their own, and how each is parsed and written as text.
//!
//! Owns parsing and normalisation: each type is built by `parse` alone, so a value of it is always
//! well formed. Does not know which settings exist, where a value came from, or how errors are
//! reported.
//!
//! ```text
//! listen_addr     where to accept connections      choices    settings with a fixed set of names
//! url             public URL and CORS origins      interval   lengths of time such as 90m
//! ip_network   trusted reverse proxies          checks     rules for settings that stay text
//! secret          values that are never shown      header_name  names of request headers
//! passkeys        origins and apps with passkeys
//! redirect_uri    where browsers return to
//! ```

mod checks;
mod choices;
mod header_name;
mod interval;
mod ip_network;
mod listen_addr;
mod passkeys;
mod redirect_uri;
mod secret;
mod url;

use std::fmt;

pub(super) use checks::{
    is_colour, is_fixed_otp, is_link, is_log_filter, is_mailbox, is_one_line, is_path, is_smtp_url,
    is_web_link,
};
pub use choices::{EmailChangeRule, FactorRequirement, LogFormat, MailTransportKind};
pub use header_name::HeaderName;
pub use interval::Interval;
pub use ip_network::IpNetwork;
pub use listen_addr::ListenAddr;
pub(super) use passkeys::is_rp_id;
pub use passkeys::{AndroidApp, AppleApp, PasskeyOrigin};
pub use redirect_uri::AppRedirectUri;
pub use secret::Secret;
pub(super) use url::host;
pub use url::{CorsOrigin, PublicUrl};

/// A value that is written as one piece of text.
pub(super) trait TextValue: Sized {
    /// What a valid value looks like, to follow the word "expected".
    const EXPECTED: &'static str;

    /// Parses the text; `None` when it is invalid.
    fn parse(text: &str) -> Option<Self>;

    /// The text that `parse` turns into the same value.
    fn text(&self) -> String;
}

/// The error of parsing a setting from text. `Display` says what is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidValue(&'static str);

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl std::error::Error for InvalidValue {}

macro_rules! from_str {
    ($($Value:ty),+) => { $(
        impl std::str::FromStr for $Value {
            type Err = InvalidValue;

            fn from_str(text: &str) -> Result<Self, InvalidValue> {
                Self::parse(text).ok_or(InvalidValue(<Self as TextValue>::EXPECTED))
            }
        }
    )+ };
}

from_str!(
    ListenAddr, PublicUrl, CorsOrigin, HeaderName, IpNetwork, Interval
);

/// Parses decimal digits alone: `FromStr` of the integer types accepts a sign as well.
fn digits<N: std::str::FromStr>(text: &str) -> Option<N> {
    (text.bytes().all(|b| b.is_ascii_digit())).then_some(())?;
    text.parse().ok()
}
