//! A connection to a server: statements are prepared once, and sent together where their results are not
//! needed one by one.
//!
//! A client belongs to one thread and drives its connection itself, so that a round trip costs no
//! change of threads.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{join, join_all, poll_fn};
use futures_util::{TryStreamExt, ready};
use lru::LruCache;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::tls::TlsConnect;
use tokio_postgres::{AsyncMessage, Connection, Error, NoTls, Row as PostgresRow, Statement};
use tokio_rustls::rustls::ClientConfig;

use super::statement::number;
use super::tls::Connector;
use super::url::Server;
use super::values::refusal;
use super::{driver_error, search};
use crate::domain::UserId;
use crate::store::operations::connection::{
    Connection as OperationsConnection, EachRow, Param, Row, Value, params,
};
use crate::store::{StoreError, StoreResult};

/// Prepared statements of a connection.
const STATEMENTS: NonZeroUsize = NonZeroUsize::new(400).expect("the number is not zero");

/// Statements that are sent together at most.
const PIPELINE: usize = 24;

/// How often a wait for an answer looks whether it still makes sense.
const TICK: Duration = Duration::from_millis(100);

/// The longest wait for a new connection, and for answers until [`Client::set_patience`] says otherwise.
const CONNECT_PATIENCE: Patience = Patience::of(Duration::from_secs(5));

/// How long answers are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    longest: Duration,
    outlasts_term: bool,
}

impl Patience {
    /// Until this time has passed, or the server is not known as the primary any more.
    pub(super) const fn of(longest: Duration) -> Self {
        Self {
            longest,
            outlasts_term: false,
        }
    }

    /// Until this time has passed, for work that cannot be repeated.
    pub(super) const fn unconditional(longest: Duration) -> Self {
        Self {
            longest,
            outlasts_term: true,
        }
    }
}

/// The time in which a server is known as the primary.
pub(super) struct Term {
    /// Its generation.
    pub(super) generation: u64,
    /// The generation of now.
    pub(super) current: Arc<AtomicU64>,
}

impl Term {
    fn is_over(&self) -> bool {
        self.current.load(Ordering::SeqCst) != self.generation
    }
}

/// What went wrong with a connection or a transaction, as far as another attempt may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is lost, or its server takes no writes.
    Broken,
    /// Two transactions were in each other's way, and this one was rolled back.
    Conflict,
}

/// A prepared statement.
struct Prepared {
    statement: Statement,
    /// The names of its parameters in the order of their numbers.
    names: Vec<String>,
    /// Whether it writes texts that are searched.
    changes_texts: bool,
}

/// A statement that is sent with the next one whose result is needed.
enum Pending {
    Plain(&'static str),
    Prepared(Arc<Prepared>, Vec<Value<'static>>),
}

/// An open connection.
pub(super) struct Client {
    driver: tokio_postgres::Client,
    statements: RefCell<LruCache<String, Arc<Prepared>>>,
    pending: RefCell<Vec<Pending>>,
    fault: Cell<Option<Fault>>,
    /// Whether a statement of the transaction has failed.
    has_failed: Cell<bool>,
    /// Whether texts of accounts were written that are searched.
    has_new_texts: Cell<bool>,
    /// Whether the server has sent a warning.
    warned: Arc<AtomicBool>,
    patience: Cell<Patience>,
    /// When waiting for answers makes no more sense.
    term: Option<Term>,
    // Dropped last: it drives the connection.
    runtime: Runtime,
}

type BoxedFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>;

impl Client {
    /// Connects to one server, for the time in which it is the primary.
    ///
    /// # Errors
    /// What the driver reports.
    pub(super) fn connect(
        server: &Server,
        tls: Option<&Arc<ClientConfig>>,
        term: Option<Term>,
    ) -> StoreResult<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StoreError::failed)?;
        let warned = Arc::new(AtomicBool::new(false));
        let connect = async {
            let Some(tls) = tls.filter(|_| server.has_tls) else {
                let (client, connection) = server.config.connect(NoTls).await?;
                drop(tokio::spawn(drive(connection, Arc::clone(&warned))));
                return Ok(client);
            };
            let connector = Connector {
                config: Arc::clone(tls),
                host: server.host.clone(),
            };
            let (client, connection) = open(server, connector).await?;
            drop(tokio::spawn(drive(connection, Arc::clone(&warned))));
            Ok(client)
        };
        let driver = runtime
            .block_on(async { timeout(CONNECT_PATIENCE.longest, connect).await })
            .map_err(|_| StoreError::busy("the server does not answer"))?
            .map_err(driver_error)?;
        Ok(Self {
            driver,
            statements: RefCell::new(LruCache::new(STATEMENTS)),
            pending: RefCell::new(Vec::new()),
            fault: Cell::new(None),
            has_failed: Cell::new(false),
            has_new_texts: Cell::new(false),
            warned,
            patience: Cell::new(CONNECT_PATIENCE),
            term,
            runtime,
        })
    }

    /// How long answers are waited for from now on.
    pub(super) fn set_patience(&self, patience: Patience) {
        self.patience.set(patience);
    }

    /// What went wrong last.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    /// Whether the connection is lost, as far as is known without asking.
    pub(super) fn is_lost(&self) -> bool {
        // The end of a connection that was closed meanwhile is read here.
        self.runtime.block_on(tokio::task::yield_now());
        self.fault.get() == Some(Fault::Broken) || self.driver.is_closed()
    }

    /// Begins an operation, in a transaction if `statement` begins one; that is sent with its first
    /// statement.
    pub(super) fn begin(&self, statement: Option<&'static str>) {
        self.fault.set(None);
        self.has_failed.set(false);
        let mut pending = self.pending.borrow_mut();
        pending.clear();
        pending.extend(statement.map(Pending::Plain));
        self.has_new_texts.set(false);
    }

    /// Whether texts of accounts were written that are searched.
    pub(super) fn has_new_texts(&self) -> bool {
        self.has_new_texts.get()
    }

    /// Ends a transaction without its changes.
    pub(super) fn roll_back(&self) {
        let was_sent = !matches!(
            self.pending.borrow().first(),
            Some(Pending::Plain(statement)) if statement.starts_with("BEGIN")
        );
        self.pending.borrow_mut().clear();
        if was_sent && self.fault.get() != Some(Fault::Broken) {
            let _ = self.block_on(self.driver.batch_execute("ROLLBACK"));
        }
    }

    /// Commits. What was not sent yet is sent with it.
    pub(super) fn commit(&self) -> Commit {
        if self.has_failed.get() {
            self.roll_back();
            return Commit::Refused(StoreError::failed("a statement of the transaction failed"));
        }
        self.pending.borrow_mut().push(Pending::Plain("COMMIT"));
        // A statement before it may have warned, such as the one for an extension that cannot be had.
        self.warned.store(false, Ordering::SeqCst);
        match self.send(None, &mut |_| Ok(true)) {
            // A warning at the commit: the server no longer waits for its standby.
            Ok(_) if self.warned.load(Ordering::SeqCst) => {
                self.fault.set(Some(Fault::Broken));
                Commit::Unknown
            }
            Ok(_) => Commit::Done,
            Err(_) if self.fault.get() == Some(Fault::Broken) => Commit::Unknown,
            Err(error) => {
                // One of the statements failed, and the server has rolled all of them back.
                Commit::Refused(error)
            }
        }
    }

    /// Sends what is pending, and a last statement whose rows are handed to `each`. Returns how many rows
    /// it changed.
    fn send(&self, last: Option<(&Prepared, &[Value<'_>])>, each: EachRow<'_>) -> StoreResult<u64> {
        let pending = std::mem::take(&mut *self.pending.borrow_mut());
        let before: Vec<BoxedFuture<'_, ()>> = pending
            .iter()
            .map(|pending| -> BoxedFuture<'_, ()> {
                match pending {
                    Pending::Plain(statement) => Box::pin(self.driver.batch_execute(statement)),
                    Pending::Prepared(prepared, values) => Box::pin(async move {
                        let sent = self.driver.execute_raw(&prepared.statement, values);
                        sent.await.map(drop)
                    }),
                }
            })
            .collect();
        let asked = async {
            let Some((prepared, values)) = last else {
                return Ok(Ok(0));
            };
            let stream = self.driver.query_raw(&prepared.statement, values).await?;
            let mut stream = std::pin::pin!(stream);
            let mut read = Ok(true);
            while let Some(row) = stream.try_next().await? {
                // What is not wanted any more still has to be received.
                if matches!(read, Ok(true)) {
                    read = each(&Row::new(&row));
                }
            }
            Ok(read.map(|_| stream.rows_affected().unwrap_or(0)))
        };
        let all = async {
            let (before, asked) = join(join_all(before), asked).await;
            // The first error is the cause of the others.
            before.into_iter().collect::<Result<Vec<()>, Error>>()?;
            asked
        };
        self.block_on(all)?
    }

    fn block_on<T>(&self, work: impl Future<Output = Result<T, Error>>) -> StoreResult<T> {
        match self.runtime.block_on(self.wait(work)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.has_failed.set(true);
                self.fault.set(fault_of(&error));
                Err(driver_error(error))
            }
            Err(problem) => {
                self.has_failed.set(true);
                self.fault.set(Some(Fault::Broken));
                Err(StoreError::busy(problem))
            }
        }
    }

    /// Waits for an answer as long as that makes sense.
    async fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        let Patience {
            longest,
            outlasts_term,
        } = self.patience.get();
        let term = self.term.as_ref().filter(|_| !outlasts_term);
        let mut work = pin!(work);
        let mut left = longest;
        loop {
            let tick = left.min(TICK);
            if let Ok(done) = timeout(tick, &mut work).await {
                return Ok(done);
            }
            left -= tick;
            if left.is_zero() {
                return Err(format!("the database has not answered for {longest:?}"));
            }
            if term.is_some_and(Term::is_over) {
                return Err("the server does not confirm writes any more".to_owned());
            }
        }
    }

    fn note_texts(&self, prepared: &Prepared) {
        if prepared.changes_texts {
            self.has_new_texts.set(true);
        }
    }

    fn prepare(&self, sql: &str) -> StoreResult<Arc<Prepared>> {
        if let Some(prepared) = self.statements.borrow_mut().get(sql) {
            self.note_texts(prepared);
            return Ok(Arc::clone(prepared));
        }
        let numbered = number(sql);
        let statement = self.block_on(self.driver.prepare(&numbered.sql))?;
        let prepared = Arc::new(Prepared {
            statement,
            names: numbered.names,
            changes_texts: search::changes_texts(sql),
        });
        self.note_texts(&prepared);
        self.statements
            .borrow_mut()
            .put(sql.to_owned(), Arc::clone(&prepared));
        Ok(prepared)
    }

    /// The values of a statement in the order of its parameters. One that does not fit ends the
    /// transaction, before anything of the statement is sent.
    fn in_order<'a>(
        &self,
        prepared: &Prepared,
        params: &[Param<'a>],
    ) -> StoreResult<Vec<Value<'a>>> {
        let types = prepared.statement.params();
        let values = prepared.names.iter().zip(types).map(|(name, ty)| {
            let found = params.iter().find(|(given, _)| given == name);
            let (_, value) = found.ok_or_else(|| format!("a statement lacks {name}"))?;
            match refusal(value, ty) {
                None => Ok(value.clone()),
                Some(refusal) => Err(format!("{name}: {refusal}")),
            }
        });
        values.collect::<Result<_, String>>().map_err(|problem| {
            self.has_failed.set(true);
            StoreError::failed(problem)
        })
    }

    /// Runs a statement of several parts without parameters, outside of transactions.
    ///
    /// # Errors
    /// What the server reports.
    pub(super) fn run_script(&self, script: &str) -> StoreResult<()> {
        self.block_on(self.driver.batch_execute(script))
    }

    /// Reads the accounts of many keys at once: `sql` has one parameter, an array of texts.
    ///
    /// # Errors
    /// What the server reports.
    pub(super) fn query_by_texts(&self, sql: &str, keys: &[&str]) -> StoreResult<Vec<PostgresRow>> {
        let prepared = self.prepare(sql)?;
        self.block_on(self.driver.query(&prepared.statement, &[&keys]))
    }
}

/// How a commit ended.
pub(super) enum Commit {
    /// It is durable.
    Done,
    /// Nothing has changed.
    Refused(StoreError),
    /// The connection was lost before the answer came, or the server does not vouch for it.
    Unknown,
}

impl OperationsConnection for Client {
    fn query(&self, sql: &str, params: &[Param<'_>], each: EachRow<'_>) -> StoreResult<()> {
        let prepared = self.prepare(sql)?;
        let values = self.in_order(&prepared, params)?;
        self.send(Some((&prepared, &values)), each).map(drop)
    }

    fn execute(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<usize> {
        let prepared = self.prepare(sql)?;
        let values = self.in_order(&prepared, params)?;
        let changed = self.send(Some((&prepared, &values)), &mut |_| Ok(true))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    fn run(&self, sql: &str, params: &[Param<'_>]) -> StoreResult<()> {
        let prepared = self.prepare(sql)?;
        let values = self
            .in_order(&prepared, params)?
            .into_iter()
            .map(Value::into_owned)
            .collect();
        self.pending
            .borrow_mut()
            .push(Pending::Prepared(prepared, values));
        if self.pending.borrow().len() >= PIPELINE {
            self.send(None, &mut |_| Ok(true))?;
        }
        Ok(())
    }

    fn next_user_id(&self) -> StoreResult<UserId> {
        let connection: &dyn OperationsConnection = self;
        connection.query_row(
            "SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM users_id_seq",
            &[],
            |row| row.get(0),
        )
    }

    fn new_user_id(&self) -> StoreResult<Option<UserId>> {
        let connection: &dyn OperationsConnection = self;
        connection
            .query_row("SELECT nextval('users_id_seq')", &[], |row| row.get(0))
            .map(Some)
    }

    fn prefer_indexes(&self) -> StoreResult<()> {
        self.run("SET LOCAL enable_seqscan = off", &[])
    }

    fn raise_user_ids(&self) -> StoreResult<()> {
        // Nobody takes a number meanwhile: other writers wait for the end of an import.
        self.run(
            "SELECT setval('users_id_seq', greatest(last_value, \
             (SELECT coalesce(max(id), 1) FROM users)), is_called OR EXISTS (SELECT 1 FROM users)) \
             FROM users_id_seq",
            params! {},
        )
    }

    fn next_event_number(&self) -> StoreResult<i64> {
        let connection: &dyn OperationsConnection = self;
        connection.query_row("SELECT nextval('deliveries_id_seq')", &[], |row| row.get(0))
    }
}

async fn open(
    server: &Server,
    connector: Connector,
) -> Result<
    (
        tokio_postgres::Client,
        Connection<
            tokio_postgres::Socket,
            <Connector as TlsConnect<tokio_postgres::Socket>>::Stream,
        >,
    ),
    Error,
> {
    server.config.connect(SingleUse(connector)).await
}

/// A connector for the one connection that it makes.
struct SingleUse(Connector);

impl tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket> for SingleUse {
    type Stream = <Connector as TlsConnect<tokio_postgres::Socket>>::Stream;
    type TlsConnect = Connector;
    type Error = std::convert::Infallible;

    fn make_tls_connect(&mut self, _: &str) -> Result<Connector, Self::Error> {
        Ok(Connector {
            config: Arc::clone(&self.0.config),
            host: self.0.host.clone(),
        })
    }
}

/// Drives a connection until it ends, and notes warnings.
async fn drive<S, T>(mut connection: Connection<S, T>, warned: Arc<AtomicBool>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|context| {
        loop {
            match ready!(connection.poll_message(context)) {
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    if notice.parsed_severity() == Some(Severity::Warning) {
                        log::warn!("the database warns: {}", notice.message());
                        warned.store(true, Ordering::SeqCst);
                    }
                }
                Some(Ok(_)) => {}
                // The client reports it.
                Some(Err(_)) | None => return std::task::Poll::Ready(()),
            }
        }
    })
    .await;
}

/// What an error says about the connection and the transaction.
fn fault_of(error: &Error) -> Option<Fault> {
    let Some(code) = error.code() else {
        return Some(Fault::Broken);
    };
    if [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
    ]
    .contains(code)
    {
        return Some(Fault::Conflict);
    }
    let is_broken = [
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
    ]
    .contains(code)
        || code.code().starts_with("08");
    is_broken.then_some(Fault::Broken)
}
