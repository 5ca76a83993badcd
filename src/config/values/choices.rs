//! Settings that take one of a few names.

use super::TextValue;
use crate::domain::SigningAlgorithm;

/// How mail is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTransportKind {
    /// To the SMTP server of `smtp_url`.
    Smtp,
    /// Printed to standard output.
    Stdout,
    /// To the local `sendmail` program.
    Sendmail,
    /// One file for each mail, in `dir`.
    File,
}

impl MailTransportKind {
    const ALL: [Self; 4] = [Self::Smtp, Self::Stdout, Self::Sendmail, Self::File];

    /// The name in file, environment and flags.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Stdout => "stdout",
            Self::Sendmail => "sendmail",
            Self::File => "file",
        }
    }
}

impl TextValue for MailTransportKind {
    const EXPECTED: &'static str = "one of smtp, stdout, sendmail and file";

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

/// What a change of one's own address needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmailChangeRule {
    /// A valid access token.
    Token,
    /// Recent authentication as well.
    Recent,
}

impl EmailChangeRule {
    /// Whether it needs recent authentication.
    pub fn wants_recent(self) -> bool {
        self == Self::Recent
    }
}

impl TextValue for EmailChangeRule {
    const EXPECTED: &'static str = "token or recent";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "token" => Some(Self::Token),
            "recent" => Some(Self::Recent),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Token => "token".to_owned(),
            Self::Recent => "recent".to_owned(),
        }
    }
}

/// Who has to have a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorRequirement {
    /// Everybody decides for themselves.
    Nobody,
    /// Staff accounts.
    Staff,
    /// All accounts.
    Everyone,
}

impl FactorRequirement {
    const ALL: [Self; 3] = [Self::Nobody, Self::Staff, Self::Everyone];

    /// Whether it concerns an account.
    pub fn concerns(self, is_staff: bool) -> bool {
        match self {
            Self::Nobody => false,
            Self::Staff => is_staff,
            Self::Everyone => true,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Staff => "staff",
            Self::Everyone => "everyone",
        }
    }
}

impl TextValue for FactorRequirement {
    const EXPECTED: &'static str = "nobody, staff or everyone";

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|who| who.as_str() == text)
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

impl TextValue for SigningAlgorithm {
    const EXPECTED: &'static str = "one of ES256, EdDSA and RS256";

    fn parse(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object per line.
    Json,
}

impl TextValue for LogFormat {
    const EXPECTED: &'static str = "text or json";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}
