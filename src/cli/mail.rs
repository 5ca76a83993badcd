//! `mail`: trying out how mails leave.

use std::io::Write as _;

use clap::Subcommand;

use super::{CommandResult, cannot_write};
use crate::app::{open_composer, open_transport};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, MailTransportKind};
use crate::domain::EmailAddress;
use crate::mail::MailContent;
use crate::random;

/// What there is to do about mail.
#[derive(Subcommand)]
pub(super) enum MailCommand {
    /// Send a mail now and show what the mail server says to it
    Test {
        /// Where the mail goes
        #[arg(value_name = "ADDRESS")]
        address: String,
    },
}

pub(super) fn run(command: MailCommand, config: &Config) -> CommandResult {
    match command {
        MailCommand::Test { address } => test(&address, config),
    }
}

/// Sends a mail past the queue, so that the outcome can be seen.
fn test(address: &str, config: &Config) -> CommandResult {
    let to = EmailAddress::parse(address)
        .map_err(|_| format!("{address:?} is no address; write it like ada@example.com"))?;
    let public_url = config.public_url(config.server.listen.port());
    let composer = open_composer(config, &public_url).map_err(|e| e.to_string())?;
    let transport = open_transport(config).map_err(|e| e.to_string())?;
    let mail = composer
        .compose(
            &MailContent::Test,
            &to,
            "",
            SystemClock.now(),
            random::bytes(),
        )
        .map_err(|e| e.to_string())?;
    if config.mail_transport() == MailTransportKind::Stdout {
        eprintln!("no mail server is set ([mail] smtp_url), so the mail is printed:");
    }
    transport
        .deliver(&mail, &mut |step| eprintln!("{step}"))
        .map_err(|e| e.to_string())?;
    if config.mail_transport() != MailTransportKind::Stdout {
        writeln!(
            std::io::stdout(),
            "the mail to {address} was handed over ({}); look whether it arrives, in the folder for spam, too",
            transport.name()
        )
        .map_err(cannot_write)?;
    }
    Ok(())
}
