//! `mail`: tests mail delivery, manages the queue, and writes templates and previews.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::output_file::{ProtectedFiles, write_public};
use super::{CommandResult, cannot_write, mail_queue};
use crate::bootstrap::{open_composer, open_transport};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, MailTransportKind};
use crate::crypto::random;
use crate::domain::{EmailAddress, Timestamp};
use crate::mail::{BUILT_IN_TEMPLATES, Composer, MailContent};
use crate::observability::error_chain;
use crate::templates::Languages;

#[derive(Subcommand)]
pub(super) enum MailCommand {
    /// Send a test email and show the conversation with the mail server
    Test {
        /// Recipient
        #[arg(value_name = "ADDRESS")]
        address: String,
        /// Language of the email, such as de (default: [mail] language)
        #[arg(
            long,
            value_name = "TAG",
            default_value = "",
            hide_default_value = true
        )]
        language: String,
    },
    /// List the mail queue: mails that wait, were refused, or have expired
    ///
    /// Shows the recipient, the kind and why the last attempt failed; never the text, code or link.
    /// Delivered mails are not kept; refused and expired ones are kept for 7 days.
    List(mail_queue::ListArguments),
    /// Try mails again at once (a running server sends them within seconds)
    ///
    /// For mails that wait, and for refused ones: after a mistake in a DNS record or in the settings
    /// was corrected, for example. Expired mails cannot be sent any more.
    Retry(mail_queue::ChangeArguments),
    /// Discard mails, which are then never sent
    #[command(visible_alias = "discard")]
    Drop(mail_queue::ChangeArguments),
    /// Write the built-in templates and languages into a folder, as a start for your own
    ///
    /// Change what you like, remove the files that you do not change (the program has its own copy
    /// of them, which improves with new versions), and name the folder in [mail] templates_dir.
    /// A new language is one more file in languages/.
    Templates {
        /// Target folder; existing files are not overwritten
        #[arg(value_name = "DIR", default_value = "mail-templates")]
        dir: PathBuf,
    },
    /// Render every email in every language as .html and .txt with sample values
    Preview {
        /// Target folder; earlier previews are overwritten
        #[arg(value_name = "DIR", default_value = "mail-preview")]
        dir: PathBuf,
    },
}

pub(super) fn run(command: MailCommand, config: Config) -> CommandResult {
    match command {
        MailCommand::List(arguments) => mail_queue::list(arguments, config),
        MailCommand::Retry(arguments) => mail_queue::retry(&arguments, config),
        MailCommand::Drop(arguments) => mail_queue::discard(&arguments, config),
        MailCommand::Test { address, language } => test(&address, &language, &config),
        MailCommand::Templates { dir } => write_templates(&dir, &config),
        MailCommand::Preview { dir } => preview(&dir, &config),
    }
}

fn composer(config: &Config) -> Result<Composer, String> {
    let public_url = config.public_url(config.server.listen.port());
    open_composer(config, &public_url).map_err(|e| error_chain(&e))
}

fn print(line: &str) -> CommandResult {
    writeln!(std::io::stdout(), "{line}").map_err(cannot_write)
}

/// Sends an email without the queue, so that the outcome is visible at once.
fn test(address: &str, language: &str, config: &Config) -> CommandResult {
    let to = EmailAddress::parse(address).map_err(|_| {
        format!("{address:?} is not an email address; write it like ada@example.com")
    })?;
    if config.mail_transport() == MailTransportKind::File {
        ProtectedFiles::of(config).check(Path::new(&config.mail.dir))?;
    }
    let composer = composer(config)?;
    let public_url = config.public_url(config.server.listen.port());
    let transport = open_transport(config, &public_url).map_err(|e| error_chain(&e))?;
    let now = SystemClock.now();
    let mail = composer
        .compose(&MailContent::Test, &to, language, now, random::bytes())
        .map_err(|e| e.to_string())?;
    let is_printed = config.mail_transport() == MailTransportKind::Stdout;
    if is_printed {
        eprintln!("no mail server is configured ([mail] smtp_url); the email is printed:");
    }
    transport
        .deliver(&mail, &mut |step| eprintln!("{step}"))
        .map_err(|e| e.to_string())?;
    if is_printed {
        return Ok(());
    }
    print(&format!(
        "the email to {address} was accepted ({}); check that it arrives, and look in the spam \
         folder too",
        transport.name()
    ))
}

/// Writes the built-in files, unless one of them exists and may have been edited.
fn write_templates(dir: &Path, config: &Config) -> CommandResult {
    let protected = ProtectedFiles::of(config);
    let templates = BUILT_IN_TEMPLATES
        .iter()
        .map(|(name, text)| ((*name).to_owned(), *text));
    let files: Vec<_> = templates.chain(Languages::built_in()).collect();
    let existing = files
        .iter()
        .map(|(name, _)| dir.join(name))
        .find(|path| path.exists());
    if let Some(path) = existing {
        return Err(format!(
            "{} exists already; nothing was written. Name a new folder",
            path.display()
        ));
    }
    for (name, text) in files {
        let path = dir.join(name);
        write_public(&path, text.as_bytes(), &protected)?;
        print(&path.display().to_string())?;
    }
    print(&format!(
        "change what you like, remove what you do not change, and set [mail] templates_dir = {:?}",
        dir.display().to_string()
    ))
}

/// Time of the emails of a preview, 2024-12-03T12:00:00Z: constant, so that previews can be
/// compared.
const PREVIEW_TIME: Timestamp = Timestamp::from_unix_millis(1_733_227_200_000);

fn preview(dir: &Path, config: &Config) -> CommandResult {
    let protected = ProtectedFiles::of(config);
    let composer = composer(config)?;
    let to = EmailAddress::parse("ada@example.com").map_err(|_| "the sample address is invalid")?;
    let mut count = 0;
    for language in composer.languages() {
        for (name, content) in MailContent::samples() {
            let mail = composer
                .compose(&content, &to, language, PREVIEW_TIME, [0; 16])
                .map_err(|e| e.to_string())?;
            let path = dir.join(format!("{name}.{language}.html"));
            write_public(&path, mail.html.as_bytes(), &protected)?;
            let text = format!("Subject: {}\n\n{}", mail.subject, mail.text);
            let path = dir.join(format!("{name}.{language}.txt"));
            write_public(&path, text.as_bytes(), &protected)?;
            count += 1;
        }
    }
    print(&format!("{count} emails were written to {}", dir.display()))
}
