//! The table of open connections: who may come, who has to go, and what each of them is doing at the moment.
//!
//! A connection costs a file descriptor and some memory, and whoever opens many of them and says nothing, or says it one
//! byte at a time, must not keep others out. So the table bounds their number, in all and for each client network; when a
//! bound is reached, the connections whose clients have kept the server waiting longest make room for the newcomer. One
//! pass over the table every quarter of a second finds those that have waited too long, which costs a request nothing but
//! a few atomic stores: there is no timer per connection.
//!
//! Deliberately does not know HTTP or sockets; [`super::connection`] does, and carries out the orders given here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::stream::Stream;
use crate::domain::ClientNetwork;
use crate::observability::metrics::{ConnectionEnd, Metrics};

/// Time between two passes over the table, and the unit in which it counts time.
const TICK: Duration = Duration::from_millis(250);

/// Ticks after which a quiet connection is put to rest: it keeps its socket and gives its buffers back.
const REST_AFTER: u32 = 4;

/// Quiet connections that may keep their buffers; beyond it they are put to rest at once.
const MOST_WARM: u32 = 256;

/// How long the other side may go on sending after the last answer of its connection.
const LINGER: Duration = Duration::from_secs(1);

/// The part of the connections that makes room at once when there is none. More than the one that is needed, so that a
/// flood of newcomers does not cost a pass over the table each.
const EVICTED_PART: usize = 64;

/// How many connections there may be, and for how long they may keep the server waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most connections in all.
    pub(super) total: usize,
    /// Most connections of one network; zero means no limit.
    pub(super) per_network: usize,
    /// Until the first request has come, and for the header of each request from its first byte.
    pub(super) header: Duration,
    /// Between two requests.
    pub(super) keep_alive: Duration,
    /// Until the other side takes more of an answer.
    pub(super) send: Duration,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing has come yet.
    Fresh,
    /// A request has begun to come.
    Head,
    /// At least one request is being answered, or its body is coming.
    Busy,
    /// Everything is answered.
    Idle,
    /// Idle, and without buffers.
    Resting,
    /// The last answer is out; what still comes is thrown away.
    Lingering,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Fresh,
        Self::Head,
        Self::Busy,
        Self::Idle,
        Self::Resting,
        Self::Lingering,
    ];
}

/// What a connection is told to do. All but [`Order::Rest`] are final: it ends at the latest with its present answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// Nothing.
    None,
    /// To give its buffers back if it is still quiet.
    Rest,
    /// To end as soon as nothing is being answered.
    Close,
    /// To say that the request has taken too long, and end.
    TimeOut,
    /// To end at once.
    Abort,
}

impl Order {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Rest,
        Self::Close,
        Self::TimeOut,
        Self::Abort,
    ];
}

/// One open connection, as its task, its requests and the table see it.
pub(super) struct Connection {
    id: u64,
    /// The client network it counts for; `None` for those that count for none.
    network: Option<ClientNetwork>,
    table: Arc<Connections>,
    phase: AtomicU8,
    /// The tick since which the other side has kept us waiting.
    since: AtomicU32,
    /// Requests that are not answered to the end.
    requests: AtomicU32,
    /// Those of them whose body is being waited for.
    stalled: AtomicU32,
    /// The tick since which the other side takes nothing of an answer, plus one; zero when it does.
    blocked: AtomicU32,
    order: AtomicU8,
    waker: AtomicWaker,
    /// Whether requests come side by side (HTTP/2): then bytes that come say nothing about the phase.
    multiplexed: AtomicBool,
    /// Whether it still counts among those that the limits are about. Changed only under the table's lock.
    counted: AtomicBool,
    /// The socket while nobody uses it: on its way from one user to the next.
    stream: Mutex<Option<(Stream, bool)>>,
}

impl Connection {
    pub(super) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed))]
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.since.store(self.table.now(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Notes that bytes came.
    pub(super) fn note_bytes(&self) {
        if matches!(self.phase(), Phase::Fresh | Phase::Idle | Phase::Resting)
            && !self.multiplexed.load(Ordering::Relaxed)
        {
            self.enter(Phase::Head);
        }
    }

    /// Notes whether the other side takes what it is sent.
    pub(super) fn note_sending(&self, is_blocked: bool) {
        let was_blocked = self.blocked.load(Ordering::Relaxed) != 0;
        if is_blocked != was_blocked {
            let since = if is_blocked { self.table.now() + 1 } else { 0 };
            self.blocked.store(since, Ordering::Relaxed);
        }
    }

    pub(super) fn begin_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.enter(Phase::Busy);
    }

    pub(super) fn end_request(&self) {
        if self.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.enter(Phase::Idle);
        }
    }

    /// Notes that a body is being waited for, or no longer.
    pub(super) fn note_stall(&self, is_stalled: bool) {
        if is_stalled {
            self.since.store(self.table.now(), Ordering::Relaxed);
            self.stalled.fetch_add(1, Ordering::Relaxed);
        } else {
            self.stalled.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes that requests come side by side.
    pub(super) fn multiplex(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
    }

    pub(super) fn order(&self) -> Order {
        Order::ALL[usize::from(self.order.load(Ordering::Acquire))]
    }

    /// Gives an order; one that asks for less than the one before changes nothing.
    pub(super) fn give(&self, order: Order) {
        if self.order.fetch_max(order as u8, Ordering::AcqRel) < order as u8 {
            self.waker.wake();
        }
    }

    /// Whether there is an order to end, and the present answer is the last one.
    pub(super) fn is_ending(&self) -> bool {
        self.order() > Order::Rest || self.table.is_draining()
    }

    /// Has the task of `context` woken by the next order.
    pub(super) fn watch_orders(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// Waits for the order to end.
    pub(super) async fn ordered_to_end(&self) -> Order {
        std::future::poll_fn(|context| {
            self.watch_orders(context);
            match self.order() {
                Order::None | Order::Rest => Poll::Pending,
                order => Poll::Ready(order),
            }
        })
        .await
    }

    /// Whether a connection that has nothing to read should be let go of for now: it is quiet and was told to end, or to
    /// rest, or too many others are quiet and keep their buffers.
    pub(super) fn should_pause(&self) -> bool {
        let phase = self.phase();
        if !matches!(phase, Phase::Fresh | Phase::Idle) || self.blocked.load(Ordering::Relaxed) != 0
        {
            return false;
        }
        let is_crowded = self.table.warm.load(Ordering::Relaxed) > MOST_WARM;
        self.order() != Order::None || (phase == Phase::Idle && is_crowded)
    }

    /// Begins to use buffers.
    pub(super) fn warm_up(&self) {
        self.table.warm.fetch_add(1, Ordering::Relaxed);
        if self.phase() == Phase::Resting {
            // Quiet for as long as before, until bytes come.
            self.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        }
        let rest = Order::Rest as u8;
        let none = Order::None as u8;
        // A final order stays.
        let _ = self
            .order
            .compare_exchange(rest, none, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Has given its buffers back.
    pub(super) fn cool_down(&self) {
        self.table.warm.fetch_sub(1, Ordering::Relaxed);
    }

    /// Keeps the socket until it is taken, and whether its last user was told of a pause.
    pub(super) fn put(&self, stream: Stream, is_pause: bool) {
        *self.slot() = Some((stream, is_pause));
    }

    pub(super) fn take(&self) -> Option<(Stream, bool)> {
        self.slot().take()
    }

    fn slot(&self) -> MutexGuard<'_, Option<(Stream, bool)>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when the server waits for the other side and for nothing else; `None` when it has work to do itself.
    fn waiting_since(&self) -> Option<u32> {
        match self.blocked.load(Ordering::Relaxed) {
            0 => {}
            since => return Some(since - 1),
        }
        let since = self.since.load(Ordering::Relaxed);
        let is_waiting = match self.phase() {
            Phase::Busy => {
                let requests = self.requests.load(Ordering::Relaxed);
                requests > 0 && self.stalled.load(Ordering::Relaxed) >= requests
            }
            Phase::Fresh | Phase::Head | Phase::Idle | Phase::Resting | Phase::Lingering => true,
        };
        is_waiting.then_some(since)
    }

    /// How the connection has to make room.
    fn eviction(&self) -> Order {
        if self.blocked.load(Ordering::Relaxed) != 0 {
            return Order::Abort;
        }
        match self.phase() {
            Phase::Fresh | Phase::Idle | Phase::Resting => Order::Close,
            Phase::Head => Order::TimeOut,
            Phase::Busy | Phase::Lingering => Order::Abort,
        }
    }

    /// What to do with a connection at a tick, and why.
    fn overdue(&self, now: u32, limits: &Limits) -> Option<(Order, Option<ConnectionEnd>)> {
        let is_over = |since: u32, patience: Duration| now.wrapping_sub(since) > ticks(patience);
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != 0 && is_over(blocked - 1, limits.send) {
            return Some((Order::Abort, Some(ConnectionEnd::SlowReader)));
        }
        let since = self.since.load(Ordering::Relaxed);
        match self.phase() {
            Phase::Fresh if is_over(since, limits.header) => {
                Some((Order::Close, Some(ConnectionEnd::NoRequest)))
            }
            Phase::Head if is_over(since, limits.header) => {
                Some((Order::TimeOut, Some(ConnectionEnd::SlowHeader)))
            }
            Phase::Idle | Phase::Resting
                if self.order() < Order::Close && is_over(since, limits.keep_alive) =>
            {
                Some((Order::Close, Some(ConnectionEnd::Idle)))
            }
            Phase::Idle
                if self.order() < Order::Rest
                    && now.wrapping_sub(since) > REST_AFTER
                    && !self.multiplexed.load(Ordering::Relaxed) =>
            {
                Some((Order::Rest, None))
            }
            // HTTP/2 has its own words for the end, which the other side may leave unanswered.
            Phase::Idle if self.order() == Order::Close && is_over(since, LINGER) => {
                Some((Order::Abort, None))
            }
            Phase::Lingering if is_over(since, LINGER) => Some((Order::Abort, None)),
            _ => None,
        }
    }
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX)
}

/// A connection's place in the table; it is free again when this is dropped.
pub(super) struct Place(pub(super) Arc<Connection>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.table.remove(&self.0);
    }
}

/// All open connections.
pub(super) struct Connections {
    open: Mutex<Open>,
    ticks: AtomicU32,
    /// Connections that have buffers.
    warm: AtomicU32,
    draining: AtomicBool,
    /// Told when the first connection comes.
    filled: Notify,
    /// Told when the last one has gone.
    emptied: Notify,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Open {
    connections: HashMap<u64, Arc<Connection>>,
    next_id: u64,
    /// Those that have not been told to make room.
    counted: usize,
    by_network: HashMap<ClientNetwork, usize>,
}

impl Open {
    /// No longer counts a connection; it may stay for a moment.
    fn discount(&mut self, connection: &Connection) {
        if !connection.counted.swap(false, Ordering::Relaxed) {
            return;
        }
        self.counted -= 1;
        let Some(network) = connection.network else {
            return;
        };
        if let Some(count) = self.by_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&network);
            }
        }
    }

    /// Has the connections go that have kept the server waiting longest, among those of a network or all: one in
    /// [`EVICTED_PART`] of `most`, at least one. False when all of them are being served.
    fn evict(&mut self, most: usize, network: Option<ClientNetwork>, now: u32) -> usize {
        let mut waiting: Vec<(u32, u64)> = self
            .connections
            .values()
            .filter(|connection| connection.counted.load(Ordering::Relaxed))
            .filter(|connection| network.is_none() || connection.network == network)
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
            ticks: AtomicU32::new(0),
            warm: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            filled: Notify::new(),
            emptied: Notify::new(),
            metrics,
        })
    }

    fn now(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the server stops: answers say that they are the last ones of their connections.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Takes a newcomer in. When there is no room, those make some that have kept the server waiting longest; `None`
    /// when all are being served.
    pub(super) fn admit(
        self: &Arc<Self>,
        network: Option<ClientNetwork>,
        limits: &Limits,
    ) -> Option<Place> {
        let now = self.now();
        let mut open = self.open();
        let of_network =
            network.and_then(|network| Some((network, *open.by_network.get(&network)?)));
        let mut evicted = 0;
        if let Some((network, count)) = of_network
            && limits.per_network != 0
            && count >= limits.per_network
        {
            evicted = open.evict(limits.per_network, Some(network), now);
            if evicted == 0 {
                self.metrics.count_connection_end(ConnectionEnd::Refused, 1);
                return None;
            }
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
        let connection = Arc::new(Connection {
            id: open.next_id,
            network,
            table: Arc::clone(self),
            phase: AtomicU8::new(Phase::Fresh as u8),
            since: AtomicU32::new(now),
            requests: AtomicU32::new(0),
            stalled: AtomicU32::new(0),
            blocked: AtomicU32::new(0),
            order: AtomicU8::new(Order::None as u8),
            waker: AtomicWaker::new(),
            multiplexed: AtomicBool::new(false),
            counted: AtomicBool::new(true),
            stream: Mutex::default(),
        });
        open.next_id += 1;
        open.counted += 1;
        if let Some(network) = network {
            *open.by_network.entry(network).or_default() += 1;
        }
        open.connections
            .insert(connection.id, Arc::clone(&connection));
        if open.connections.len() == 1 {
            self.filled.notify_one();
        }
        drop(open);
        self.metrics.count_connection();
        Some(Place(connection))
    }

    fn remove(&self, connection: &Connection) {
        let mut open = self.open();
        open.discount(connection);
        open.connections.remove(&connection.id);
        if open.connections.is_empty() {
            // What a flood has taken is given back.
            open.connections.shrink_to(1024);
            open.by_network.shrink_to(1024);
            self.emptied.notify_one();
        }
        drop(open);
        self.metrics.uncount_connection();
    }

    /// Passes over the table for as long as the server runs. Sleeps while there is no connection.
    pub(super) async fn watch(&self, limits: impl Fn() -> Limits) {
        loop {
            if self.open().connections.is_empty() {
                self.filled.notified().await;
            }
            sleep(TICK).await;
            let now = self.ticks.fetch_add(1, Ordering::Relaxed) + 1;
            self.look(now, &limits());
        }
    }

    fn look(&self, now: u32, limits: &Limits) {
        for connection in self.open().connections.values() {
            let Some((order, end)) = connection.overdue(now, limits) else {
                continue;
            };
            if connection.order() < order {
                connection.give(order);
                if let Some(end) = end {
                    self.metrics.count_connection_end(end, 1);
                }
            }
        }
    }

    /// Brings all connections to their end: those that are quiet go, the others after their present answer. A client that
    /// has just sent something may be about to send more: it gets `grace`, and if a request comes in it, its answer.
    /// False when some had not ended after `patience` and were cut off.
    pub(super) async fn drain(&self, grace: Duration, patience: Duration) -> bool {
        self.draining.store(true, Ordering::Release);
        self.close_where(|connection| {
            connection.phase() == Phase::Resting || connection.multiplexed.load(Ordering::Relaxed)
        });
        let ended = tokio::time::timeout(patience, async {
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
            connection.give(Order::Abort);
        }
        ended
    }

    fn close_where(&self, is_meant: impl Fn(&Connection) -> bool) {
        for connection in self.open().connections.values() {
            if is_meant(connection) {
                connection.give(Order::Close);
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
        Connections::new(Arc::new(Metrics::new(0)))
    }

    /// Lets time pass.
    fn pass(table: &Connections, time: Duration) {
        let now = table.ticks.fetch_add(ticks(time), Ordering::Relaxed) + ticks(time);
        table.look(now, &LIMITS);
    }

    #[test]
    fn the_longest_wait_makes_room() {
        let table = table();
        let places: Vec<Place> = (0..10)
            .map(|number| {
                pass(&table, TICK);
                table.admit(Some(ip(number)), &LIMITS).unwrap()
            })
            .collect();
        // The first is being served, and the second has been heard of last.
        places[0].0.begin_request();
        pass(&table, TICK);
        places[1].0.begin_request();
        places[1].0.end_request();
        let newcomer = table.admit(Some(ip(10)), &LIMITS).unwrap();
        let orders: Vec<Order> = places.iter().map(|place| place.0.order()).collect();
        let mut expected = [Order::None; 10];
        expected[2] = Order::Close;
        assert_eq!(orders, expected);
        // Whoever was told to go counts no more, so one more newcomer needs one more to go.
        let _more = table.admit(Some(ip(11)), &LIMITS).unwrap();
        assert_eq!(places[3].0.order(), Order::Close);
        assert_eq!(newcomer.0.order(), Order::None);
        // It is not counted twice when it is gone.
        drop(places);
        assert_eq!(table.open().counted, 2);
    }

    #[test]
    fn those_that_are_served_are_not_disturbed() {
        let table = table();
        let places: Vec<Place> = (0..10)
            .map(|number| table.admit(Some(ip(number)), &LIMITS).unwrap())
            .collect();
        for place in &places {
            place.0.begin_request();
        }
        assert!(table.admit(Some(ip(10)), &LIMITS).is_none());
        // One whose body does not come is waiting, and so is one whose answer is not read.
        places[4].0.note_stall(true);
        let first = table.admit(Some(ip(10)), &LIMITS);
        assert_eq!(places[4].0.order(), Order::Abort);
        places[6].0.note_sending(true);
        let second = table.admit(Some(ip(11)), &LIMITS);
        assert_eq!(places[6].0.order(), Order::Abort);
        assert_eq!(places[5].0.order(), Order::None);
        assert!(first.is_some() && second.is_some());
    }

    #[test]
    fn one_network_makes_room_for_itself_only() {
        let table = table();
        let others = table.admit(Some(ip(1)), &LIMITS).unwrap();
        let uncounted = table.admit(None, &LIMITS).unwrap();
        pass(&table, TICK);
        let mut places: Vec<Place> = (0..3)
            .map(|_| table.admit(Some(ip(2)), &LIMITS).unwrap())
            .collect();
        places.push(table.admit(Some(ip(2)), &LIMITS).unwrap());
        assert_eq!(places[0].0.order(), Order::Close);
        for place in &places[1..] {
            assert_eq!(place.0.order(), Order::None);
            place.0.begin_request();
        }
        assert!(table.admit(Some(ip(2)), &LIMITS).is_none());
        assert!(table.admit(Some(ip(3)), &LIMITS).is_some());
        assert_eq!(
            (others.0.order(), uncounted.0.order()),
            (Order::None, Order::None)
        );
        drop(places);
        assert_eq!(table.open().by_network.get(&ip(2)), None);
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
                .all(|place| place.0.order() == Order::None)
        );
    }

    #[test]
    fn patience_ends() {
        let table = table();
        let admit = || table.admit(None, &LIMITS).unwrap();
        let (fresh, head, idle, busy, unread) = (admit(), admit(), admit(), admit(), admit());
        head.0.note_bytes();
        idle.0.begin_request();
        idle.0.end_request();
        busy.0.begin_request();
        unread.0.begin_request();
        unread.0.note_sending(true);
        let orders = || [&fresh, &head, &idle, &busy, &unread].map(|place| place.0.order());
        pass(&table, LIMITS.header);
        let rests = [
            Order::None,
            Order::None,
            Order::Rest,
            Order::None,
            Order::None,
        ];
        assert_eq!(orders(), rests);
        pass(&table, TICK);
        assert_eq!(
            orders(),
            [
                Order::Close,
                Order::TimeOut,
                Order::Rest,
                Order::None,
                Order::None
            ]
        );
        pass(&table, LIMITS.send);
        assert_eq!(orders()[4], Order::Abort);
        pass(&table, LIMITS.keep_alive);
        assert_eq!(
            orders(),
            [
                Order::Close,
                Order::TimeOut,
                Order::Close,
                Order::None,
                Order::Abort
            ]
        );
    }

    #[test]
    fn bytes_in_between_are_no_news_of_a_request() {
        let table = table();
        let place = table.admit(None, &LIMITS).unwrap();
        place.0.note_bytes();
        assert_eq!(place.0.phase(), Phase::Head);
        place.0.begin_request();
        place.0.note_bytes();
        assert_eq!(place.0.phase(), Phase::Busy);
        place.0.end_request();
        assert_eq!(place.0.phase(), Phase::Idle);
        place.0.multiplex();
        place.0.note_bytes();
        assert_eq!(place.0.phase(), Phase::Idle);
    }
}
