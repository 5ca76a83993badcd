//! Confirmed writes survive a crash: the server is killed a hundred times under a mixed load.
//!
//! `DURABILITY_SEED` repeats the choices of a run, as far as runs are deterministic. A failing test
//! prints it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::client::{Client, picture};
use crate::support::{Running, folder, names_in};

/// How often the server is killed.
const KILLS: u64 = 100;

/// Concurrent clients, each of which sends one request at a time.
const WORKERS: u64 = 4;

/// Questions to a server that runs after which an awaited mail counts as lost: minutes of them.
const PATIENCE: u32 = 1_000_000;

/// Accounts that a worker creates before it does anything else.
const FEW: usize = 2;

/// A deterministic pseudo-random generator (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// The kind of a mail with a code, by the words of its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Confirmation,
    Reset,
}

/// The newest code for each address and kind, with its file name. Names sort by the time of the
/// mail.
type Codes = BTreeMap<(String, Kind), (String, String)>;

/// The folder that the server delivers mails to.
struct Mailbox {
    dir: PathBuf,
    read: Mutex<(Vec<String>, Codes)>,
}

impl Mailbox {
    fn newest(&self, email: &str, kind: Kind) -> Option<(String, String)> {
        let mut read = self.read.lock().unwrap();
        let (known, codes) = &mut *read;
        for entry in fs::read_dir(&self.dir).into_iter().flatten() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.starts_with('.') || known.binary_search(&name).is_ok() {
                continue;
            }
            let mail = fs::read_to_string(self.dir.join(&name)).unwrap();
            let header = |wanted: &str| {
                mail.lines()
                    .find_map(|line| line.strip_prefix(wanted))
                    .unwrap_or_default()
                    .to_owned()
            };
            let (to, subject) = (header("To: "), header("Subject: "));
            let kind = match subject.contains("reset") {
                true => Kind::Reset,
                false => Kind::Confirmation,
            };
            let code = subject.chars().take(6).collect::<String>();
            if code.bytes().all(|b| b.is_ascii_digit()) {
                let newest = codes.entry((to, kind)).or_default();
                if newest.0 < name {
                    *newest = (name.clone(), code);
                }
            }
            let place = known.partition_point(|known| *known < name);
            known.insert(place, name);
        }
        codes.get(&(email.to_owned(), kind)).cloned()
    }
}

/// An account in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    email: String,
    new_email: Option<String>,
    is_verified: bool,
    name: String,
    photo: Option<String>,
}

/// An account as its owner knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    /// `None` after its deletion.
    row: Option<Row>,
    password: String,
}

/// Placeholder for the name of a photo whose upload was not answered.
const SOME_PHOTO: &str = "?";

struct Account {
    id: Option<i64>,
    /// The confirmed state.
    known: Known,
    /// The state if the request in flight at the kill took effect.
    perhaps: Option<Known>,
    access: Option<String>,
    /// A code whose mail was confirmed: its address and kind, and the newest mail before it.
    awaited: Option<(String, Kind, String)>,
}

struct Worker {
    number: u64,
    dice: Dice,
    made: u64,
    accounts: Vec<Account>,
}

/// The server was killed.
struct Killed;

/// The run of one worker against one server process.
struct Shift<'a> {
    client: &'a Client,
    mailbox: &'a Mailbox,
    answers: Sender<()>,
}

impl Shift<'_> {
    fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &Value,
    ) -> Result<(u16, Value), Killed> {
        let answer = self.client.api(method, path, token, body).ok_or(Killed)?;
        self.count()?;
        Ok(answer)
    }

    fn count(&self) -> Result<(), Killed> {
        self.answers.send(()).map_err(|_| Killed)
    }

    /// Waits for a mail newer than `after`, while the server runs. The questions whether it still
    /// does are not counted, so that kills come in the midst of changes however long mails take.
    fn code(&self, email: &str, kind: Kind, after: &str) -> Result<(String, String), Killed> {
        for _ in 0..PATIENCE {
            match self.mailbox.newest(email, kind) {
                Some((name, code)) if name.as_str() > after => return Ok((name, code)),
                _ => {
                    self.client
                        .api("GET", "users/me/", None, &json!({}))
                        .ok_or(Killed)?;
                }
            }
        }
        panic!("no {kind:?} for {email} has come");
    }
}

impl Worker {
    /// Sends requests until the server is killed.
    fn work(&mut self, shift: &Shift<'_>) {
        while self.step(shift).is_ok() {}
    }

    fn unique(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{what}{}x{}", self.number, self.made)
    }

    fn step(&mut self, shift: &Shift<'_>) -> Result<(), Killed> {
        let living: Vec<usize> = (0..self.accounts.len())
            .filter(|index| self.accounts[*index].known.row.is_some())
            .collect();
        if living.len() < FEW {
            return self.sign_up(shift);
        }
        let index = living[usize::try_from(self.dice.roll(living.len() as u64)).unwrap()];
        let choice = self.dice.roll(12);
        let (unique, number) = (self.unique("v"), u8::try_from(self.made % 251).unwrap());
        let account = &mut self.accounts[index];
        if account.awaited.is_some() {
            return account.use_code(shift, &unique);
        }
        match choice {
            0 => self.sign_up(shift),
            1 => account.delete(shift),
            2 => account.remove_photo(shift),
            3 => account.request_reset(shift),
            4 => account.change_email(shift, &unique),
            5..=7 => account.upload(shift, number),
            _ => account.rename(shift, &unique),
        }
    }

    fn sign_up(&mut self, shift: &Shift<'_>) -> Result<(), Killed> {
        let email = format!("{}@example.com", self.unique("user"));
        let password = self.unique("securepassword");
        let body = json!({"email": email, "password": password, "confirm_password": password});
        // Without an answer the account may exist or not, and no worker knows it.
        let (status, answer) = shift.ask("POST", "users/", None, &body)?;
        assert_eq!(status, 201, "{answer}");
        let row = Row {
            email: email.clone(),
            new_email: None,
            is_verified: false,
            name: String::new(),
            photo: None,
        };
        self.accounts.push(Account {
            id: answer["data"]["id"].as_i64(),
            known: Known {
                row: Some(row),
                password,
            },
            perhaps: None,
            access: None,
            awaited: Some((email, Kind::Confirmation, String::new())),
        });
        Ok(())
    }
}

impl Account {
    fn row(&self) -> &Row {
        self.known.row.as_ref().expect("it lives")
    }

    /// The state after a change.
    fn with(&self, change: impl FnOnce(&mut Row)) -> Known {
        let mut row = self.row().clone();
        change(&mut row);
        Known {
            row: Some(row),
            password: self.known.password.clone(),
        }
    }

    /// Sends a request that leads to `next`; until the answer its outcome is unknown.
    fn change(
        &mut self,
        next: Known,
        wanted: u16,
        request: impl FnOnce(&Self) -> Result<(u16, Value), Killed>,
    ) -> Result<Value, Killed> {
        self.perhaps = Some(next);
        let (status, answer) = request(self)?;
        assert_eq!(status, wanted, "{:?}: {answer}", self.perhaps);
        self.known = self.perhaps.take().expect("it was set above");
        Ok(answer)
    }

    fn access(&mut self, shift: &Shift<'_>) -> Result<String, Killed> {
        if self.access.is_none() {
            let body = json!({"email": self.row().email, "password": self.known.password});
            let (status, pair) = shift.ask("POST", "token/", None, &body)?;
            assert_eq!(status, 200, "{pair}");
            self.access = Some(pair["access"].as_str().unwrap().to_owned());
        }
        Ok(self.access.clone().expect("it was set above"))
    }

    fn patch(&mut self, shift: &Shift<'_>, body: &Value, next: Known) -> Result<Value, Killed> {
        let access = self.access(shift)?;
        self.change(next, 200, |_| {
            shift.ask("PATCH", "users/me/", Some(&access), body)
        })
    }

    fn rename(&mut self, shift: &Shift<'_>, name: &str) -> Result<(), Killed> {
        let next = self.with(|row| name.clone_into(&mut row.name));
        self.patch(shift, &json!({"first_name": name}), next)
            .map(drop)
    }

    fn remove_photo(&mut self, shift: &Shift<'_>) -> Result<(), Killed> {
        let next = self.with(|row| row.photo = None);
        self.patch(shift, &json!({"photo": null}), next).map(drop)
    }

    fn upload(&mut self, shift: &Shift<'_>, number: u8) -> Result<(), Killed> {
        let access = self.access(shift)?;
        let next = self.with(|row| row.photo = Some(SOME_PHOTO.to_owned()));
        let answer = self.change(next, 200, |_| {
            let answer = shift
                .client
                .upload(&access, &picture(number))
                .ok_or(Killed)?;
            shift.count().map(|()| answer)
        })?;
        let url = answer["photo"].as_str().unwrap();
        let name = url.rsplit('/').next().unwrap().to_owned();
        self.known = self.with(|row| row.photo = Some(name));
        Ok(())
    }

    fn delete(&mut self, shift: &Shift<'_>) -> Result<(), Killed> {
        let access = self.access(shift)?;
        let next = Known {
            row: None,
            password: self.known.password.clone(),
        };
        let body = json!({"password": self.known.password});
        self.change(next, 204, |_| {
            shift.ask("DELETE", "users/me/", Some(&access), &body)
        })
        .map(drop)
    }

    fn change_email(&mut self, shift: &Shift<'_>, unique: &str) -> Result<(), Killed> {
        let email = format!("{unique}@example.com");
        let next = self.with(|row| row.new_email = Some(email.clone()));
        self.patch(shift, &json!({"email": email}), next)?;
        self.awaited = Some((email, Kind::Confirmation, String::new()));
        Ok(())
    }

    fn request_reset(&mut self, shift: &Shift<'_>) -> Result<(), Killed> {
        let email = self.row().email.clone();
        let newest = shift.mailbox.newest(&email, Kind::Reset);
        let (status, answer) =
            shift.ask("POST", "password/reset/", None, &json!({"email": email}))?;
        assert_eq!(status, 200, "{answer}");
        let (newest, _) = newest.unwrap_or_default();
        self.awaited = Some((email, Kind::Reset, newest));
        Ok(())
    }

    /// Waits for the awaited code and uses it.
    fn use_code(&mut self, shift: &Shift<'_>, unique: &str) -> Result<(), Killed> {
        let (email, kind, after) = self.awaited.clone().expect("the caller has looked");
        let (mail, code) = shift.code(&email, kind, &after)?;
        let (path, access, next, body);
        if kind == Kind::Reset {
            let password = format!("securepassword{unique}");
            path = "password/reset/confirm/";
            access = None;
            body = json!({"email": email, "otp": code, "password": password, "confirm_password": password});
            next = Known {
                row: self.known.row.clone(),
                password,
            };
        } else {
            path = "otp/verify/";
            body = json!({"email": email, "otp": code});
            access = match self.row().is_verified {
                true => Some(self.access(shift)?),
                false => None,
            };
            next = self.with(|row| {
                row.is_verified = true;
                row.email = email;
                row.new_email = None;
            });
        }
        self.perhaps = Some(next);
        let (status, answer) = shift.ask("POST", path, access.as_deref(), &body)?;
        let next = self.perhaps.take().expect("it was set above");
        if status == 400 {
            // The mail belongs to an earlier, unanswered request; the right one is still to come.
            self.awaited.as_mut().expect("the caller has looked").2 = mail;
            return Ok(());
        }
        assert_eq!(status, 200, "{next:?}: {answer}");
        self.known = next;
        self.awaited = None;
        if kind == Kind::Reset {
            self.access = None;
        }
        Ok(())
    }

    /// Compares the account with the database, and resolves an unknown outcome.
    fn check(&mut self, rows: &BTreeMap<i64, Row>, client: &Client) {
        let id = self.id.expect("every answer to a sign-up has one");
        let mut actual = rows.get(&id).cloned();
        let is = |known: &Known| match (&known.row, &actual) {
            (Some(known), Some(actual)) => {
                let mut known = known.clone();
                if known.photo.as_deref() == Some(SOME_PHOTO) {
                    known.photo.clone_from(&actual.photo);
                }
                known == *actual
            }
            (known, actual) => known == actual,
        };
        let was_in_doubt = self.perhaps.take();
        let Some(mut known) = [Some(self.known.clone()), was_in_doubt.clone()]
            .into_iter()
            .flatten()
            .find(is)
        else {
            panic!(
                "account {id} is {actual:#?}, and not {:#?} or {was_in_doubt:#?}",
                self.known
            );
        };
        if let (Some(row), Some(doubtful)) = (&actual, &was_in_doubt) {
            // The row does not show the password.
            if doubtful.password != self.known.password
                && client.sign_in(&row.email, &doubtful.password).is_some()
            {
                known.password.clone_from(&doubtful.password);
            }
            // The code of a request that took effect is used up.
            if self.awaited.is_some()
                && (known.password != self.known.password || known.row != self.known.row)
            {
                self.awaited = None;
            }
            // The address change was stored but not answered; its code is still to come.
            if let Some(email) = &row.new_email {
                self.awaited = Some((email.clone(), Kind::Confirmation, String::new()));
            }
            self.access = None;
        }
        known.row = actual.take();
        self.known = known;
        if let Some(row) = &self.known.row
            && row.is_verified
            && was_in_doubt.is_some()
        {
            let access = client.sign_in(&row.email, &self.known.password);
            assert!(
                access.is_some(),
                "account {id} cannot sign in: {:?}",
                self.known
            );
        }
    }
}

/// Reads all accounts and checks the integrity of the file.
fn look_into(database: &Path) -> BTreeMap<i64, Row> {
    let connection = Connection::open(database).unwrap();
    let fault: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(fault, "ok");
    let mut statement = connection
        .prepare(
            "SELECT id, email, new_email, verified_at IS NOT NULL, first_name, photo FROM users",
        )
        .unwrap();
    let rows = statement.query_map([], |row| {
        let account = Row {
            email: row.get(1)?,
            new_email: row.get(2)?,
            is_verified: row.get(3)?,
            name: row.get(4)?,
            photo: row.get(5)?,
        };
        Ok((row.get(0)?, account))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// Starts the server and checks all confirmed state.
fn start_and_check(dir: &Path, workers: &mut [Worker]) -> Running {
    let server = Running::start_with(
        dir,
        &[
            "--db",
            "users.db",
            "--passwords-bcrypt-cost",
            "4",
            "--rate-limits-enabled=false",
            "--otp-resend-seconds",
            "0",
            "--otp-mails-per-hour",
            "0",
            "--mail-transport",
            "file",
        ],
    );
    let rows = look_into(&dir.join("users.db"));
    let mut named: Vec<String> = rows.values().filter_map(|row| row.photo.clone()).collect();
    named.sort();
    let photos = dir.join("users.db.media/photos");
    let files = if photos.exists() {
        names_in(&photos)
    } else {
        Vec::new()
    };
    assert_eq!(files, named, "no file without a row, no row without a file");
    let client = Client::new(server.address);
    for account in workers.iter_mut().flat_map(|worker| &mut worker.accounts) {
        account.check(&rows, &client);
    }
    server
}

#[test]
fn a_hundred_crashes_under_load_lose_nothing_that_was_answered_for() {
    let seed = match std::env::var("DURABILITY_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => u64::from(std::process::id()),
    };
    println!("DURABILITY_SEED={seed}");
    let dir = folder();
    let mailbox = Mailbox {
        dir: dir.path().join("mail"),
        read: Mutex::default(),
    };
    let mut dice = Dice(seed);
    let mut workers: Vec<Worker> = (0..WORKERS)
        .map(|number| Worker {
            number,
            dice: Dice(seed + 1 + number),
            made: 0,
            accounts: Vec::new(),
        })
        .collect();
    let mut answered = 0;
    for _ in 0..KILLS {
        let server = start_and_check(dir.path(), &mut workers);
        let client = Client::new(server.address);
        let (answers, counted) = channel();
        thread::scope(|scope| {
            for worker in &mut workers {
                let shift = Shift {
                    client: &client,
                    mailbox: &mailbox,
                    answers: answers.clone(),
                };
                scope.spawn(move || worker.work(&shift));
            }
            drop(answers);
            // Some requests, and then a random delay that does not depend on them.
            let enough = 1 + usize::try_from(dice.roll(40)).unwrap();
            answered += counted.iter().take(enough).count();
            thread::sleep(Duration::from_micros(dice.roll(4000)));
            server.kill();
        });
    }
    // Every confirmed mail arrives, and its code is valid.
    let server = start_and_check(dir.path(), &mut workers);
    let client = Client::new(server.address);
    let (answers, _counted) = channel();
    let shift = Shift {
        client: &client,
        mailbox: &mailbox,
        answers,
    };
    for worker in &mut workers {
        for index in 0..worker.accounts.len() {
            let unique = worker.unique("last");
            let account = &mut worker.accounts[index];
            while account.known.row.is_some() && account.awaited.is_some() {
                assert!(account.use_code(&shift, &unique).is_ok());
            }
        }
    }
    assert_eq!(server.terminate().code, Some(0));
    start_and_check(dir.path(), &mut workers);
    let accounts: usize = workers.iter().map(|worker| worker.accounts.len()).sum();
    println!("{accounts} accounts, more than {answered} answers");
    assert!(answered > 1000 && accounts > 10, "{answered}, {accounts}");
}
