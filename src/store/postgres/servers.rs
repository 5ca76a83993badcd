//! The servers of a database: which one takes the writes, and whether what it says can be believed.
//!
//! A server that was the primary and is none any more may go on answering reads. So a thread commits once
//! a second; such a commit is only confirmed by a primary whose standbys, where it waits for them, still
//! follow it. Nothing that is read counts while the last of these commits is older than
//! [`TRUSTED_FOR`], or comes from a connection of before the primary was last looked for.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;

use super::client::{Client, Commit, Patience, Term};
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
const PATIENCE: Patience = Patience::of(Duration::from_millis(2_500));

/// How long a search waits for all answers. One that comes later still counts, unless another search
/// has found a primary meanwhile.
const LONGEST_SEARCH: Duration = Duration::from_secs(2);

/// The pause between two searches for the primary.
const SEARCH_PAUSE: Duration = Duration::from_millis(100);

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
    // That of the primary, for those who wait for its answers.
    generation: Arc<AtomicU64>,
    found: Condvar,
    running_since: Stopwatch,
    // Milliseconds since the start at which the last confirmed commit began.
    confirmed_at: AtomicU64,
    // How many milliseconds the clock of the database is ahead.
    clock_offset: AtomicI64,
    transactions: AtomicU64,
    // Whether a connection broke since the primary was asked last.
    is_doubted: AtomicBool,
    is_stopping: AtomicBool,
}

impl Servers {
    pub(super) fn new(all: Vec<Server>, tls: Option<Arc<ClientConfig>>, id: [u8; 16]) -> Self {
        Self {
            all,
            tls,
            id,
            primary: Mutex::default(),
            generation: Arc::default(),
            is_doubted: AtomicBool::new(false),
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
        Client::connect(&self.all[server], self.tls.as_ref(), None)
    }

    /// Connects to the primary of a generation: its answers are waited for while it is the primary.
    ///
    /// # Errors
    /// What the driver reports.
    pub(super) fn connect_for(&self, server: usize, generation: u64) -> StoreResult<Client> {
        let term = Term {
            generation,
            current: Arc::clone(&self.generation),
        };
        Client::connect(&self.all[server], self.tls.as_ref(), Some(term))
    }

    /// Has the primary asked at once whether it still is one: a connection to it broke.
    pub(super) fn doubt(&self) {
        self.is_doubted.store(true, Ordering::SeqCst);
        drop(self.lock());
        self.found.notify_all();
    }

    /// Notes that no primary is known.
    fn lose_primary(&self) {
        let now = self.elapsed();
        let mut primary = self.lock();
        if primary.server.is_some() {
            primary.lost_at = now;
            self.set_primary(primary, None);
        }
    }

    /// Notes the primary that a search has found which began in this generation.
    fn note_primary(&self, server: usize, generation: u64, confirmed_at: u64) {
        let primary = self.lock();
        if primary.server.is_none() && primary.generation == generation {
            self.confirmed_at.fetch_max(confirmed_at, Ordering::SeqCst);
            self.set_primary(primary, Some(server));
        }
    }

    /// Begins a new generation.
    fn set_primary(&self, mut primary: MutexGuard<'_, Primary>, server: Option<usize>) {
        primary.server = server;
        primary.generation += 1;
        self.generation.store(primary.generation, Ordering::SeqCst);
        drop(primary);
        self.found.notify_all();
    }

    /// Asks all servers at once which one takes writes.
    ///
    /// # Errors
    /// When none does: what each of them says.
    pub(super) fn find_primary(self: &Arc<Self>) -> Result<(), Vec<String>> {
        let (answer, answers) = channel();
        let generation = self.lock().generation;
        for index in 0..self.all.len() {
            let (servers, answer) = (Arc::clone(self), answer.clone());
            // A server that does not answer holds its thread for some seconds, and nobody else.
            drop(thread::spawn(move || {
                let started_at = servers.elapsed();
                let asked = servers
                    .connect(index)
                    .and_then(|client| servers.confirm(&client));
                if asked.is_ok() {
                    servers.note_primary(index, generation, started_at);
                }
                let _ = answer.send((index, asked));
            }));
        }
        drop(answer);
        let mut problems = Vec::new();
        let stopwatch = Stopwatch::start();
        let left = || LONGEST_SEARCH.saturating_sub(stopwatch.elapsed());
        while let Ok((index, asked)) = answers.recv_timeout(left()) {
            match asked {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let server = &self.all[index];
                    let cause = root_cause(&error);
                    problems.push(format!("{}:{}: {cause}", server.host, server.port));
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
             to_regclass('fences') IS NOT NULL, current_setting('transaction_read_only') = 'on'",
            &[],
            |row| {
                let is_read_only = row.get::<bool>(2)?;
                Ok((row.get::<i64>(0)?, row.get::<bool>(1)?, is_read_only))
            },
        );
        let (there, has_schema) = match asked {
            Ok((_, _, true)) => {
                client.roll_back();
                return Err(StoreError::busy("the server is read-only, as a standby is"));
            }
            Ok((there, has_schema, false)) => (there, has_schema),
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
                    self.lose_primary();
                    if self.find_primary().is_err() {
                        thread::sleep(SEARCH_PAUSE);
                    }
                }
            }
        }
    }

    /// Waits, or until the end or a [`doubt`](Self::doubt).
    fn pause(&self, time: Duration) {
        let primary = self.lock();
        let _ = self.found.wait_timeout_while(primary, time, |_| {
            !self.is_stopping.load(Ordering::SeqCst) && !self.is_doubted.load(Ordering::SeqCst)
        });
        self.is_doubted.store(false, Ordering::SeqCst);
    }

    /// Ends [`watch`](Self::watch).
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        drop(self.lock());
        self.found.notify_all();
    }
}

/// What an error comes from, in the words of the server or the system.
fn root_cause(error: &StoreError) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// A number of milliseconds as text.
fn seconds(millis: i64) -> String {
    format!("{}.{:03} s", millis / 1000, (millis % 1000).abs())
}
