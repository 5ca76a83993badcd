//! `user`: manages accounts.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::sync::Arc;

use clap::{Args, Subcommand};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableStyle, Width};

use super::export::UserRecord;
use super::prompt::{confirm, read_password};
use super::{
    CommandResult, PAGE_SIZE, cannot_write, describe, invitations, printable, require_database,
    with_app,
};
use crate::accounts::{self, AccountError, FactorStatus, UserFilter};
use crate::app::App;
use crate::config::Config;
use crate::domain::{Fields, Input, Timestamp, User};
use crate::store::Identity;

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Create a verified account and print its id
    ///
    /// Asks for the password at the terminal. The password rules of the API apply.
    Create {
        /// Email address to sign in with
        email: String,
        /// Make it a staff account, which can see and change all accounts
        #[arg(long)]
        staff: bool,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Invite an email address to create an account, and print the number of the invitation
    ///
    /// Mails a link that is valid for 7 days and leads to a form for name and password. The address
    /// counts as confirmed. A running server sends the mail; without one it waits for the next start.
    /// Repeat the command to send another link.
    Invite(invitations::InviteArguments),
    /// List the invitations that were not accepted
    Invitations {
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Revoke an invitation: its links are dead at once
    RevokeInvitation {
        /// Number of the invitation, as shown by `user invitations`
        #[arg(value_name = "ID")]
        id: i64,
    },
    /// List accounts in the order of their ids
    List(ListArguments),
    /// Show one account
    Show {
        /// Id or email address
        user: String,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Set an account's password and end all its sessions
    ///
    /// Asks for the password at the terminal. The password rules of the API apply.
    SetPassword {
        /// Id or email address
        user: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Reactivate a deactivated account
    Activate(Target),
    /// Deactivate an account and end all its sessions
    Deactivate(Target),
    /// Make an account a staff account, which can see and change all accounts
    Promote(Target),
    /// Make a staff account an ordinary account
    Demote(Target),
    /// Remove all second factors of an account and end all its sessions
    ///
    /// For somebody who has lost both the authenticator app and the recovery codes. The owner is
    /// notified by mail. Make sure who is asking.
    ResetMfa(Target),
    /// Delete an account and all its data
    Delete {
        #[command(flatten)]
        target: Target,
        /// Skip the confirmation, which is only asked at a terminal
        #[arg(long)]
        yes: bool,
    },
}

/// The account that a command changes.
#[derive(Args)]
pub(super) struct Target {
    /// Id or email address
    user: String,
    /// Why, for the audit log; at most 200 characters
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, value_parser = read_reason)]
    reason: String,
}

fn read_reason(text: &str) -> Result<String, String> {
    if text.chars().count() > accounts::REASON_LENGTH {
        return Err(format!(
            "a reason has at most {} characters",
            accounts::REASON_LENGTH
        ));
    }
    Ok(text.trim().to_owned())
}

#[derive(Args)]
pub(super) struct ListArguments {
    /// Only accounts with each of these words in email address, name or phone number
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Only active accounts
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Only deactivated accounts
    #[arg(long)]
    inactive: bool,
    /// Only accounts with a confirmed email address
    #[arg(long, conflicts_with = "unverified")]
    verified: bool,
    /// Only accounts that never confirmed an email address
    #[arg(long)]
    unverified: bool,
    /// Only staff accounts
    #[arg(long)]
    staff: bool,
    /// Only accounts with a second factor
    #[arg(long, conflicts_with = "without_mfa")]
    with_mfa: bool,
    /// Only accounts without a second factor
    #[arg(long)]
    without_mfa: bool,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

impl ListArguments {
    fn filter(&self) -> UserFilter {
        let either = |yes: bool, no: bool| (yes || no).then_some(yes);
        let mut filter = UserFilter::searching(self.search.as_deref().unwrap_or_default());
        filter.is_active = either(self.active, self.inactive);
        filter.is_verified = either(self.verified, self.unverified);
        filter.is_staff = self.staff.then_some(true);
        filter.has_factor = either(self.with_mfa, self.without_mfa);
        filter
    }
}

pub(super) fn run(command: UserCommand, config: Config) -> CommandResult {
    match command {
        UserCommand::Create {
            email,
            staff,
            password_stdin,
        } => {
            let password = read_password(password_stdin)?;
            let mut fields = Fields::json();
            fields.insert("email".into(), Input::Text(email));
            fields.insert("password".into(), Input::Text(password));
            let id = with_app(config, async |app| {
                accounts::create_user(&app, &fields, staff)
                    .await
                    .map_err(describe)
            })?;
            writeln!(io::stdout(), "{id}").map_err(cannot_write)
        }
        UserCommand::Invite(arguments) => invitations::invite(arguments, config),
        UserCommand::Invitations { json } => invitations::list(json, config),
        UserCommand::RevokeInvitation { id } => invitations::revoke(id, config),
        UserCommand::List(arguments) => with_app(require_database(config)?, async |app| {
            list(&app, &arguments.filter(), arguments.json).await
        }),
        UserCommand::Show { user, json } => with_user(config, &user, async |app, user| {
            let factors = accounts::factor_status_of(&app, &user).await;
            let identities = accounts::list_user_identities(&app, user.id).await;
            let identities = identities.map_err(describe)?;
            show(&user, &factors.map_err(describe)?, &identities, json).map_err(cannot_write)
        }),
        UserCommand::SetPassword {
            user,
            password_stdin,
        } => with_user(config, &user, async |app, user| {
            let password = read_password(password_stdin)?;
            accounts::set_password(&app, &user, &password)
                .await
                .map_err(describe)?;
            if !user.is_verified() {
                log::warn!(
                    "user {} never confirmed an email address, so it cannot sign in; confirming it \
                     restores the password of the sign-up",
                    user.id
                );
            }
            Ok(())
        }),
        UserCommand::Activate(target) => with_user(config, &target.user, async |app, user| {
            warn_without_staff(accounts::set_active(&app, user.id, true, &target.reason).await)
        }),
        UserCommand::Deactivate(target) => with_user(config, &target.user, async |app, user| {
            warn_without_staff(accounts::set_active(&app, user.id, false, &target.reason).await)
        }),
        UserCommand::Promote(target) => with_user(config, &target.user, async |app, user| {
            warn_without_staff(accounts::set_staff(&app, user.id, true, &target.reason).await)
        }),
        UserCommand::Demote(target) => with_user(config, &target.user, async |app, user| {
            warn_without_staff(accounts::set_staff(&app, user.id, false, &target.reason).await)
        }),
        UserCommand::ResetMfa(target) => with_user(config, &target.user, async |app, user| {
            accounts::reset_factors_of(&app, &user, &target.reason)
                .await
                .map_err(describe)
        }),
        UserCommand::Delete { target, yes } => {
            with_user(config, &target.user, async |app, user| {
                if !yes {
                    confirm(&format!(
                        "Delete user {} ({}) and all its data?",
                        user.id,
                        printable(user.shown_email())
                    ))?;
                }
                warn_without_staff(accounts::remove_user(&app, user.id, &target.reason).await)
            })
        }
    }
}

/// Runs an operation on the account with this id or email address.
fn with_user(
    config: Config,
    name: &str,
    operation: impl AsyncFnOnce(Arc<App>, User) -> CommandResult,
) -> CommandResult {
    with_app(require_database(config)?, async |app| {
        let user = accounts::find_user(&app, name).await.map_err(|e| match e {
            AccountError::UserNotFound => format!("there is no user {}", printable(name)),
            other => describe(other),
        })?;
        operation(app, user).await
    })
}

/// Warns when no active staff account is left. The command line allows that: it can make one again.
fn warn_without_staff(left_no_staff: Result<bool, AccountError>) -> CommandResult {
    if left_no_staff.map_err(describe)? {
        log::warn!(
            "no active staff account is left; make one with `user promote` or `user create --staff`"
        );
    }
    Ok(())
}

/// Writes the matching accounts page by page.
async fn list(app: &App, filter: &UserFilter, json: bool) -> CommandResult {
    let mut out = BufWriter::new(io::stdout());
    let mut table = UserTable::default();
    let mut matching = Vec::new();
    let mut after = 0;
    loop {
        let users = accounts::list_users_after(app, after, PAGE_SIZE)
            .await
            .map_err(describe)?;
        let is_last = users.len() < PAGE_SIZE as usize;
        after = users.last().map_or(after, |last| last.user.id);
        matching.extend(
            users
                .into_iter()
                .map(|stored| stored.user)
                .filter(|user| filter.matches(user)),
        );
        // Columns align best in large parts of the table.
        if !is_last && matching.len() < PAGE_SIZE as usize {
            continue;
        }
        let written = if json {
            matching
                .iter()
                .try_for_each(|user| UserRecord::shown(user).write_line(&mut out))
        } else {
            table.write(&mut out, &matching)
        };
        matching.clear();
        match written.and_then(|()| out.flush()) {
            // The reader has closed the pipe, as `head` does.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(e) => return Err(cannot_write(e)),
            Ok(()) if is_last => return Ok(()),
            Ok(()) => {}
        }
    }
}

/// The table of accounts, written in aligned parts.
#[derive(Default)]
struct UserTable {
    /// Column widths of the previous part, padding included.
    widths: Option<Vec<u16>>,
}

impl UserTable {
    const HEADER: [&str; 8] = [
        "ID",
        "EMAIL",
        "NAME",
        "ACTIVE",
        "VERIFIED",
        "STAFF",
        "LAST LOGIN",
        "CREATED",
    ];

    /// Writes the next part. Columns never get narrower than in the previous part.
    fn write(&mut self, out: &mut impl Write, users: &[User]) -> io::Result<()> {
        let mut table = plain_table();
        if self.widths.is_none() {
            table.set_header(Self::HEADER);
        } else if users.is_empty() {
            return Ok(());
        }
        for user in users {
            let name = format!("{} {}", user.profile.first_name, user.profile.last_name);
            table.add_row([
                user.id.to_string(),
                printable(user.shown_email()).into_owned(),
                printable(name.trim()).into_owned(),
                yes_or_no(user.is_active).into(),
                yes_or_no(user.is_verified()).into(),
                yes_or_no(user.is_staff).into(),
                day(user.last_login_at),
                day(Some(user.created_at)),
            ]);
        }
        set_padding(&mut table);
        let contents = table.column_max_content_widths();
        let before = self.widths.take().unwrap_or_default();
        let widths: Vec<u16> = table
            .column_iter()
            .zip(contents)
            .enumerate()
            .map(|(place, (column, content))| {
                let width = content.saturating_add(column.padding_width());
                width.max(before.get(place).copied().unwrap_or_default())
            })
            .collect();
        // On a narrower terminal the table chooses which columns to wrap.
        let whole: u32 = widths.iter().map(|width| u32::from(*width)).sum();
        if table.width().is_none_or(|room| whole <= room.into()) {
            for (column, width) in table.column_iter_mut().zip(&widths) {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width)));
            }
        }
        self.widths = Some(widths);
        writeln!(out, "{}", table.trim_fmt())
    }
}

fn show(
    user: &User,
    factors: &FactorStatus,
    identities: &[Identity],
    json: bool,
) -> io::Result<()> {
    let mut out = io::stdout();
    if json {
        return UserRecord::shown_with(user, factors, identities).write_line(&mut out);
    }
    let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
    let profile = &user.profile;
    let mut table = plain_table();
    for (name, value) in [
        ("id", user.id.to_string()),
        ("email", user.email.clone()),
        (
            "unconfirmed email",
            user.new_email.clone().unwrap_or_default(),
        ),
        ("first name", profile.first_name.clone()),
        ("last name", profile.last_name.clone()),
        ("phone", profile.phone.clone()),
        ("address", profile.address.clone()),
        ("gender", profile.gender.clone()),
        ("country", profile.country.clone()),
        (
            "birthday",
            profile
                .birthday
                .map(|date| date.to_string())
                .unwrap_or_default(),
        ),
        ("photo", user.photo.clone().unwrap_or_default()),
        ("active", yes_or_no(user.is_active).into()),
        ("staff", yes_or_no(user.is_staff).into()),
        ("two-factor", shown_factors(factors)),
        ("identities", shown_identities(identities)),
        ("verified", moment(user.verified_at).unwrap_or("no".into())),
        (
            "last login",
            moment(user.last_login_at).unwrap_or("never".into()),
        ),
        ("created", user.created_at.to_string()),
        ("updated", user.updated_at.to_string()),
    ] {
        if !value.is_empty() {
            table.add_row([name, &printable(&value)]);
        }
    }
    set_padding(&mut table);
    writeln!(out, "{}", table.trim_fmt())
}

/// The second factors of an account in a line.
fn shown_factors(factors: &FactorStatus) -> String {
    let Some(since) = factors.created_at else {
        return match factors.is_required {
            true => "no, but required".into(),
            false => "no".into(),
        };
    };
    let methods: Vec<&str> = factors.methods.iter().map(|kind| kind.as_str()).collect();
    let used = match factors.last_used_at {
        Some(at) => format!("last used {at}"),
        None => "never used".into(),
    };
    format!(
        "{} since {since}, {used}, {} recovery codes left",
        methods.join(", "),
        factors.recovery_codes_left
    )
}

/// The identities of an account in a line.
fn shown_identities(identities: &[Identity]) -> String {
    let shown = identities.iter().map(|identity| {
        let proven = &identity.proven;
        match proven.email.as_str() {
            "" => format!("{} {}", proven.provider, proven.subject),
            email => format!("{} {email}", proven.provider),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// A table without rules, readable for people and for `awk`, wrapped to the terminal if there is
/// one.
pub(super) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    if let Some((terminal_size::Width(width), _)) = terminal_size::terminal_size_of(io::stdout()) {
        table.set_width(width);
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// Puts two spaces between columns and none before the first.
pub(super) fn set_padding(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn day(moment: Option<Timestamp>) -> String {
    moment.map_or_else(|| "never".into(), |moment| moment.date().to_string())
}
