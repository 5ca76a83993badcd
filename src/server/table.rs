//! The table of open connections: admission, eviction, timeouts and graceful shutdown.
//!
//! A connection costs a file descriptor and some memory, and clients that open many and say
//! nothing, or say it one byte at a time, must not keep others out. So the table limits their
//! number, in all and for each client network; at a limit, the connections whose clients have kept
//! the server waiting longest are evicted. One pass every quarter of a second finds those that have
//! waited too long, so a connection needs no timer.
//!
//! Knows neither HTTP nor sockets: what it decides are commands to a [`Connection`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::state::{Command, Connection, Phase, Shared, TICK};
use crate::domain::{ClientNetwork, NetworkScope};
use crate::observability::metrics::{ConnectionEnd, Metrics};

/// The part of the connections that is evicted at once: more than the one needed, so that a flood
/// of new connections does not cost a pass over the table each.
const EVICTED_PART: usize = 64;

/// How many connections there may be, and how long clients may keep the server waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most connections in all.
    pub(super) total: usize,
    /// Most connections of one network, and more of the wider ones around it (see [`NetworkScope`]); zero
    /// means no limit.
    pub(super) per_network: usize,
    /// Until the first request has come, and for the header of each request from its first byte.
    pub(super) header: Duration,
    /// Between two requests.
    pub(super) keep_alive: Duration,
    /// Until the client reads more of an answer.
    pub(super) send: Duration,
}

/// A connection's place in the table, freed on drop.
pub(super) struct Place {
    pub(super) connection: Arc<Connection>,
    table: Arc<Connections>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.remove(&self.connection);
    }
}

/// All open connections.
pub(super) struct Connections {
    open: Mutex<Open>,
    shared: Arc<Shared>,
    /// Notified when the first connection comes.
    filled: Notify,
    /// Notified when the last one has ended.
    emptied: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Open {
    connections: HashMap<u64, Arc<Connection>>,
    next_id: u64,
    /// Those that were not evicted.
    counted: usize,
    by_scope: HashMap<NetworkScope, usize>,
}

impl Open {
    /// No longer counts a connection; it may last for a moment.
    fn discount(&mut self, connection: &Connection) {
        if !connection.stop_counting() {
            return;
        }
        self.counted -= 1;
        for scope in connection.network.into_iter().flat_map(NetworkScope::of) {
            if let Some(count) = self.by_scope.get_mut(&scope) {
                *count -= 1;
                if *count == 0 {
                    self.by_scope.remove(&scope);
                }
            }
        }
    }

    /// The narrowest scope of a network that has all its connections, and their number.
    fn full(
        &self,
        network: Option<ClientNetwork>,
        limits: &Limits,
    ) -> Option<(NetworkScope, usize)> {
        if limits.per_network == 0 {
            return None;
        }
        let scopes = network.into_iter().flat_map(NetworkScope::of);
        scopes
            .map(|scope| (scope, limits.per_network.saturating_mul(scope.factor())))
            .find(|(scope, most)| self.by_scope.get(scope).is_some_and(|count| count >= most))
    }

    /// Evicts the connections that have kept the server waiting longest, of a scope or of all:
    /// one in [`EVICTED_PART`] of `most`, at least one. Returns how many; 0 when all are served.
    fn evict(&mut self, most: usize, scope: Option<NetworkScope>, now: u32) -> usize {
        let mut waiting: Vec<(u32, u64)> = self
            .connections
            .values()
            .filter(|connection| connection.is_counted())
            .filter(|connection| match (scope, connection.network) {
                (None, _) => true,
                (Some(scope), Some(network)) => scope.contains(network),
                (Some(_), None) => false,
            })
            .filter_map(|connection| {
                let since = connection.waiting_since()?;
                Some((now.wrapping_sub(since), connection.id))
            })
            .collect();
        let count = (most / EVICTED_PART).max(1).min(waiting.len());
        // The longest wait first; of equal ones the connection that came first.
        waiting.sort_unstable_by_key(|(age, id)| (std::cmp::Reverse(*age), *id));
        for (_, id) in &waiting[..count] {
            if let Some(connection) = self.connections.get(id).cloned() {
                self.discount(&connection);
                connection.give(connection.eviction());
            }
        }
        count
    }
}

impl Connections {
    pub(super) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            shared: Arc::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
            metrics,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a connection, evicting others at a limit; `None` when all of them are being served.
    pub(super) fn admit(
        self: &Arc<Self>,
        network: Option<ClientNetwork>,
        limits: &Limits,
    ) -> Option<Place> {
        let now = self.shared.now();
        let mut open = self.open();
        let mut evicted = 0;
        // The narrowest first: an eviction there makes room in the wider ones too.
        while let Some((scope, most)) = open.full(network, limits) {
            let count = open.evict(most, Some(scope), now);
            if count == 0 {
                self.metrics.count_connection_end(ConnectionEnd::Refused, 1);
                return None;
            }
            evicted += count;
        }
        if open.counted >= limits.total {
            let count = open.evict(limits.total, None, now);
            if count == 0 {
                self.metrics.count_connection_end(ConnectionEnd::Refused, 1);
                return None;
            }
            evicted += count;
        }
        self.metrics
            .count_connection_end(ConnectionEnd::Evicted, evicted as u64);
        let shared = Arc::clone(&self.shared);
        let connection = Arc::new(Connection::new(open.next_id, network, shared));
        open.next_id += 1;
        open.counted += 1;
        for scope in network.into_iter().flat_map(NetworkScope::of) {
            *open.by_scope.entry(scope).or_default() += 1;
        }
        open.connections
            .insert(connection.id, Arc::clone(&connection));
        if open.connections.len() == 1 {
            self.filled.notify_one();
        }
        drop(open);
        self.metrics.count_connection();
        Some(Place {
            connection,
            table: Arc::clone(self),
        })
    }

    fn remove(&self, connection: &Connection) {
        let mut open = self.open();
        open.discount(connection);
        open.connections.remove(&connection.id);
        if open.connections.is_empty() {
            // Frees the memory of a flood.
            open.connections.shrink_to(1024);
            open.by_scope.shrink_to(1024);
            self.emptied.notify_one();
        }
        drop(open);
        self.metrics.uncount_connection();
    }

    /// Checks the table for as long as the server runs. Sleeps while there is no connection.
    pub(super) async fn watch(&self, limits: impl Fn() -> Limits) {
        loop {
            if self.open().connections.is_empty() {
                self.filled.notified().await;
            }
            sleep(TICK).await;
            let now = self.shared.advance(1);
            self.check_timeouts(now, &limits());
        }
    }

    fn check_timeouts(&self, now: u32, limits: &Limits) {
        for connection in self.open().connections.values() {
            let Some((command, end)) = connection.overdue(now, limits) else {
                continue;
            };
            if connection.command() < command {
                connection.give(command);
                if let Some(end) = end {
                    self.metrics.count_connection_end(end, 1);
                }
            }
        }
    }

    /// Ends all connections: idle ones at once, the others after their present answer. A client
    /// that has just sent something may be about to send more: it gets `grace`, and if a request
    /// comes in that time, its answer. Returns false when some had not ended after `timeout` and
    /// were aborted.
    pub(super) async fn drain(&self, grace: Duration, timeout: Duration) -> bool {
        self.shared.start_draining();
        self.close_where(|connection| {
            connection.phase() == Phase::Parked || connection.is_multiplexed()
        });
        let ended = tokio::time::timeout(timeout, async {
            if tokio::time::timeout(grace, self.until_empty())
                .await
                .is_err()
            {
                self.close_where(|_| true);
                self.until_empty().await;
            }
        })
        .await
        .is_ok();
        for connection in self.open().connections.values() {
            connection.give(Command::Abort);
        }
        ended
    }

    fn close_where(&self, is_meant: impl Fn(&Connection) -> bool) {
        for connection in self.open().connections.values() {
            if is_meant(connection) {
                connection.give(Command::Close);
            }
        }
    }

    async fn until_empty(&self) {
        loop {
            if self.open().connections.is_empty() {
                return;
            }
            self.emptied.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::state::ticks;
    use super::*;

    const LIMITS: Limits = Limits {
        total: 10,
        per_network: 3,
        header: Duration::from_secs(10),
        keep_alive: Duration::from_mins(1),
        send: Duration::from_secs(20),
    };

    fn ip(number: u32) -> ClientNetwork {
        IpAddr::V4(Ipv4Addr::from_bits(number)).into()
    }

    fn table() -> Arc<Connections> {
        Connections::new(Arc::new(Metrics::new(0, Arc::default())))
    }

    /// Lets time pass.
    fn pass(table: &Connections, time: Duration) {
        let now = table.shared.advance(ticks(time));
        table.check_timeouts(now, &LIMITS);
    }

    #[test]
    fn longest_wait_is_evicted() {
        let table = table();
        let places: Vec<Place> = (0..10)
            .map(|number| {
                pass(&table, TICK);
                table.admit(Some(ip(number)), &LIMITS).unwrap()
            })
            .collect();
        // The first is being served, and the second has sent the latest request.
        places[0].connection.begin_request();
        pass(&table, TICK);
        places[1].connection.begin_request();
        places[1].connection.end_request();
        let newcomer = table.admit(Some(ip(10)), &LIMITS).unwrap();
        let commands: Vec<Command> = places
            .iter()
            .map(|place| place.connection.command())
            .collect();
        let mut expected = [Command::None; 10];
        expected[2] = Command::Close;
        assert_eq!(commands, expected);
        // An evicted connection no longer counts, so one more needs one more eviction.
        let _more = table.admit(Some(ip(11)), &LIMITS).unwrap();
        assert_eq!(places[3].connection.command(), Command::Close);
        assert_eq!(newcomer.connection.command(), Command::None);
        // It is not discounted twice when it has ended.
        drop(places);
        assert_eq!(table.open().counted, 2);
    }

    #[test]
    fn connections_in_use_are_not_evicted() {
        let table = table();
        let places: Vec<Place> = (0..10)
            .map(|number| table.admit(Some(ip(number)), &LIMITS).unwrap())
            .collect();
        for place in &places {
            place.connection.begin_request();
        }
        assert!(table.admit(Some(ip(10)), &LIMITS).is_none());
        // A stalled body counts as waiting, and so does an unread answer.
        places[4].connection.note_stall(true);
        let first = table.admit(Some(ip(10)), &LIMITS);
        assert_eq!(places[4].connection.command(), Command::Abort);
        places[6].connection.note_sending(true);
        let second = table.admit(Some(ip(11)), &LIMITS);
        assert_eq!(places[6].connection.command(), Command::Abort);
        assert_eq!(places[5].connection.command(), Command::None);
        assert!(first.is_some() && second.is_some());
    }

    #[test]
    fn network_limit_evicts_only_that_network() {
        let table = table();
        let others = table.admit(Some(ip(1)), &LIMITS).unwrap();
        let uncounted = table.admit(None, &LIMITS).unwrap();
        pass(&table, TICK);
        let mut places: Vec<Place> = (0..3)
            .map(|_| table.admit(Some(ip(2)), &LIMITS).unwrap())
            .collect();
        places.push(table.admit(Some(ip(2)), &LIMITS).unwrap());
        assert_eq!(places[0].connection.command(), Command::Close);
        for place in &places[1..] {
            assert_eq!(place.connection.command(), Command::None);
            place.connection.begin_request();
        }
        assert!(table.admit(Some(ip(2)), &LIMITS).is_none());
        assert!(table.admit(Some(ip(3)), &LIMITS).is_some());
        assert_eq!(
            (others.connection.command(), uncounted.connection.command()),
            (Command::None, Command::None)
        );
        drop(places);
        let scope = NetworkScope::of(ip(2)).next().unwrap();
        assert_eq!(table.open().by_scope.get(&scope), None);
        let limitless = Limits {
            per_network: 0,
            ..LIMITS
        };
        let many: Vec<_> = (0..8)
            .map(|_| table.admit(Some(ip(4)), &limitless))
            .collect();
        assert!(
            many.iter()
                .flatten()
                .all(|place| place.connection.command() == Command::None)
        );
    }

    #[test]
    fn ipv6_networks_share_the_connections_of_wider_ones() {
        let table = table();
        let limits = Limits {
            total: 1000,
            ..LIMITS
        };
        let admit = |number: u128| {
            let bits = (0x2001_0db8_u128 << 96) | (number << 64);
            let network = IpAddr::from(std::net::Ipv6Addr::from_bits(bits)).into();
            table.admit(Some(network), &limits)
        };
        // The /64 of one /56, one connection each, and the first one in use.
        let places: Vec<Place> = (0..12).filter_map(admit).collect();
        places[0].connection.begin_request();
        let ended = || {
            let commands = places.iter().map(|place| place.connection.command());
            commands.filter(|command| *command != Command::None).count()
        };
        assert_eq!((places.len(), ended()), (12, 0));
        let _more = admit(12).unwrap();
        assert_eq!(ended(), 1);
        assert_eq!(places[0].connection.command(), Command::None);
        // Another /56 has its own.
        let _other = admit(1 << 8).unwrap();
        assert_eq!(ended(), 1);
    }

    #[test]
    fn timeouts_end_connections() {
        let table = table();
        let admit = || table.admit(None, &LIMITS).unwrap();
        let (fresh, head, idle, busy, unread) = (admit(), admit(), admit(), admit(), admit());
        head.connection.note_bytes();
        idle.connection.begin_request();
        idle.connection.end_request();
        busy.connection.begin_request();
        unread.connection.begin_request();
        unread.connection.note_sending(true);
        let commands =
            || [&fresh, &head, &idle, &busy, &unread].map(|place| place.connection.command());
        pass(&table, LIMITS.header);
        let parked = [
            Command::None,
            Command::None,
            Command::Park,
            Command::None,
            Command::None,
        ];
        assert_eq!(commands(), parked);
        pass(&table, TICK);
        assert_eq!(
            commands(),
            [
                Command::Close,
                Command::TimeOut,
                Command::Park,
                Command::None,
                Command::None
            ]
        );
        pass(&table, LIMITS.send);
        assert_eq!(commands()[4], Command::Abort);
        pass(&table, LIMITS.keep_alive);
        assert_eq!(
            commands(),
            [
                Command::Close,
                Command::TimeOut,
                Command::Close,
                Command::None,
                Command::Abort
            ]
        );
    }
}
