//! Metrics of the running server, for Prometheus.
//!
//! Counting a request is an atomic addition at a fixed place: no lock, no lookup by name, and nothing
//! that clients can make grow. Metrics libraries keep series in maps behind locks because they do not
//! know the label values in advance; here all of them are known at compile time. Names and text are
//! added when the page is requested.

mod actions;
mod factors;
mod histogram;
mod page;
mod process;
mod providers;
mod store;

use std::array;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::domain::{ProviderKind, SecondFactor, Timestamp};
use actions::ActionCounts;
pub use actions::{Action, ActionOutcome};
use factors::FactorCounts;
pub use factors::FactorEvent;
pub use histogram::Histogram;
use page::{Page, escaped};
use providers::ProviderCounts;
pub use providers::ProviderOutcome;
pub use store::WriteCounts;

/// Maximum number of routes.
pub const MAX_ROUTES: usize = 256;

/// Methods with series of their own; the last one is for all others.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS", "other"];

/// Statuses with series of their own; 0 is for all others.
const STATUSES: [u16; 23] = [
    200, 201, 202, 204, 206, 302, 304, 307, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 416,
    429, 500, 503, 0,
];

/// The outcome of a delivery attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailOutcome {
    /// The next mail server accepted the mail.
    Delivered,
    /// It is retried later.
    Postponed,
    /// It was refused permanently.
    GivenUp,
    /// It expired before it could be delivered.
    Expired,
}

impl MailOutcome {
    const ALL: [Self; 4] = [
        Self::Delivered,
        Self::Postponed,
        Self::GivenUp,
        Self::Expired,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Postponed => "postponed",
            Self::GivenUp => "given_up",
            Self::Expired => "expired",
        }
    }
}

/// Why the server closed or refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionEnd {
    /// The limit was reached, and no other connection was idle.
    Refused,
    /// It was evicted for a new one.
    Evicted,
    /// No request arrived.
    NoRequest,
    /// The header of a request did not arrive in time.
    SlowHeader,
    /// A response was not read in time.
    SlowReader,
    /// It was idle for too long between two requests.
    Idle,
}

impl ConnectionEnd {
    const ALL: [Self; 6] = [
        Self::Refused,
        Self::Evicted,
        Self::NoRequest,
        Self::SlowHeader,
        Self::SlowReader,
        Self::Idle,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Evicted => "evicted",
            Self::NoRequest => "no_request",
            Self::SlowHeader => "slow_header",
            Self::SlowReader => "slow_reader",
            Self::Idle => "idle",
        }
    }
}

/// The counts of one method of one route.
#[derive(Debug, Default)]
struct ResponseCounts {
    by_status: [AtomicU64; STATUSES.len()],
    duration: Histogram,
}

/// Counters since the start of the server.
#[derive(Debug)]
pub struct Metrics {
    // Series that never occur take no memory.
    answers: [[OnceLock<Box<ResponseCounts>>; METHODS.len()]; MAX_ROUTES],
    actions: ActionCounts,
    factors: FactorCounts,
    providers: ProviderCounts,
    writes: Arc<WriteCounts>,
    mails: [AtomicU64; MailOutcome::ALL.len()],
    failed_backups: AtomicU64,
    /// Unix seconds; 0 when there is none.
    last_backup: AtomicU64,
    connections: AtomicU64,
    open_connections: AtomicU64,
    connection_ends: [AtomicU64; ConnectionEnd::ALL.len()],
    /// Unix seconds; zero without encryption.
    certificate_end: AtomicI64,
    /// Unix seconds.
    started_at: i64,
}

impl Metrics {
    /// New counters of a process that was started at this time, in Unix seconds, and whose store
    /// counts its writes in `writes`.
    pub fn new(started_at: i64, writes: Arc<WriteCounts>) -> Self {
        Self {
            certificate_end: AtomicI64::new(0),
            started_at,
            answers: array::from_fn(|_| array::from_fn(|_| OnceLock::new())),
            actions: ActionCounts::default(),
            factors: FactorCounts::default(),
            providers: ProviderCounts::default(),
            writes,
            mails: array::from_fn(|_| AtomicU64::new(0)),
            failed_backups: AtomicU64::new(0),
            last_backup: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            open_connections: AtomicU64::new(0),
            connection_ends: array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Sets when the certificate expires, in Unix seconds.
    pub fn set_certificate_end(&self, seconds: i64) {
        self.certificate_end.store(seconds, Ordering::Relaxed);
    }
}

/// Values that are sampled when the page is requested.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// The mail queue; `None` when the store cannot be read.
    pub mails: Option<MailMetrics>,
    /// The webhooks.
    pub webhooks: Vec<WebhookMetrics>,
    /// Passwords in the queue for hashing.
    pub queued_hashes: usize,
    /// Capacity of that queue.
    pub hash_queue_capacity: usize,
    /// Size of the database on disk in bytes; `None` for one in memory.
    pub database_bytes: Option<u64>,
    /// How far the clock of the database is ahead, in milliseconds.
    pub clock_offset: Option<i64>,
    /// Size of the write-ahead log in bytes; `None` for a database without one.
    pub log_bytes: Option<u64>,
    /// What is counted over all networks.
    pub ceilings: Vec<CeilingMetrics>,
}

/// A ceiling over all networks.
#[derive(Clone, Copy, Debug)]
pub struct CeilingMetrics {
    /// Its name.
    pub name: &'static str,
    /// Events in the last hour.
    pub events: u64,
    /// The number beyond which the allowance of each network shrinks; 0 for none.
    pub limit: u32,
}

/// The mail queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct MailMetrics {
    /// Queued mails.
    pub queued: u64,
    /// Age of the oldest one; zero when there is none.
    pub oldest: Duration,
}

/// A webhook; what is counted began when it was added.
#[derive(Clone, Copy, Debug, Default)]
pub struct WebhookMetrics {
    /// Its number.
    pub id: i64,
    /// Events that wait.
    pub waiting: u64,
    /// Age of the oldest one; zero when there is none.
    pub oldest: Duration,
    /// Events that it accepted.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Events that were given up.
    pub dead: u64,
}

impl Metrics {
    /// Counts a response of a route, a number below [`MAX_ROUTES`], and its duration.
    pub fn count_answer(&self, route: usize, method: &str, status: u16, took: Duration) {
        let Some(methods) = self.answers.get(route) else {
            return;
        };
        let method = METHODS
            .iter()
            .position(|known| *known == method)
            .unwrap_or(METHODS.len() - 1);
        let status = STATUSES
            .iter()
            .position(|known| *known == status)
            .unwrap_or(STATUSES.len() - 1);
        let answers = methods[method].get_or_init(Box::default);
        answers.by_status[status].fetch_add(1, Ordering::Relaxed);
        answers.duration.count(took);
    }

    /// Counts an action on an account.
    pub fn count_action(&self, action: Action, outcome: ActionOutcome) {
        self.actions.count(action, outcome);
    }

    /// Counts what happens to a second factor.
    pub fn count_factor(&self, factor: SecondFactor, event: FactorEvent) {
        self.factors.count(factor, event);
    }

    /// Counts a request to an external identity provider.
    pub fn count_provider_request(&self, kind: ProviderKind, outcome: ProviderOutcome) {
        self.providers.count(kind, outcome);
    }

    /// Counts a delivery attempt.
    pub fn count_mail(&self, outcome: MailOutcome) {
        self.mails[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the time of the newest scheduled backup.
    pub fn set_last_backup(&self, made_at: Timestamp) {
        let seconds = made_at.unix_seconds().max(0).unsigned_abs();
        self.last_backup.store(seconds, Ordering::Relaxed);
    }

    /// Counts a scheduled backup that failed.
    pub fn count_failed_backup(&self) {
        self.failed_backups.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an accepted connection.
    pub fn count_connection(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.open_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a connection.
    pub fn uncount_connection(&self) {
        self.open_connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts connections that the server closes or refuses.
    pub fn count_connection_end(&self, end: ConnectionEnd, count: u64) {
        self.connection_ends[end as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// The page in the text format of Prometheus, version 0.0.4.
    ///
    /// `routes` are the names of the routes by number.
    pub fn text(&self, routes: &[String], gauges: &Gauges) -> String {
        let mut page = Page::default();
        page.family(
            "accounts_build_info",
            "gauge",
            "Version of the running program.",
        );
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        page.sample("accounts_build_info", &version, 1);
        page.single(
            "process_start_time_seconds",
            "gauge",
            "Start time of the process in Unix seconds.",
            self.started_at,
        );
        process::write(&mut page);
        let certificate_end = self.certificate_end.load(Ordering::Relaxed);
        if certificate_end != 0 {
            page.single(
                "accounts_certificate_end_seconds",
                "gauge",
                "Expiry of the TLS certificate in Unix seconds.",
                certificate_end,
            );
        }
        self.write_answers(&mut page, routes);
        self.write_connections(&mut page);
        self.actions.write(&mut page);
        self.factors.write(&mut page);
        self.providers.write(&mut page);
        page.single(
            "accounts_hash_queue_length",
            "gauge",
            "Passwords in the queue for hashing.",
            gauges.queued_hashes,
        );
        page.single(
            "accounts_hash_queue_capacity",
            "gauge",
            "Capacity of the queue for hashing.",
            gauges.hash_queue_capacity,
        );
        write_ceilings(&mut page, &gauges.ceilings);
        store::write(&mut page, gauges, &self.writes);
        self.write_mails(&mut page, gauges.mails);
        write_webhooks(&mut page, &gauges.webhooks);
        page.single(
            "accounts_backup_failures_total",
            "counter",
            "Scheduled backups that failed.",
            self.failed_backups.load(Ordering::Relaxed),
        );
        page.single(
            "accounts_backup_last_success_timestamp_seconds",
            "gauge",
            "Time of the newest scheduled backup in Unix seconds; 0 if there is none.",
            self.last_backup.load(Ordering::Relaxed),
        );
        page.into_text()
    }

    fn write_answers(&self, page: &mut Page, routes: &[String]) {
        let all: Vec<(String, &ResponseCounts)> = routes
            .iter()
            .zip(&self.answers)
            .flat_map(|(route, methods)| {
                let route = escaped(route);
                METHODS
                    .iter()
                    .zip(methods)
                    .filter_map(move |(method, answers)| {
                        let labels = format!("route=\"{route}\",method=\"{method}\"");
                        Some((labels, &**answers.get()?))
                    })
            })
            .collect();
        let name = "accounts_http_requests_total";
        page.family(name, "counter", "Requests by route, method and status.");
        for (labels, answers) in &all {
            for (status, count) in STATUSES.iter().zip(&answers.by_status) {
                let count = count.load(Ordering::Relaxed);
                let status = match *status {
                    0 => "other".to_owned(),
                    status => status.to_string(),
                };
                if count > 0 {
                    page.sample(name, &format!("{labels},status=\"{status}\""), count);
                }
            }
        }
        let name = "accounts_http_request_duration_seconds";
        page.family(
            name,
            "histogram",
            "Time from the header of a request to the response.",
        );
        for (labels, answers) in &all {
            page.histogram(name, labels, &answers.duration);
        }
    }

    fn write_connections(&self, page: &mut Page) {
        page.single(
            "accounts_connections",
            "gauge",
            "Open connections.",
            self.open_connections.load(Ordering::Relaxed),
        );
        page.single(
            "accounts_connections_total",
            "counter",
            "Accepted connections.",
            self.connections.load(Ordering::Relaxed),
        );
        let name = "accounts_connections_ended_total";
        page.family(
            name,
            "counter",
            "Connections that the server closed or refused, by reason.",
        );
        for end in ConnectionEnd::ALL {
            let count = self.connection_ends[end as usize].load(Ordering::Relaxed);
            page.sample(name, &format!("reason=\"{}\"", end.name()), count);
        }
    }

    fn write_mails(&self, page: &mut Page, queue: Option<MailMetrics>) {
        if let Some(queue) = queue {
            page.single(
                "accounts_mail_queue_length",
                "gauge",
                "Mails in the queue.",
                queue.queued,
            );
            page.single(
                "accounts_mail_oldest_seconds",
                "gauge",
                "Age of the oldest queued mail in seconds.",
                queue.oldest.as_secs(),
            );
        }
        let name = "accounts_mails_total";
        page.family(name, "counter", "Delivery attempts by outcome.");
        for outcome in MailOutcome::ALL {
            let count = self.mails[outcome as usize].load(Ordering::Relaxed);
            page.sample(name, &format!("fate=\"{}\"", outcome.name()), count);
        }
    }
}

fn write_webhooks(page: &mut Page, webhooks: &[WebhookMetrics]) {
    type Value = fn(&WebhookMetrics) -> u64;
    let families: [(&str, &str, &str, Value); 5] = [
        (
            "accounts_webhook_queue_length",
            "gauge",
            "Events that wait.",
            |webhook| webhook.waiting,
        ),
        (
            "accounts_webhook_oldest_seconds",
            "gauge",
            "Age of the oldest event that waits in seconds.",
            |webhook| webhook.oldest.as_secs(),
        ),
        (
            "accounts_webhook_delivered_total",
            "counter",
            "Events that were accepted.",
            |webhook| webhook.delivered,
        ),
        (
            "accounts_webhook_failed_total",
            "counter",
            "Attempts that failed.",
            |webhook| webhook.failed,
        ),
        (
            "accounts_webhook_dead_total",
            "counter",
            "Events that were given up.",
            |webhook| webhook.dead,
        ),
    ];
    if webhooks.is_empty() {
        return;
    }
    for (name, kind, help, value) in families {
        page.family(name, kind, help);
        for webhook in webhooks {
            page.sample(name, &format!("webhook=\"{}\"", webhook.id), value(webhook));
        }
    }
}

fn write_ceilings(page: &mut Page, ceilings: &[CeilingMetrics]) {
    let events = "accounts_ceiling_events";
    page.family(
        events,
        "gauge",
        "Events of the last hour, over all networks.",
    );
    for ceiling in ceilings {
        let labels = format!("ceiling=\"{}\"", ceiling.name);
        page.sample(events, &labels, ceiling.events);
    }
    let limit = "accounts_ceiling_limit";
    page.family(
        limit,
        "gauge",
        "Events in an hour beyond which each network is allowed less; 0 for no ceiling.",
    );
    for ceiling in ceilings {
        let labels = format!("ceiling=\"{}\"", ceiling.name);
        page.sample(limit, &labels, ceiling.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_counted_by_route_method_and_status() {
        let metrics = Metrics::new(0, Arc::default());
        metrics.count_answer(0, "GET", 200, Duration::from_micros(300));
        metrics.count_answer(0, "GET", 200, Duration::from_millis(1200));
        metrics.count_answer(1, "BREW", 418, Duration::ZERO);
        // A number out of range is ignored.
        metrics.count_answer(MAX_ROUTES, "GET", 200, Duration::ZERO);
        metrics.count_mail(MailOutcome::GivenUp);
        metrics.set_last_backup(Timestamp::from_unix_millis(1_733_227_200_999));
        metrics.count_failed_backup();
        let routes = ["/healthz".to_owned(), "none".to_owned()];
        let gauges = Gauges {
            mails: Some(MailMetrics {
                queued: 3,
                oldest: Duration::from_millis(90_900),
            }),
            queued_hashes: 2,
            ..Gauges::default()
        };
        let text = metrics.text(&routes, &gauges);
        for line in [
            "accounts_mails_total{fate=\"given_up\"} 1",
            "accounts_mails_total{fate=\"delivered\"} 0",
            "accounts_mail_queue_length 3",
            "accounts_backup_failures_total 1",
            "accounts_backup_last_success_timestamp_seconds 1733227200",
            "accounts_mail_oldest_seconds 90",
            "accounts_hash_queue_length 2",
            "accounts_http_requests_total{route=\"/healthz\",method=\"GET\",status=\"200\"} 2",
            "accounts_http_requests_total{route=\"none\",method=\"other\",status=\"other\"} 1",
            "accounts_http_request_duration_seconds_bucket{route=\"/healthz\",method=\"GET\",le=\"0.00025\"} 0",
            "accounts_http_request_duration_seconds_bucket{route=\"/healthz\",method=\"GET\",le=\"0.0005\"} 1",
            "accounts_http_request_duration_seconds_bucket{route=\"/healthz\",method=\"GET\",le=\"+Inf\"} 2",
            "accounts_http_request_duration_seconds_sum{route=\"/healthz\",method=\"GET\"} 1.200300",
            "accounts_http_request_duration_seconds_count{route=\"/healthz\",method=\"GET\"} 2",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }

    #[test]
    fn connections_are_counted_by_reason() {
        let metrics = Metrics::new(0, Arc::default());
        metrics.count_connection();
        metrics.count_connection();
        metrics.uncount_connection();
        metrics.count_connection_end(ConnectionEnd::Evicted, 5);
        let text = metrics.text(&[], &Gauges::default());
        for line in [
            "accounts_connections 1",
            "accounts_connections_total 2",
            "accounts_connections_ended_total{reason=\"evicted\"} 5",
            "accounts_connections_ended_total{reason=\"idle\"} 0",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
