//! The servers of a database: which one takes the writes, and whether what it says can be believed.
//!
//! A server that was the primary and is none any more may go on answering reads. So a thread commits once
//! a second; such a commit is only confirmed by a primary whose standbys, where it waits for them, still
//! follow it. Nothing that is read counts while the last of these commits is older than
//! [`TRUSTED_FOR`], or comes from a connection of before the primary was last looked for.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;

use super::client::{Client, Commit};
use super::upkeep::keep_small;
use super::url::Server;
use crate::clock::{Clock, Stopwatch, SystemClock};
use crate::observability::error_chain;
use crate::store::operations::connection::{Connection, params};
use crate::store::{StoreError, StoreResult};

/// How often the primary has to confirm a commit.
const INTERVAL: Duration = Duration::from_secs(1);

/// After how many of these commits the tables of the engine are tidied up.
const UPKEEP: u32 = 60;

/// How long reads are believed after such a commit began.
const TRUSTED_FOR: Duration = Duration::from_secs(3);

/// The longest wait for such a commit.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// The longest wait for the first answer of all servers.
const LONGEST_SEARCH: Duration = Duration::from_secs(6);

/// How long an operation waits while no primary is known.
const WAIT_FOR_PRIMARY: Duration = Duration::from_secs(2);

/// Difference of the clocks from which it is reported.
const CLOCK_WARNING: i64 = 2_000;

/// Difference of the clocks from which this server is not ready.
const CLOCK_LIMIT: i64 = 5_000;

/// The primary, as it was found last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Primary {
    /// The index of its server; `None` while none is known.
    server: Option<usize>,
    /// Increases each time that the primary is looked for.
    pub(super) generation: u64,
    /// Milliseconds since the start at which it was lost.
    lost_at: u64,
}

/// What all threads of a store know of the servers.
pub(super) struct Servers {
    all: Vec<Server>,
    tls: Option<Arc<ClientConfig>>,
    id: [u8; 16],
    primary: Mutex<Primary>,
    found: Condvar,
    running_since: Stopwatch,
    // Milliseconds since the start at which the last confirmed commit began.
    confirmed_at: AtomicU64,
    // How many milliseconds the clock of the database is ahead.
    clock_offset: AtomicI64,
    transactions: AtomicU64,
    is_stopping: AtomicBool,
}

impl Servers {
    pub(super) fn new(all: Vec<Server>, tls: Option<Arc<ClientConfig>>, id: [u8; 16]) -> Self {
        Self {
            all,
            tls,
            id,
            primary: Mutex::default(),
            found: Condvar::new(),
            running_since: Stopwatch::start(),
            confirmed_at: AtomicU64::new(0),
            clock_offset: AtomicI64::new(0),
            transactions: AtomicU64::new(0),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// An id for a transaction, which no other one has.
    pub(super) fn transaction_id(&self) -> Vec<u8> {
        let number = self.transactions.fetch_add(1, Ordering::SeqCst);
        [&self.id[..], &number.to_be_bytes()].concat()
    }

    fn lock(&self) -> MutexGuard<'_, Primary> {
        self.primary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.running_since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether something that was read just now on a connection of this generation can be believed.
    pub(super) fn is_trusted(&self, generation: u64) -> bool {
        let age = self
            .elapsed()
            .saturating_sub(self.confirmed_at.load(Ordering::SeqCst));
        let primary = *self.lock();
        primary.server.is_some()
            && primary.generation == generation
            && Duration::from_millis(age) < TRUSTED_FOR
    }

    /// Whether the clocks agree well enough.
    ///
    /// # Errors
    /// When they do not.
    pub(super) fn check_clock(&self) -> StoreResult<()> {
        let offset = self.clock_offset.load(Ordering::SeqCst);
        if offset.abs() <= CLOCK_LIMIT {
            return Ok(());
        }
        Err(StoreError::busy(format!(
            "the clock of this machine is {} behind that of the database; set it by NTP",
            seconds(offset)
        )))
    }

    /// How many milliseconds the clock of the database is ahead.
    pub(super) fn clock_offset(&self) -> i64 {
        self.clock_offset.load(Ordering::SeqCst)
    }

    /// Waits for a primary.
    ///
    /// # Errors
    /// When none is found within a while.
    pub(super) fn wait_for_primary(&self) -> StoreResult<(usize, u64)> {
        let primary = self.lock();
        // Who comes later does not wait longer than those who wait already.
        let lost_for = Duration::from_millis(self.elapsed().saturating_sub(primary.lost_at));
        let patience = WAIT_FOR_PRIMARY.saturating_sub(lost_for);
        let (primary, _) = self
            .found
            .wait_timeout_while(primary, patience, |primary| {
                primary.server.is_none() && !self.is_stopping.load(Ordering::SeqCst)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match primary.server {
            Some(server) => Ok((server, primary.generation)),
            None => Err(StoreError::busy("no server of the database takes writes")),
        }
    }

    /// Connects to a server.
    ///
    /// # Errors
    /// What the driver reports.
    pub(super) fn connect(&self, server: usize) -> StoreResult<Client> {
        Client::connect(&self.all[server], self.tls.as_ref())
    }

    /// Notes which server is the primary, in a new generation.
    fn set_primary(&self, server: Option<usize>) {
        let now = self.elapsed();
        let mut primary = self.lock();
        if server.is_none() && primary.server.is_some() {
            primary.lost_at = now;
        }
        primary.server = server;
        primary.generation += 1;
        drop(primary);
        self.found.notify_all();
    }

    /// Asks all servers at once which one takes writes.
    ///
    /// # Errors
    /// When none does: what each of them says.
    pub(super) fn find_primary(self: &Arc<Self>) -> Result<(), Vec<String>> {
        let (answer, answers) = channel();
        for index in 0..self.all.len() {
            let (servers, answer) = (Arc::clone(self), answer.clone());
            // A server that does not answer holds its thread for some seconds, and nobody else.
            drop(thread::spawn(move || {
                let started_at = servers.elapsed();
                let asked = servers
                    .connect(index)
                    .and_then(|client| servers.confirm(&client));
                let _ = answer.send((index, started_at, asked));
            }));
        }
        drop(answer);
        let mut problems = Vec::new();
        while let Ok((index, started_at, asked)) = answers.recv_timeout(LONGEST_SEARCH) {
            match asked {
                Ok(()) => {
                    self.confirmed_at.fetch_max(started_at, Ordering::SeqCst);
                    self.set_primary(Some(index));
                    return Ok(());
                }
                Err(error) => {
                    let server = &self.all[index];
                    let problem =
                        format!("{}:{}: {}", server.host, server.port, error_chain(&error));
                    problems.push(problem);
                }
            }
        }
        if problems.len() < self.all.len() {
            problems.push("a server does not answer".to_owned());
        }
        Err(problems)
    }

    /// Has a server confirm a commit, and compares the clocks.
    fn confirm(&self, client: &Client) -> StoreResult<()> {
        client.set_patience(PATIENCE);
        client.begin(Some("BEGIN"));
        let before = SystemClock.now().unix_millis();
        let connection: &dyn Connection = client;
        let asked = connection.query_row(
            "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint), \
             to_regclass('fences') IS NOT NULL",
            &[],
            |row| Ok((row.get::<i64>(0)?, row.get::<bool>(1)?)),
        );
        let (there, has_schema) = match asked {
            Ok(answer) => answer,
            Err(error) => {
                client.roll_back();
                return Err(error);
            }
        };
        let after = SystemClock.now().unix_millis();
        self.note_clock(there - before.midpoint(after));
        if has_schema {
            client.run(
                "INSERT INTO fences (server, at) VALUES (:server, :at) \
                 ON CONFLICT (server) DO UPDATE SET at = excluded.at",
                params! { ":server": self.id, ":at": after },
            )?;
        } else {
            // Before the schema is there, a temporary table shows whether writes are taken.
            client.run(
                "CREATE TEMPORARY TABLE asked (at bigint) ON COMMIT DROP",
                &[],
            )?;
        }
        match client.commit() {
            Commit::Done => Ok(()),
            Commit::Refused(error) => Err(error),
            Commit::Unknown => Err(StoreError::busy("the server does not confirm a commit")),
        }
    }

    fn note_clock(&self, offset: i64) {
        let former = self.clock_offset.swap(offset, Ordering::SeqCst);
        if offset.abs() > CLOCK_WARNING && former.abs() <= CLOCK_WARNING {
            log::warn!(
                "the clock of this machine is {} behind that of the database: times are those of this \
                 machine, so set it by NTP",
                seconds(offset)
            );
        }
    }

    /// Keeps asking the primary, and looks for another one when it does not answer, until
    /// [`stop`](Self::stop).
    pub(super) fn watch(self: &Arc<Self>) {
        let mut watched: Option<(Client, u64)> = None;
        let mut was_lost = false;
        let mut confirmations: u32 = 0;
        while !self.is_stopping.load(Ordering::SeqCst) {
            let started_at = self.elapsed();
            let generation = self.lock().generation;
            let client = match watched.take() {
                Some((client, of)) if of == generation => Ok(client),
                _ => self
                    .wait_for_primary()
                    .and_then(|(index, _)| self.connect(index)),
            };
            let confirmed = client.and_then(|client| self.confirm(&client).map(|()| client));
            match confirmed {
                Ok(client) => {
                    self.confirmed_at.fetch_max(started_at, Ordering::SeqCst);
                    confirmations = confirmations.wrapping_add(1);
                    if confirmations.is_multiple_of(UPKEEP)
                        && let Err(error) = keep_small(&client)
                    {
                        log::warn!("the tables were not tidied up: {}", error_chain(&error));
                    }
                    watched = Some((client, generation));
                    if was_lost {
                        log::info!("the database takes writes again");
                        was_lost = false;
                    }
                    self.pause(INTERVAL);
                }
                Err(error) => {
                    if !was_lost {
                        log::warn!(
                            "the database does not confirm writes: {}",
                            error_chain(&error)
                        );
                        was_lost = true;
                    }
                    self.set_primary(None);
                    if self.find_primary().is_err() {
                        self.pause(INTERVAL / 4);
                    }
                }
            }
        }
    }

    /// Waits, or until the end.
    fn pause(&self, time: Duration) {
        let primary = self.lock();
        let _ = self
            .found
            .wait_timeout_while(primary, time, |_| !self.is_stopping.load(Ordering::SeqCst));
    }

    /// Ends [`watch`](Self::watch).
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        drop(self.lock());
        self.found.notify_all();
    }
}

/// A number of milliseconds as text.
fn seconds(millis: i64) -> String {
    format!("{}.{:03} s", millis / 1000, (millis % 1000).abs())
}
