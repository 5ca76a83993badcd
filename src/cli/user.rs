//! `user`: managing accounts.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::sync::Arc;

use clap::{Args, Subcommand};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableStyle, Width};

use super::export::UserRecord;
use super::{
    CHUNK, CommandResult, cannot_write, existing, explain, printable, read_password, with_app,
};
use crate::accounts::{self, AccountError, UserFilter};
use crate::app::App;
use crate::config::Config;
use crate::domain::{Fields, Input, Timestamp, User};

#[derive(Subcommand)]
pub(super) enum UserCommand {
    /// Create a verified account and print its id
    ///
    /// Asks for the password at the terminal. The rules for passwords are those of the API.
    Create {
        /// The address to sign in with
        email: String,
        /// Make it a staff account, which sees and changes all others
        #[arg(long)]
        staff: bool,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List accounts, all of them or those that fit, in the order of their ids
    List(ListArguments),
    /// Show one account
    Show {
        /// Id or address
        user: String,
        /// Print a JSON object in one line
        #[arg(long)]
        json: bool,
    },
    /// Give an account another password; all its sessions end at once
    ///
    /// Asks for the password at the terminal. The rules for passwords are those of the API.
    SetPassword {
        /// Id or address
        user: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Let a deactivated account sign in again
    Activate {
        /// Id or address
        user: String,
    },
    /// Keep an account from signing in; all its sessions end at once
    Deactivate {
        /// Id or address
        user: String,
    },
    /// Make an account staff, which sees and changes all others
    Promote {
        /// Id or address
        user: String,
    },
    /// Make a staff account an ordinary one
    Demote {
        /// Id or address
        user: String,
    },
    /// Delete an account with everything about it
    Delete {
        /// Id or address
        user: String,
        /// Do not ask; without a terminal there is no question anyway
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub(super) struct ListArguments {
    /// Only accounts with each of these words in address, name or telephone number
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Only accounts that may sign in
    #[arg(long, conflicts_with = "inactive")]
    active: bool,
    /// Only deactivated accounts
    #[arg(long)]
    inactive: bool,
    /// Only accounts that have confirmed an address
    #[arg(long, conflicts_with = "unverified")]
    verified: bool,
    /// Only accounts that have never confirmed an address
    #[arg(long)]
    unverified: bool,
    /// Only staff accounts
    #[arg(long)]
    staff: bool,
    /// Print JSON, one object a line
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
                    .map_err(explain)
            })?;
            writeln!(io::stdout(), "{id}").map_err(cannot_write)
        }
        UserCommand::List(arguments) => with_app(existing(config)?, async |app| {
            list(&app, &arguments.filter(), arguments.json).await
        }),
        UserCommand::Show { user, json } => with_user(config, &user, async |_, user| {
            show(&user, json).map_err(cannot_write)
        }),
        UserCommand::SetPassword {
            user,
            password_stdin,
        } => with_user(config, &user, async |app, user| {
            let password = read_password(password_stdin)?;
            accounts::set_password(&app, &user, &password)
                .await
                .map_err(explain)?;
            if !user.is_verified() {
                log::warn!(
                    "user {} has never confirmed an address, so it cannot sign in; confirming one brings back the \
                     password of its sign-up",
                    user.id
                );
            }
            Ok(())
        }),
        UserCommand::Activate { user } => with_user(config, &user, async |app, user| {
            told(accounts::set_active(&app, user.id, true).await)
        }),
        UserCommand::Deactivate { user } => with_user(config, &user, async |app, user| {
            told(accounts::set_active(&app, user.id, false).await)
        }),
        UserCommand::Promote { user } => with_user(config, &user, async |app, user| {
            told(accounts::set_staff(&app, user.id, true).await)
        }),
        UserCommand::Demote { user } => with_user(config, &user, async |app, user| {
            told(accounts::set_staff(&app, user.id, false).await)
        }),
        UserCommand::Delete { user, yes } => with_user(config, &user, async |app, user| {
            if !yes {
                confirm(&format!(
                    "Delete user {} ({}) with everything about it?",
                    user.id,
                    printable(user.shown_email())
                ))?;
            }
            told(accounts::remove_user(&app, user.id).await)
        }),
    }
}

/// Runs an operation on the account that goes by this id or address.
fn with_user(
    config: Config,
    name: &str,
    operation: impl AsyncFnOnce(Arc<App>, User) -> CommandResult,
) -> CommandResult {
    with_app(existing(config)?, async |app| {
        let user = accounts::find_user(&app, name).await.map_err(|e| match e {
            AccountError::UserNotFound => format!("there is no user {}", printable(name)),
            other => explain(other),
        })?;
        operation(app, user).await
    })
}

/// Warns when no active staff account is left. That is allowed here, because here is where one is made again.
fn told(left_no_staff: Result<bool, AccountError>) -> CommandResult {
    if left_no_staff.map_err(explain)? {
        log::warn!(
            "there is no active staff account any more; `user promote` or `user create --staff` makes one"
        );
    }
    Ok(())
}

/// Asks at the terminal. A script, which has none, has said what it wants.
///
/// # Errors
/// When the answer is not yes.
fn confirm(question: &str) -> CommandResult {
    if !io::stdin().is_terminal() {
        return Ok(());
    }
    let mut prompt = io::stderr();
    let mut answer = String::new();
    write!(prompt, "{question} [y/N] ")
        .and_then(|()| prompt.flush())
        .and_then(|()| io::stdin().read_line(&mut answer))
        .map_err(|e| format!("cannot ask: {e}"))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err("nothing was done".into()),
    }
}

/// Writes the accounts that fit, a bounded number of them in memory at a time.
async fn list(app: &App, filter: &UserFilter, json: bool) -> CommandResult {
    let mut out = BufWriter::new(io::stdout());
    let mut table = UserTable::default();
    let mut fitting = Vec::new();
    let mut after = 0;
    loop {
        let users = accounts::list_users_after(app, after, CHUNK)
            .await
            .map_err(explain)?;
        let is_last = users.len() < CHUNK as usize;
        after = users.last().map_or(after, |last| last.user.id);
        fitting.extend(
            users
                .into_iter()
                .map(|stored| stored.user)
                .filter(|user| filter.matches(user)),
        );
        // Pieces of the table line up best when they are large.
        if !is_last && fitting.len() < CHUNK as usize {
            continue;
        }
        let written = if json {
            fitting
                .iter()
                .try_for_each(|user| UserRecord::shown(user).write_line(&mut out))
        } else {
            table.write(&mut out, &fitting)
        };
        fitting.clear();
        match written.and_then(|()| out.flush()) {
            // Whoever reads has seen enough, as `head` does.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(e) => return Err(cannot_write(e)),
            Ok(()) if is_last => return Ok(()),
            Ok(()) => {}
        }
    }
}

/// The list of accounts in pieces that line up.
#[derive(Default)]
struct UserTable {
    /// The widths of the columns of the piece before, each with its padding.
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

    /// Writes the next accounts, below those before. Columns only grow: each piece is at least as wide as the last one.
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
        // Where the terminal is too narrow for that, the table chooses which columns to wrap.
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

fn show(user: &User, json: bool) -> io::Result<()> {
    let mut out = io::stdout();
    if json {
        return UserRecord::shown(user).write_line(&mut out);
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

/// A table without lines, for the eye and for `awk`: wrapped to the terminal, if there is one.
pub(super) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new());
    if let Some((terminal_size::Width(width), _)) = terminal_size::terminal_size_of(io::stdout()) {
        table.set_width(width);
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table
}

/// Two blanks between columns, none before the first.
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
