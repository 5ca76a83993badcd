//! Composition: turns a one-time password into a finished mail with a text and an HTML part.
//!
//! Owns the wording, the headers and the rule that everything is short-lined ASCII, so that a mail is readable on a
//! terminal and a script finds the code in it. Knows no clock and no randomness (both are handed in) and nothing of
//! how a mail travels.

use std::error::Error;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{From as FromHeader, HeaderName, HeaderValue, Headers, MessageId};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};
use lettre::{Address, Message};

use super::{Mail, MailError};
use crate::domain::{EmailAddress, OtpPurpose, Timestamp};

const TEXT: &str = include_str!("templates/otp.txt");
const HTML: &str = include_str!("templates/otp.html");
const NOTICE_TEXT: &str = include_str!("templates/change_notice.txt");
const NOTICE_HTML: &str = include_str!("templates/change_notice.html");

/// The last second that the `Date` header can name, 9999-12-31T23:59:59Z (RFC 5322, section 3.3: four digits).
const LAST_SECOND: u64 = 253_402_300_799;

/// What a mail says, by the purpose of its code. All of it is ASCII, has lines below 76 characters and needs no
/// escaping in HTML.
struct Wording {
    /// Follows the code in the subject.
    subject: &'static str,
    heading: &'static str,
    /// Leads over to the code.
    intro: &'static str,
    /// What to do for who asked for nothing.
    ignore: &'static str,
}

const fn wording(purpose: OtpPurpose) -> Wording {
    match purpose {
        OtpPurpose::SignUp => Wording {
            subject: "is your confirmation code",
            heading: "Confirm your address",
            intro: "Somebody, most likely you, signed up with this address.\n\
                    Enter this code to confirm that it is yours:",
            ignore: "If you asked for nothing, ignore this mail:\n\
                     without the code the sign-up comes to nothing.",
        },
        OtpPurpose::EmailChange => Wording {
            subject: "is the code for your new address",
            heading: "Confirm your new address",
            intro: "Somebody, most likely you, gave this as the new address of an account.\n\
                    Enter this code while you are signed in to confirm it:",
            ignore: "If you asked for nothing, ignore this mail:\n\
                     without the code the address stays unconfirmed.",
        },
        OtpPurpose::PasswordReset => Wording {
            subject: "is your password reset code",
            heading: "Reset your password",
            intro: "Somebody, most likely you, forgot the password of the account\n\
                    with this address. Enter this code to choose a new one:",
            ignore: "If you asked for nothing, ignore this mail:\n\
                     your password stays as it is.",
        },
    }
}

/// Composes the mails of one server: knows the sender and the name that message ids carry.
#[derive(Clone, Debug)]
pub struct Composer {
    from: Mailbox,
    id_domain: String,
}

mod ts {
    use super::Timestamp;
    use serde::*;
    pub fn serialize<S: Serializer>(t: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        t.unix_millis().serialize(s)
    }
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(d).map(Timestamp::from_unix_millis)
    }
}
/// TEMPORARY
pub struct ComposerOptions<'a> {
    pub from: &'a str,
    pub reply_to: Option<&'a str>,
    pub public_url: &'a str,
    pub product_name: &'a str,
    pub default_language: &'a str,
    pub templates_dir: Option<&'a std::path::Path>,
}
/// What a mail is to say.
#[derive(serde::Serialize, serde::Deserialize)]
pub enum MailContent {
    Otp {
        purpose: OtpPurpose,
        code: String,
        minutes: u64,
    },
    AddressChanged {
        new_email: String,
        link: String,
        days: u64,
    },
    PasswordChanged {
        #[serde(with = "ts")]
        at: Timestamp,
        ip: Option<String>,
    },
    NewSignIn {
        #[serde(with = "ts")]
        at: Timestamp,
        ip: String,
    },
    Test,
}
pub struct Language(String);
impl Language {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Composer {
    pub fn with(options: &ComposerOptions<'_>) -> Result<Self, MailError> {
        Self::new(options.from, options.public_url)
    }
    pub fn negotiate(&self, _: &str) -> Language {
        Language("en".into())
    }
    pub fn compose(
        &self,
        content: &MailContent,
        to: &EmailAddress,
        _language: &str,
        now: Timestamp,
        id: [u8; 16],
    ) -> Result<Mail, MailError> {
        match content {
            MailContent::Otp {
                purpose,
                code,
                minutes,
            } => self.otp(*purpose, to, code, *minutes, now, id),
            MailContent::AddressChanged {
                new_email,
                link,
                days,
            } => self.change_notice(
                to,
                &EmailAddress::parse(new_email).unwrap(),
                link,
                *days,
                now,
                id,
            ),
            _ => self.finish(
                to,
                Parts {
                    subject: "Notice".into(),
                    text: "Notice\n".into(),
                    html: "<p>Notice</p>".into(),
                    otp: None,
                    link: None,
                },
                now,
                id,
            ),
        }
    }
    /// A composer for mails from `from`, either `a@b` or `Name <a@b>`.
    ///
    /// Message ids carry the host of `public_url` where that is a DNS name with a dot, else the sender's domain.
    ///
    /// # Errors
    /// [`MailError::Address`] when `from` has neither form or its local part is not ASCII.
    pub fn new(from: &str, public_url: &str) -> Result<Self, MailError> {
        let from = parse_sender(from)?;
        let id_domain = dns_host(public_url).unwrap_or_else(|| from.email.domain().to_owned());
        Ok(Self { from, id_domain })
    }

    /// The mail that carries the one-time password `code`, six ASCII digits, to `to`.
    ///
    /// `minutes` is how long the code lives. `Date` comes from `now`, the `Message-ID` from `message_id_random`; the
    /// same arguments make the same bytes.
    ///
    /// The code is the first and the last group of six digits in the whole message. Only an address, of the recipient
    /// or the sender, can put another one in between.
    ///
    /// # Errors
    /// [`MailError::Address`] when mail syntax cannot express the recipient, [`MailError::Compose`] when `code` is
    /// not six digits or `now` lies outside the years 1970 to 9999.
    pub fn otp(
        &self,
        purpose: OtpPurpose,
        to: &EmailAddress,
        code: &str,
        minutes: u64,
        now: Timestamp,
        message_id_random: [u8; 16],
    ) -> Result<Mail, MailError> {
        if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
            return Err(compose_error("a code has six digits"));
        }
        let wording = wording(purpose);
        let life = match minutes {
            1 => "1 minute".to_owned(),
            _ => format!("{minutes} minutes"),
        };
        let fill = |template: &str| {
            template
                .replace("{{heading}}", wording.heading)
                .replace("{{intro}}", wording.intro)
                .replace("{{ignore}}", wording.ignore)
                .replace("{{life}}", &life)
                .replace("{{code}}", code)
        };
        let subject = format!("{code} {}", wording.subject);
        let parts = Parts {
            subject,
            text: fill(TEXT),
            html: fill(HTML),
            otp: Some(code.to_owned()),
            link: None,
        };
        self.finish(to, parts, now, message_id_random)
    }

    /// The notice to the address before a change: which address takes its place, and the link that undoes it.
    ///
    /// `link` is one of ours and works for `days` days.
    ///
    /// # Errors
    /// As [`Composer::otp`].
    pub fn change_notice(
        &self,
        to: &EmailAddress,
        new_email: &EmailAddress,
        link: &str,
        days: u64,
        now: Timestamp,
        message_id_random: [u8; 16],
    ) -> Result<Mail, MailError> {
        let fill = |template: &str, escape: fn(&str) -> String| {
            template
                .replace("{{days}}", &days.to_string())
                .replace("{{link}}", &escape(link))
                // Last, because an address is the one piece here that somebody else has chosen.
                .replace("{{email}}", &escape(&new_email.ascii()))
        };
        let parts = Parts {
            subject: "The address of your account was changed".to_owned(),
            text: fill(NOTICE_TEXT, str::to_owned),
            html: fill(NOTICE_HTML, escape_html),
            otp: None,
            link: Some(link.to_owned()),
        };
        self.finish(to, parts, now, message_id_random)
    }

    fn finish(
        &self,
        to: &EmailAddress,
        parts: Parts,
        now: Timestamp,
        message_id_random: [u8; 16],
    ) -> Result<Mail, MailError> {
        let Parts {
            subject,
            text,
            html,
            otp,
            link,
        } = parts;
        let id = letters(&message_id_random);
        let recipient = recipient(to)?;
        // Derived from the headers, the envelope of a quoted local part would be lost.
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![recipient.clone()])
            .map_err(|e| incomplete(e.into()))?;

        // The subject goes before the addresses: whoever takes the first six digits of the message then gets the
        // code, even when an address has a group of six digits of its own.
        let message = Message::builder()
            .date(system_time(now)?)
            .subject(subject.clone())
            .from(self.from.clone())
            .to(Mailbox::new(None, recipient))
            .envelope(envelope)
            .header(MessageId::from(format!("<{id}@{}>", self.id_domain)))
            // RFC 3834, section 5: keeps holiday notices and list software from answering.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .multipart(
                // Half of the id keeps the header in one short line. The boundary need not be unique in the world,
                // only absent from the parts, which have no such run of letters.
                MultiPart::alternative()
                    .boundary(&id[..16])
                    .singlepart(SinglePart::plain(text.clone()))
                    .singlepart(SinglePart::html(html.clone())),
            )
            .map_err(|e| incomplete(e.into()))?;
        Ok(Mail {
            to: to.clone(),
            from: self.from.to_string(),
            subject,
            text,
            html,
            otp,
            link,
            created_at: now,
            id,
            message,
        })
    }
}

/// What differs from mail to mail.
struct Parts {
    subject: String,
    text: String,
    html: String,
    otp: Option<String>,
    link: Option<String>,
}

/// Takes the meaning of markup from a text.
fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

fn compose_error(message: &str) -> MailError {
    MailError::Compose {
        message: message.to_owned(),
        source: None,
    }
}

fn incomplete(source: Box<dyn Error + Send + Sync>) -> MailError {
    MailError::Compose {
        message: "sender and recipient do not make an envelope".to_owned(),
        source: Some(source),
    }
}

/// Writes bytes as the letters `a` to `p`, two for each: an id without a digit cannot be taken for a code.
fn letters(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(b'a' + nibble))
        .collect()
}

fn system_time(now: Timestamp) -> Result<SystemTime, MailError> {
    u64::try_from(now.unix_seconds())
        .ok()
        .filter(|seconds| *seconds <= LAST_SECOND)
        .map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        .ok_or_else(|| compose_error("the clock is outside the years 1970 to 9999; set it right"))
}

/// The address in the form of SMTP.
///
/// [`EmailAddress`] has checked it more closely than lettre would, whose limit of 64 characters for the local part the API
/// does not have; what must not be in a header or a command is looked for once more.
fn recipient(to: &EmailAddress) -> Result<Address, MailError> {
    let ascii = to.ascii();
    match ascii.rsplit_once('@') {
        Some((local, domain)) if ascii.bytes().all(|b| (0x21..0x7f).contains(&b)) => {
            Ok(Address::new_dangerous(local, domain))
        }
        _ => Err(MailError::Address {
            message: "the recipient's address cannot be written into a mail".to_owned(),
            source: None,
        }),
    }
}

fn parse_sender(from: &str) -> Result<Mailbox, MailError> {
    let unusable = |source| MailError::Address {
        message: format!(
            "{from:?} is no sender; write \"accounts@example.com\" or \"Name <accounts@example.com>\""
        ),
        source,
    };
    if from.chars().any(char::is_control) {
        return Err(unusable(None));
    }
    let trimmed = from.trim();
    let (name, address) = match trimmed
        .strip_suffix('>')
        .and_then(|rest| rest.rsplit_once('<'))
    {
        Some((name, address)) => (name.trim(), address.trim()),
        None => ("", trimmed),
    };
    let name = name
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .map_or_else(|| name.to_owned(), unquoted);
    let (local, domain) = address
        .rsplit_once('@')
        .filter(|(local, _)| local.is_ascii())
        .ok_or_else(|| unusable(None))?;
    let domain = if domain.is_ascii() {
        domain.to_owned()
    } else {
        idna::domain_to_ascii(domain).map_err(|e| unusable(Some(e.into())))?
    };
    let address = Address::new(local, domain).map_err(|e| unusable(Some(e.into())))?;
    let sender = Mailbox::new(Some(name).filter(|n| !n.is_empty()), address);
    // The builder reads the header back for each mail: what it cannot read is better told now than then.
    let mut headers = Headers::new();
    headers.set(FromHeader::from(Mailboxes::from(sender.clone())));
    match headers.get::<FromHeader>() {
        Some(_) => Ok(sender),
        None => Err(unusable(None)),
    }
}

/// Takes the backslashes out of the inside of a quoted string (RFC 5322, section 3.2.4).
fn unquoted(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::with_capacity(text.len());
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

/// The host of a URL, when it is a DNS name with a dot and no IP address.
fn dns_host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    if host.starts_with('[') {
        return None;
    }
    let host = idna::domain_to_ascii(host.split(':').next()?).ok()?;
    let is_name = host.contains('.')
        && host.parse::<IpAddr>().is_err()
        && host
            .split('.')
            .all(|label| !label.is_empty() && label.bytes().all(is_label_byte));
    is_name.then_some(host)
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_733_227_200_123);
    const PURPOSES: [OtpPurpose; 3] = [
        OtpPurpose::SignUp,
        OtpPurpose::EmailChange,
        OtpPurpose::PasswordReset,
    ];

    fn composer() -> Composer {
        Composer::new(
            "Example Inc. <accounts@example.com>",
            "https://id.example.org:8443/x",
        )
        .unwrap()
    }

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).unwrap()
    }

    fn compose(purpose: OtpPurpose, code: &str, minutes: u64, random: [u8; 16]) -> Mail {
        composer()
            .otp(
                purpose,
                &address("ann@example.com"),
                code,
                minutes,
                NOW,
                random,
            )
            .unwrap()
    }

    fn raw(mail: &Mail) -> String {
        String::from_utf8(mail.raw()).unwrap()
    }

    /// Sixteen bytes that look random and are the same in every run (splitmix64).
    fn scrambled(seed: u64) -> [u8; 16] {
        let mut bytes = [0; 16];
        for (half, chunk) in bytes.chunks_mut(8).enumerate() {
            let mut z = (2 * seed + half as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_be_bytes());
        }
        bytes
    }

    /// All runs of exactly six digits with no letter, digit or underscore beside them: `\b\d{6}\b`.
    fn six_digit_groups(text: &str) -> Vec<&str> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.len() == 6 && word.bytes().all(|b| b.is_ascii_digit()))
            .collect()
    }

    #[test]
    fn headers_are_complete_and_in_order() {
        let raw = raw(&compose(OtpPurpose::SignUp, "012345", 10, [0x0f; 16]));
        let (head, _) = raw.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            head.split("\r\n").collect::<Vec<_>>(),
            [
                "Date: Tue, 03 Dec 2024 12:00:00 +0000",
                "Subject: 012345 is your confirmation code",
                "From: \"Example Inc.\" <accounts@example.com>",
                "To: ann@example.com",
                "Message-ID: <apapapapapapapapapapapapapapapap@id.example.org>",
                "Auto-Submitted: auto-generated",
                "MIME-Version: 1.0",
                "Content-Type: multipart/alternative; boundary=\"apapapapapapapap\"",
            ]
        );
    }

    #[test]
    fn the_parts_read_back_as_text_and_html() {
        let mail = compose(OtpPurpose::PasswordReset, "987654", 10, [7; 16]);
        let raw = raw(&mail);
        let boundary = format!("--{}", &mail.id[..16]);
        let pieces: Vec<_> = raw.split(boundary.as_str()).collect();
        assert_eq!(pieces.len(), 4, "{raw}");
        assert_eq!(pieces[3], "--\r\n");
        for (piece, kind, body) in [
            (pieces[1], "text/plain", &mail.text),
            (pieces[2], "text/html", &mail.html),
        ] {
            let (head, content) = piece.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Type: {kind}; charset=utf-8")));
            assert!(head.contains("Content-Transfer-Encoding: 7bit"));
            assert_eq!(content.replace("\r\n", "\n").trim_end(), body.trim_end());
        }
        assert_eq!(mail.subject, "987654 is your password reset code");
        assert_eq!(mail.from, "\"Example Inc.\" <accounts@example.com>");
        assert_eq!(mail.otp.as_deref(), Some("987654"));
        assert_eq!(mail.link, None);
        assert_eq!(mail.created_at, NOW);
    }

    #[test]
    fn the_text_names_code_life_and_what_to_do() {
        for purpose in PURPOSES {
            let mail = compose(purpose, "000042", 10, [1; 16]);
            assert!(mail.text.lines().any(|line| line == "000042"));
            for body in [&mail.text, &mail.html] {
                assert!(body.contains("10 minutes"));
                assert!(body.contains("Never share it"));
                assert!(body.contains("ignore this mail"));
                assert!(!body.contains("{{") && !body.contains("://"));
            }
            let wording = wording(purpose);
            for text in [wording.heading, wording.intro, wording.ignore] {
                assert!(!text.contains(['<', '>', '&', '"']), "{text}");
            }
        }
        let short = compose(OtpPurpose::SignUp, "000042", 1, [1; 16]);
        assert!(short.text.contains("good for 1 minute and"));
    }

    #[test]
    fn every_line_is_short_ascii_with_crlf() {
        for purpose in PURPOSES {
            let raw = raw(&compose(purpose, "123456", 10_000, [255; 16]));
            assert!(raw.ends_with("\r\n"));
            for line in raw.split("\r\n") {
                assert!(line.len() < 76, "{line}");
                assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line:?}");
            }
        }
    }

    #[test]
    fn the_code_is_the_only_group_of_six_digits() {
        for (seed, purpose) in (0..2_000).zip(PURPOSES.into_iter().cycle()) {
            let code = format!("{:06}", seed * 499);
            let raw = raw(&compose(purpose, &code, 10, scrambled(seed)));
            let groups = six_digit_groups(&raw);
            assert_eq!(groups.len(), 3, "subject, text and HTML: {groups:?}");
            assert!(groups.iter().all(|group| *group == code), "{groups:?}");
        }
    }

    #[test]
    fn the_code_comes_first_and_last_whatever_the_address() {
        let mail = composer()
            .otp(
                OtpPurpose::SignUp,
                &address("654321@example.com"),
                "123456",
                10,
                NOW,
                [3; 16],
            )
            .unwrap();
        let raw = raw(&mail);
        let groups = six_digit_groups(&raw);
        assert_eq!(groups.first(), Some(&"123456"));
        assert_eq!(groups.last(), Some(&"123456"));
    }

    #[test]
    fn unusual_recipients_stand_in_header_and_envelope_as_they_are() {
        for to in [
            "o'neil+tag@example.com",
            "!#$%&'*+/=?^_`{}|~-@example.com",
            "\"john@doe\"@example.com",
            "ann@localhost",
            "ann@[127.0.0.1]",
        ] {
            let mail = composer()
                .otp(OtpPurpose::SignUp, &address(to), "123456", 10, NOW, [3; 16])
                .unwrap();
            assert!(
                raw(&mail).contains(&format!("\r\nTo: {to}\r\n")),
                "{}",
                raw(&mail)
            );
            let envelope = mail.message.envelope();
            assert_eq!(
                envelope
                    .to()
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
                [to]
            );
            assert_eq!(envelope.from().unwrap().to_string(), "accounts@example.com");
        }
    }

    #[test]
    fn the_same_arguments_make_the_same_bytes() {
        let one = compose(OtpPurpose::EmailChange, "111111", 10, [9; 16]);
        let two = compose(OtpPurpose::EmailChange, "111111", 10, [9; 16]);
        assert_eq!(one.raw(), two.raw());
    }

    #[test]
    fn what_is_no_code_or_no_date_is_refused() {
        let to = address("ann@example.com");
        for code in ["", "12345", "1234567", "12 456", "1\r\n: x", "12345é"] {
            let made = composer().otp(OtpPurpose::SignUp, &to, code, 10, NOW, [0; 16]);
            assert!(matches!(made, Err(MailError::Compose { .. })), "{code:?}");
        }
        for millis in [-1_000, i64::MAX] {
            let now = Timestamp::from_unix_millis(millis);
            let made = composer().otp(OtpPurpose::SignUp, &to, "123456", 10, now, [0; 16]);
            assert!(matches!(made, Err(MailError::Compose { .. })), "{millis}");
        }
    }

    #[test]
    fn senders_are_read_in_both_forms() {
        for (given, shown) in [
            ("a@example.com", "a@example.com"),
            (" accounts@localhost ", "accounts@localhost"),
            ("Ann Lee <a@example.com>", "Ann Lee <a@example.com>"),
            (
                "\"Lee, \\\"Ann\\\"\" <a@example.com>",
                "\"Lee, \\\"Ann\\\"\" <a@example.com>",
            ),
            ("<a@b\u{fc}cher.example>", "a@xn--bcher-kva.example"),
        ] {
            let composer = Composer::new(given, "http://127.0.0.1:8000").unwrap();
            assert_eq!(composer.from.to_string(), shown, "{given}");
        }
        for wrong in [
            "",
            "accounts",
            "Name <>",
            "a@b, c@d",
            "Name <a@b> x",
            "N\r\nBcc: x@y <a@example.com>",
            "\u{e9}@example.com",
        ] {
            let error = Composer::new(wrong, "http://localhost").unwrap_err();
            assert!(matches!(error, MailError::Address { .. }), "{wrong:?}");
            assert!(error.to_string().contains("write \"accounts@example.com\""));
        }
    }

    #[test]
    fn a_foreign_name_of_the_sender_is_encoded() {
        let mail = Composer::new("Caf\u{e9} <a@example.com>", "http://localhost")
            .unwrap()
            .otp(
                OtpPurpose::SignUp,
                &address("ann@example.com"),
                "123456",
                10,
                NOW,
                [0; 16],
            )
            .unwrap();
        let raw = raw(&mail);
        assert!(raw.is_ascii());
        assert!(
            raw.contains("From: =?utf-8?b?Q2Fmw6k=?= <a@example.com>"),
            "{raw}"
        );
        assert!(raw.contains("@example.com>\r\nAuto-Submitted"), "{raw}");
    }

    #[test]
    fn message_ids_carry_a_dns_name_only() {
        assert_eq!(
            dns_host("https://u@id.example.org:1/p"),
            Some("id.example.org".to_owned())
        );
        assert_eq!(
            dns_host("https://B\u{fc}cher.example"),
            Some("xn--bcher-kva.example".to_owned())
        );
        for other in [
            "http://127.0.0.1:8000",
            "http://[::1]:80",
            "http://localhost",
            "",
            "http://a_b.c",
        ] {
            assert_eq!(dns_host(other), None, "{other}");
        }
    }
}
