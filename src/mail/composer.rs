//! Composes messages with a text and an HTML part.
//!
//! Owns the headers and their encoding, and the rule that scripts find the code in the text part. Clock and
//! randomness are parameters; transports are unknown here.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{
    ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MessageId,
};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use minijinja::Value;

use super::mailbox::{dns_host, parse_mailbox, recipient};
use super::templates::{Rendered, Templates, Values};
use super::{Mail, MailContent, MailError};
use crate::domain::{EmailAddress, Timestamp};
use crate::templates::Languages;

/// The last second of the `Date` header, 9999-12-31T23:59:59Z (RFC 5322, section 3.3: four digits).
const LAST_SECOND: u64 = 253_402_300_799;

/// Most characters on a line of a message (RFC 5322, section 2.1.1).
const MAX_LINE: usize = 998;

/// Settings of a [`Composer`].
pub struct ComposerOptions<'a> {
    /// The sender, `a@b` or `Name <a@b>`. Every mail shows the name at the top.
    pub from: &'a str,
    /// The `Reply-To`, in the same forms; the sender by default.
    pub reply_to: Option<&'a str>,
    /// The server's public URL. Message ids contain its host if it is a DNS name with a dot, else the
    /// sender's domain.
    pub public_url: &'a str,
    /// The language of recipients without one.
    pub default_language: &'a str,
    /// A directory with templates and languages that override the built-in ones.
    pub templates_dir: Option<&'a Path>,
}

/// Composes the mails of one server.
pub struct Composer {
    from: Mailbox,
    reply_to: Option<Mailbox>,
    id_domain: String,
    templates: Templates,
}

impl Composer {
    /// Reads the templates and checks custom ones.
    ///
    /// # Errors
    /// [`MailError::Address`] when a mailbox has neither form or its local part is not ASCII;
    /// [`MailError::Setup`] when a template cannot be read or is wrong, with file and line.
    pub fn new(options: &ComposerOptions<'_>) -> Result<Self, MailError> {
        let from = parse_mailbox(options.from)?;
        let languages =
            Languages::load(options.templates_dir, options.default_language).map_err(|e| {
                MailError::Setup {
                    message: e.to_string(),
                    source: None,
                }
            })?;
        let composer = Self {
            reply_to: options.reply_to.map(parse_mailbox).transpose()?,
            id_domain: dns_host(options.public_url)
                .unwrap_or_else(|| from.email.domain().to_owned()),
            from,
            templates: Templates::load(Arc::new(languages), options.templates_dir)?,
        };
        if options.templates_dir.is_some() {
            composer.check_templates()?;
        }
        Ok(composer)
    }

    /// Chooses the language for an `Accept-Language` (RFC 9110, section 12.5.4); empty if none matches.
    ///
    /// It is the most preferred one that RFC 4647's lookup finds, or another variety of that language.
    pub fn negotiate(&self, accept_language: &str) -> &str {
        self.templates
            .languages()
            .negotiate(accept_language)
            .unwrap_or("")
    }

    /// The sentences, which pages share.
    pub fn shared_languages(&self) -> Arc<Languages> {
        Arc::clone(self.templates.languages())
    }

    /// The sender's address, as SMTP writes it.
    pub fn sender(&self) -> String {
        self.from.email.to_string()
    }

    /// The tags of all languages.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.templates.languages().tags()
    }

    /// Composes a mail in the language nearest to `language` (BCP 47; empty for the default).
    ///
    /// `Date` comes from `now`, the `Message-ID` from `message_id_random`: equal arguments make equal bytes.
    ///
    /// The code is the first and the last group of six digits in the message. Only an address of the
    /// recipient or the sender or a custom template can add another one in between.
    ///
    /// # Errors
    /// [`MailError::Address`] when mail syntax cannot express the recipient, [`MailError::Compose`] when a
    /// code is not six digits, `now` is outside the years 1970 to 9999 or a template fails.
    #[expect(
        clippy::too_many_lines,
        reason = "it has one arm for each kind of mail"
    )]
    pub fn compose(
        &self,
        content: &MailContent,
        to: &EmailAddress,
        language: &str,
        now: Timestamp,
        message_id_random: [u8; 16],
    ) -> Result<Mail, MailError> {
        let mut values = webhook_values(content);
        let (mut otp, mut link, mut ip, mut requested_at) = (None, None, None, now);
        match content {
            MailContent::Otp {
                code,
                minutes,
                link: confirm,
                ip: client,
                requested_at: at,
                ..
            } => {
                if code.len() != 6 || !code.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(compose_error("a code has six digits"));
                }
                values.insert("code", Value::from(code));
                values.insert("minutes", Value::from(*minutes));
                otp = Some(code.clone());
                link.clone_from(confirm);
                ip.clone_from(client);
                requested_at = at.map_or(now, |seconds| {
                    Timestamp::from_unix_millis(seconds.saturating_mul(1_000))
                });
            }
            MailContent::AddressChanged {
                new_email,
                link: undo,
                days,
            } => {
                values.insert("new_email", Value::from(masked_address(new_email)));
                values.insert("days", Value::from(*days));
                link = Some(undo.clone());
            }
            MailContent::AddressChangedAgain {
                new_email,
                ip: client,
            }
            | MailContent::AddressConfirmed {
                new_email,
                ip: client,
            } => {
                values.insert("new_email", Value::from(masked_address(new_email)));
                ip.clone_from(client);
            }
            MailContent::AddressRestored { ip: client }
            | MailContent::PasswordChanged { ip: client }
            | MailContent::FactorRemoved { ip: client }
            | MailContent::WebhookChanged { ip: client, .. }
            | MailContent::AccountDeleted { ip: client } => ip.clone_from(client),
            MailContent::FactorAdded {
                ip: client,
                link: undo,
                days,
            } => {
                values.insert("days", Value::from(*days));
                link.clone_from(undo);
                ip = Some(client.clone());
            }
            MailContent::PasskeyAdded {
                name,
                ip: client,
                link: undo,
                days,
            } => {
                values.insert("name", Value::from(name.as_str()));
                values.insert("days", Value::from(*days));
                link.clone_from(undo);
                ip = Some(client.clone());
            }
            MailContent::PasskeyRemoved { name, ip: client } => {
                values.insert("name", Value::from(name.as_str()));
                ip = Some(client.clone());
            }
            MailContent::IdentityConnected {
                provider,
                email,
                ip: client,
                link: undo,
                days,
            } => {
                values.insert("name", Value::from(identity(provider, email)));
                values.insert("days", Value::from(*days));
                link.clone_from(undo);
                ip = Some(client.clone());
            }
            MailContent::IdentityDisconnected {
                provider,
                email,
                ip: client,
            } => {
                values.insert("name", Value::from(identity(provider, email)));
                ip = Some(client.clone());
            }
            MailContent::NewSignIn { ip: client }
            | MailContent::AppRemoved { ip: client }
            | MailContent::RecoveryCodesReplaced { ip: client } => ip = Some(client.clone()),
            MailContent::Invitation { link: accept, days } => {
                values.insert("days", Value::from(*days));
                link = Some(accept.clone());
            }
            MailContent::AddressRemoved
            | MailContent::Promoted
            | MailContent::WebhookDisabled { .. }
            | MailContent::Test => {}
        }
        if !matches!(
            content,
            MailContent::AddressChanged { .. } | MailContent::Invitation { .. } | MailContent::Test
        ) {
            values.insert("time", Value::from(minute(requested_at)));
            values.insert("ip", Value::from(ip));
        }
        if otp.is_some() || link.is_some() {
            values.insert("link", Value::from(link.clone()));
        }
        values.insert("product", Value::from(self.from.name.as_deref()));
        let rendered =
            self.templates
                .render(content.section(), content.template(), language, values)?;
        let message = self.message(to, &rendered, now, message_id_random)?;
        let Rendered {
            subject,
            text,
            html,
        } = rendered;
        Ok(Mail {
            to: to.clone(),
            from: self.from.to_string(),
            subject,
            text,
            html,
            otp,
            link,
            created_at: now,
            id: letters(&message_id_random),
            message,
        })
    }

    /// Composes every mail in every language, to find mistakes in custom templates before a mail is lost.
    fn check_templates(&self) -> Result<(), MailError> {
        let to = EmailAddress::parse("somebody@example.com").map_err(|_| MailError::Address {
            message: "the address of a sample is invalid".to_owned(),
            source: None,
        })?;
        let now = Timestamp::from_unix_millis(0);
        for tag in self.languages() {
            for (_, content) in MailContent::samples() {
                let mail = self
                    .compose(&content, &to, tag, now, [0; 16])
                    .map_err(|e| match e {
                        // The same mistake, but of the operator.
                        MailError::Compose { message, source } => {
                            MailError::Setup { message, source }
                        }
                        other => other,
                    })?;
                let complaint = |lack: &str| MailError::Setup {
                    message: format!(
                        "the mail {} in {tag} {lack}; see {}.txt, {}.html and [{}] in languages/{tag}.toml",
                        content.section(),
                        content.template(),
                        content.template(),
                        content.section()
                    ),
                    source: None,
                };
                if mail.subject.is_empty() {
                    return Err(complaint("has no subject"));
                }
                for (part, name) in [(&mail.text, "text"), (&mail.html, "HTML")] {
                    let lacks = |needed: &Option<String>| {
                        needed.as_ref().is_some_and(|needed| !part.contains(needed))
                    };
                    if lacks(&mail.otp) || (mail.otp.is_none() && lacks(&mail.link)) {
                        return Err(complaint(&format!(
                            "does not show its code or link in the {name} part"
                        )));
                    }
                    // A template for a version without these links works as before.
                    if lacks(&mail.link) {
                        let problem =
                            complaint(&format!("does not show its link in the {name} part"));
                        log::warn!("{problem}");
                    }
                }
            }
        }
        Ok(())
    }

    fn message(
        &self,
        to: &EmailAddress,
        rendered: &Rendered,
        now: Timestamp,
        message_id_random: [u8; 16],
    ) -> Result<Message, MailError> {
        let id = letters(&message_id_random);
        let recipient = recipient(to)?;
        // The envelope that lettre derives from the headers loses quoted local parts.
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![recipient.clone()])
            .map_err(|e| incomplete(e.into()))?;

        // The subject precedes the addresses: the first six digits of the message are then the code, even
        // when an address contains six digits.
        let mut builder = Message::builder()
            .date(system_time(now)?)
            .subject(rendered.subject.clone())
            .from(self.from.clone())
            .to(Mailbox::new(None, recipient));
        if let Some(reply_to) = &self.reply_to {
            builder = builder.reply_to(reply_to.clone());
        }
        builder
            .envelope(envelope)
            .header(MessageId::from(format!("<{id}@{}>", self.id_domain)))
            // RFC 3834, section 5: prevents automatic replies.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .multipart(
                // Half of the id keeps the header on one line. The boundary only has to be absent from the
                // parts, which have no such run of letters.
                MultiPart::alternative()
                    .boundary(&id[..16])
                    .singlepart(part(ContentType::TEXT_PLAIN, &rendered.text))
                    .singlepart(part(ContentType::TEXT_HTML, &rendered.html)),
            )
            .map_err(|e| incomplete(e.into()))
    }
}

impl std::fmt::Debug for Composer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Composer")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// A part of a message: unencoded when it is ASCII, else quoted-printable, which keeps digits readable.
fn part(kind: ContentType, text: &str) -> SinglePart {
    let is_plain = text
        .lines()
        .all(|line| line.len() <= MAX_LINE && line.bytes().all(|b| (0x20..0x7f).contains(&b)));
    let text = text.replace('\n', "\r\n");
    let body = match is_plain {
        // lettre would also encode lines of more than 76 characters.
        true => Body::dangerous_pre_encoded(text.into_bytes(), ContentTransferEncoding::SevenBit),
        false => Body::new_with_encoding(text, ContentTransferEncoding::QuotedPrintable)
            .expect("every text can be written as quoted-printable"),
    };
    SinglePart::builder().header(kind).body(body)
}

/// As much of an address as its owner needs to recognise it.
///
/// Someone else may have chosen it, and mail programs turn everything that looks like a link into one.
fn masked_address(address: &str) -> String {
    EmailAddress::parse(address).map_or_else(|_| String::from("***"), |email| email.masked())
}

/// An identity as its owner knows it: the provider, and the address there.
fn identity(provider: &str, email: &str) -> String {
    match email {
        "" => provider.to_owned(),
        email => format!("{provider}: {email}"),
    }
}

/// A time that readers of every language understand.
fn minute(now: Timestamp) -> String {
    let text = now.to_string();
    // 2024-12-03T12:00:00Z
    match text.split_at_checked(16) {
        Some((start, _)) => format!("{} UTC", start.replace('T', " ")),
        None => text,
    }
}

fn compose_error(message: &str) -> MailError {
    MailError::Compose {
        message: message.to_owned(),
        source: None,
    }
}

fn incomplete(source: Box<dyn Error + Send + Sync>) -> MailError {
    MailError::Compose {
        message: "sender and recipient make no valid envelope".to_owned(),
        source: Some(source),
    }
}

/// Writes bytes as letters from `a` to `p`, two each: an id without digits is never mistaken for a code.
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
        .ok_or_else(|| compose_error("the clock is outside the years 1970 to 9999; set it"))
}

/// The values of a mail about a webhook; none of others.
fn webhook_values(content: &MailContent) -> Values {
    match content {
        MailContent::WebhookChanged {
            change, host, by, ..
        } => Values::from([
            ("change", Value::from(change.as_str())),
            ("host", Value::from(host.as_str())),
            ("by", Value::from(by.as_str())),
        ]),
        MailContent::WebhookDisabled { reason, host } => Values::from([
            ("reason", Value::from(reason.as_str())),
            ("host", Value::from(host.as_str())),
        ]),
        _ => Values::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::domain::OtpPurpose;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_733_227_200_123);
    const PURPOSES: [OtpPurpose; 4] = OtpPurpose::ALL;

    const OPTIONS: ComposerOptions<'_> = ComposerOptions {
        from: "Example Inc. <accounts@example.com>",
        reply_to: None,
        public_url: "https://id.example.org:8443/x",
        default_language: "en",
        templates_dir: None,
    };

    /// Parsing the templates takes longer than a test does.
    fn composer() -> &'static Composer {
        static COMPOSER: LazyLock<Composer> = LazyLock::new(|| Composer::new(&OPTIONS).unwrap());
        &COMPOSER
    }

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).unwrap()
    }

    fn otp(purpose: OtpPurpose, code: &str) -> MailContent {
        MailContent::Otp {
            purpose,
            code: code.to_owned(),
            minutes: 10,
            link: None,
            ip: None,
            requested_at: None,
        }
    }

    fn compose(content: &MailContent, language: &str, random: [u8; 16]) -> Mail {
        composer()
            .compose(content, &address("ann@example.com"), language, NOW, random)
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
        let raw = raw(&compose(&otp(OtpPurpose::SignUp, "012345"), "", [0x0f; 16]));
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
    fn parts_are_text_and_html() {
        let mail = compose(&otp(OtpPurpose::PasswordReset, "987654"), "", [7; 16]);
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
    fn reply_to_is_configurable() {
        let composer = Composer::new(&ComposerOptions {
            reply_to: Some("Help <help@example.com>"),
            ..OPTIONS
        })
        .unwrap();
        let mail = composer
            .compose(
                &MailContent::Test,
                &address("ann@example.com"),
                "",
                NOW,
                [1; 16],
            )
            .unwrap();
        let raw = raw(&mail);
        assert!(
            raw.contains("\r\nReply-To: Help <help@example.com>\r\n"),
            "{raw}"
        );
    }

    #[test]
    fn text_has_code_lifetime_and_instructions() {
        for purpose in PURPOSES {
            let mail = compose(&otp(purpose, "000042"), "", [1; 16]);
            assert!(mail.text.lines().any(|line| line == "000042"));
            for body in [&mail.text, &mail.html] {
                let body = body.replace('\n', " ");
                assert!(body.contains("10 minutes"));
                assert!(body.contains("Never share it"));
                let advice = match purpose {
                    OtpPurpose::Reauthentication => "set a new password",
                    _ => "ignore this mail",
                };
                assert!(body.contains(advice));
                assert!(!body.contains("{{") && !body.contains("://"));
            }
        }
        let short = MailContent::Otp {
            purpose: OtpPurpose::SignUp,
            code: "000042".to_owned(),
            minutes: 1,
            link: None,
            ip: None,
            requested_at: None,
        };
        assert!(
            compose(&short, "", [1; 16])
                .text
                .contains("good for 1 minute and")
        );
    }

    #[test]
    fn every_mail_in_every_language_is_whole() {
        let composer = composer();
        let languages: Vec<_> = composer.languages().map(str::to_owned).collect();
        assert!(languages.len() >= 5, "{languages:?}");
        for language in &languages {
            for (_, content) in MailContent::samples() {
                let mail = compose(&content, language, [255; 16]);
                let all = format!("{}\n{}\n{}", mail.subject, mail.text, mail.html);
                assert!(!all.contains("{{") && !all.contains("{%"), "{all}");
                assert!(
                    !mail.subject.is_empty() && mail.subject.chars().count() < 70,
                    "{all}"
                );
                assert!(
                    mail.html.contains(&format!("<html lang=\"{language}\"")),
                    "{all}"
                );
                assert!(mail.text.starts_with("Example Inc.\n\n"), "{all}");
                for line in mail.text.lines() {
                    let is_link = line.starts_with("https://");
                    assert!(is_link || line.chars().count() <= 76, "{line}");
                    assert_eq!(line, line.trim_end(), "{all}");
                }
                assert!(!mail.text.contains("\n\n\n"), "{all}");
                let raw = raw(&mail);
                for line in raw.split("\r\n") {
                    assert!(line.len() <= MAX_LINE, "{line}");
                    assert!(line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line:?}");
                }
                // Alone, or together with a digit, letter or underscore, it is not a group of six digits.
                let groups = six_digit_groups(&raw);
                let wanted: Vec<&str> = mail.otp.iter().map(String::as_str).collect();
                assert!(
                    groups.iter().all(|group| wanted.contains(group)),
                    "{groups:?}"
                );
                let expected = if mail.otp.is_some() { 3 } else { 0 };
                assert_eq!(groups.len(), expected, "{language}: {raw}");
            }
        }
    }

    #[test]
    fn code_is_the_only_group_of_six_digits() {
        let composer = composer();
        let languages: Vec<_> = composer.languages().map(str::to_owned).collect();
        let to = address("ann@example.com");
        for (seed, purpose) in (0..2_000).zip(PURPOSES.into_iter().cycle()) {
            let code = format!("{:06}", seed * 499);
            let language = &languages[usize::try_from(seed).unwrap() % languages.len()];
            let mail = composer
                .compose(&otp(purpose, &code), &to, language, NOW, scrambled(seed))
                .unwrap();
            let raw = raw(&mail);
            let groups = six_digit_groups(&raw);
            assert_eq!(groups.len(), 3, "subject, text and HTML: {groups:?}");
            assert!(groups.iter().all(|group| *group == code), "{groups:?}");
        }
    }

    #[test]
    fn code_is_first_and_last_group_whatever_the_address() {
        let mail = composer()
            .compose(
                &otp(OtpPurpose::SignUp, "123456"),
                &address("654321@example.com"),
                "",
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
    fn unusual_recipients_are_kept_in_header_and_envelope() {
        for to in [
            "o'neil+tag@example.com",
            "!#$%&'*+/=?^_`{}|~-@example.com",
            "\"john@doe\"@example.com",
            "ann@localhost",
            "ann@[127.0.0.1]",
        ] {
            let mail = composer()
                .compose(
                    &otp(OtpPurpose::SignUp, "123456"),
                    &address(to),
                    "",
                    NOW,
                    [3; 16],
                )
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
    fn code_mail_shows_link_time_and_network_in_every_language() {
        let link = "https://id.example.org/confirm/281ace4c0c89f8235eecce45a2e3e557/";
        // A code for authenticating again comes without a link.
        let has_link = |purpose: &OtpPurpose| *purpose != OtpPurpose::Reauthentication;
        for purpose in PURPOSES.into_iter().filter(has_link) {
            for language in composer().languages() {
                let content = |at: Option<i64>, from: Option<&str>| MailContent::Otp {
                    purpose,
                    code: "000042".to_owned(),
                    minutes: 10,
                    link: Some(link.to_owned()),
                    ip: from.map(str::to_owned),
                    requested_at: at,
                };
                let mail = compose(
                    &content(Some(1_733_223_600), Some("203.0.113.7")),
                    language,
                    [5; 16],
                );
                for part in [&mail.text, &mail.html] {
                    let part = part.replace('\n', " ");
                    assert!(part.contains("2024-12-03 11:00 UTC"), "{language}: {part}");
                    assert!(part.contains("203.0.113.7"), "{language}: {part}");
                }
                assert!(mail.text.lines().any(|line| line == link), "{}", mail.text);
                assert_eq!(mail.html.matches(&format!("href=\"{link}\"")).count(), 1);
                assert_eq!(mail.link.as_deref(), Some(link));
                assert_eq!(six_digit_groups(&raw(&mail)), ["000042"; 3]);

                // Without them, the time is that of the mail and no sentence is cut short.
                let mail = compose(&content(None, None), language, [5; 16]);
                assert!(mail.text.contains("2024-12-03 12:00 UTC"), "{}", mail.text);
                assert!(!mail.text.contains(" IP"), "{language}: {}", mail.text);
            }
        }
    }

    #[test]
    fn notices_name_time_and_network_and_no_whole_address() {
        for (name, content) in MailContent::samples() {
            if content.template() != "notice" {
                continue;
            }
            for language in composer().languages() {
                let mail = compose(&content, language, [6; 16]);
                assert!(
                    mail.text.contains("\n2024-12-03 12:00 UTC\n"),
                    "{name}: {}",
                    mail.text
                );
                assert!(
                    !mail.text.contains("new@example.com"),
                    "{name}: {}",
                    mail.text
                );
                assert_eq!(mail.otp, None, "{name}");
                let has_link =
                    ["factor_added", "passkey_added", "identity_connected"].contains(&name);
                assert_eq!(mail.link.is_some(), has_link, "{name}");
                let shows = |value: &str| mail.text.contains(value) && mail.html.contains(value);
                let is_without_client = [
                    "password_set",
                    "address_removed",
                    "promoted",
                    "webhook_disabled",
                ]
                .contains(&name);
                let is_of_webhook = name.starts_with("webhook_");
                assert_eq!(shows("crm.example.com"), is_of_webhook, "{name}");
                assert_eq!(
                    shows("203.0.113.7"),
                    !is_without_client,
                    "{name}: {}",
                    mail.text
                );
                assert_eq!(
                    shows("n***@e***.com"),
                    ["address_changed_again", "address_confirmed"].contains(&name),
                    "{name}: {}",
                    mail.text
                );
            }
        }
    }

    #[test]
    fn equal_arguments_make_equal_bytes() {
        let one = compose(&otp(OtpPurpose::EmailChange, "111111"), "de", [9; 16]);
        let two = compose(&otp(OtpPurpose::EmailChange, "111111"), "de", [9; 16]);
        assert_eq!(one.raw(), two.raw());
    }

    #[test]
    fn invalid_code_or_date_is_refused() {
        let to = address("ann@example.com");
        for code in ["", "12345", "1234567", "12 456", "1\r\n: x", "12345é"] {
            let made = composer().compose(&otp(OtpPurpose::SignUp, code), &to, "", NOW, [0; 16]);
            assert!(matches!(made, Err(MailError::Compose { .. })), "{code:?}");
        }
        for millis in [-1_000, i64::MAX] {
            let now = Timestamp::from_unix_millis(millis);
            let made =
                composer().compose(&otp(OtpPurpose::SignUp, "123456"), &to, "", now, [0; 16]);
            assert!(matches!(made, Err(MailError::Compose { .. })), "{millis}");
        }
    }

    #[test]
    fn non_ascii_sender_name_is_encoded() {
        let options = ComposerOptions {
            from: "Caf\u{e9} <a@example.com>",
            public_url: "http://localhost",
            ..OPTIONS
        };
        let mail = Composer::new(&options)
            .unwrap()
            .compose(
                &otp(OtpPurpose::SignUp, "123456"),
                &address("ann@example.com"),
                "",
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
    fn new_address_adds_neither_markup_nor_link() {
        for new_email in [
            "\"<b>evil</b>\"@evil.example",
            "\"https://evil.example/undo\"@example.com",
            "www.evil.example/x@evil.example",
            "\"&lt;b&gt;evil\"@evil.example",
        ] {
            let content = MailContent::AddressChanged {
                new_email: address(new_email).as_str().to_owned(),
                link: "https://id.example.org/undo/abc/".to_owned(),
                days: 7,
            };
            for language in composer().languages() {
                let mail = compose(&content, language, [4; 16]);
                for part in [&mail.subject, &mail.text, &mail.html] {
                    assert!(!part.contains("evil"), "{part}");
                    assert!(part.matches("://").count() <= 2, "{part}");
                }
                assert_eq!(mail.html.matches("<a ").count(), 1);
                assert!(mail.text.contains("@e***."), "{}", mail.text);
            }
        }
    }
}
