//! Checks of settings against each other.

use std::net::SocketAddr;

use super::super::error::Problem;
use super::super::settings::{Config, in_section};
use super::super::values::MailTransportKind;

/// The conflicts between settings that are valid on their own.
pub(super) fn conflicts(config: &Config) -> Vec<Problem> {
    let mut sentences = Vec::new();
    let transport = config.mail.transport;
    if transport == Some(MailTransportKind::Smtp) && config.mail.smtp_url.expose().is_empty() {
        sentences.push(
            "[mail] transport is \"smtp\", but no server is set: set [mail] smtp_url in the file, \
             ACCOUNTS_MAIL_SMTP_URL or --mail-smtp-url, or choose another transport"
                .to_owned(),
        );
    }
    let mail = &config.mail;
    let has_password = !mail.smtp_password.expose().is_empty();
    let has_file = mail.smtp_password_file.is_some();
    let uses_smtp = config.mail_transport() == MailTransportKind::Smtp;
    if uses_smtp && has_password && has_file {
        sentences.push(
            "[mail] smtp_password and smtp_password_file are both set: remove one of them"
                .to_owned(),
        );
    }
    if uses_smtp && mail.smtp_user.is_empty() == (has_password || has_file) {
        sentences.push(
            "[mail] smtp_user and its password (smtp_password or smtp_password_file) have to be set \
             together"
                .to_owned(),
        );
    }
    if config.tls.cert.is_some() != config.tls.key.is_some() {
        sentences.push(
            "[tls] cert and key have to be set together: the certificate and its private key"
                .to_owned(),
        );
    }
    let tokens = &config.tokens;
    if !tokens.key_encryption_secret.expose().is_empty()
        && tokens.key_encryption_secret_file.is_some()
    {
        sentences.push(
            "[tokens] key_encryption_secret and key_encryption_secret_file are both set: remove one \
             of them"
                .to_owned(),
        );
    }
    sentences.extend(development_conflicts(config));
    sentences.into_iter().map(Problem::Conflict).collect()
}

/// Conflicts of the settings for development with a public server.
fn development_conflicts(config: &Config) -> Option<String> {
    if config.dev {
        let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        let listen = &config.server.listen;
        return (!listen.socket_addrs().iter().all(is_loopback)).then(|| {
            format!(
                "--dev cannot listen on {listen}: it shows mails and lets anybody reset the \
                 database; choose a loopback address such as 127.0.0.1:8000, or omit --dev"
            )
        });
    }
    let usual = Config::defaults(false);
    let set: Vec<String> = in_section("dev")
        .filter(|setting| (setting.write)(config) != (setting.write)(&usual))
        .map(|setting| format!("--{} ([dev] {})", setting.flag, setting.key))
        .collect();
    (!set.is_empty()).then(|| {
        format!(
            "{} requires --dev: development settings must not be used in production",
            set.join(", ")
        )
    })
}
