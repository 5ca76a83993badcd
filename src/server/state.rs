//! The state of one open connection, as its task, its requests and the table of connections see it.
//!
//! A few atomics, so that a request takes no lock and sets no timer. Knows neither sockets nor HTTP:
//! [`super::connection`] does, and carries out the commands given here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;

use super::table::Limits;
use crate::domain::ClientNetwork;
use crate::observability::metrics::ConnectionEnd;

/// Time between two passes over the table, and the unit in which it counts time.
pub(super) const TICK: Duration = Duration::from_millis(250);

/// Ticks after which an idle connection is parked: it keeps its socket and frees its buffers.
const PARK_AFTER: u32 = 4;

/// Idle connections that may keep their buffers; beyond it they are parked at once.
const MAX_BUFFERED: u32 = 256;

/// How long a client may go on sending after the last answer of its connection.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// No byte has come yet.
    Fresh,
    /// The header of a request is coming.
    Head,
    /// At least one request is in flight.
    Busy,
    /// Every request is answered.
    Idle,
    /// Idle, and without buffers.
    Parked,
    /// The last answer is sent; what still comes is discarded.
    Lingering,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Fresh,
        Self::Head,
        Self::Busy,
        Self::Idle,
        Self::Parked,
        Self::Lingering,
    ];
}

/// What the table tells a connection to do. All but [`Command::Park`] are final: the connection
/// ends at the latest with its present answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Command {
    /// Nothing.
    None,
    /// To free its buffers if it is still idle.
    Park,
    /// To end as soon as no request is in flight.
    Close,
    /// To answer 408 and end.
    TimeOut,
    /// To end at once.
    Abort,
}

impl Command {
    const ALL: [Self; 5] = [
        Self::None,
        Self::Park,
        Self::Close,
        Self::TimeOut,
        Self::Abort,
    ];
}

/// What all connections share with their table.
#[derive(Default)]
pub(super) struct Shared {
    ticks: AtomicU32,
    /// Connections that have buffers.
    buffered: AtomicU32,
    draining: AtomicBool,
}

impl Shared {
    /// The number of ticks since the start.
    pub(super) fn now(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Lets time pass; returns the new time.
    pub(super) fn advance(&self, ticks: u32) -> u32 {
        self.ticks.fetch_add(ticks, Ordering::Relaxed) + ticks
    }

    /// Whether the server stops: answers say that they are the last ones of their connections.
    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    pub(super) fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

/// The state of one open connection.
pub(super) struct Connection {
    pub(super) id: u64,
    /// The client network it counts for; `None` for those that count for none.
    pub(super) network: Option<ClientNetwork>,
    shared: Arc<Shared>,
    phase: AtomicU8,
    /// The tick since which the server waits for the client.
    since: AtomicU32,
    /// Requests in flight.
    requests: AtomicU32,
    /// Those of them whose body the server waits for.
    stalled: AtomicU32,
    /// The tick since which the client reads nothing of an answer, plus one; zero while it reads.
    blocked: AtomicU32,
    command: AtomicU8,
    waker: AtomicWaker,
    /// Whether requests run side by side (HTTP/2): then bytes that come say nothing about the phase.
    multiplexed: AtomicBool,
    /// Whether it counts towards the limits. Changed only under the table's lock.
    counted: AtomicBool,
}

impl Connection {
    pub(super) fn new(id: u64, network: Option<ClientNetwork>, shared: Arc<Shared>) -> Self {
        Self {
            id,
            network,
            phase: AtomicU8::new(Phase::Fresh as u8),
            since: AtomicU32::new(shared.now()),
            shared,
            requests: AtomicU32::new(0),
            stalled: AtomicU32::new(0),
            blocked: AtomicU32::new(0),
            command: AtomicU8::new(Command::None as u8),
            waker: AtomicWaker::new(),
            multiplexed: AtomicBool::new(false),
            counted: AtomicBool::new(true),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed))]
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.since.store(self.shared.now(), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Notes that bytes came.
    pub(super) fn note_bytes(&self) {
        if matches!(self.phase(), Phase::Fresh | Phase::Idle | Phase::Parked)
            && !self.is_multiplexed()
        {
            self.enter(Phase::Head);
        }
    }

    /// Notes whether the client reads what it is sent.
    pub(super) fn note_sending(&self, is_blocked: bool) {
        if is_blocked != self.is_blocked() {
            let since = if is_blocked { self.shared.now() + 1 } else { 0 };
            self.blocked.store(since, Ordering::Relaxed);
        }
    }

    fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed) != 0
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

    /// Notes that the server starts or stops waiting for a body.
    pub(super) fn note_stall(&self, is_stalled: bool) {
        if is_stalled {
            self.since.store(self.shared.now(), Ordering::Relaxed);
            self.stalled.fetch_add(1, Ordering::Relaxed);
        } else {
            self.stalled.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Notes that requests run side by side.
    pub(super) fn multiplex(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// Whether it counts towards the limits.
    pub(super) fn is_counted(&self) -> bool {
        self.counted.load(Ordering::Relaxed)
    }

    /// No longer counts it; returns whether it was counted.
    pub(super) fn stop_counting(&self) -> bool {
        self.counted.swap(false, Ordering::Relaxed)
    }

    pub(super) fn command(&self) -> Command {
        Command::ALL[usize::from(self.command.load(Ordering::Acquire))]
    }

    /// Gives a command; a weaker one than the last changes nothing.
    pub(super) fn give(&self, command: Command) {
        if self.command.fetch_max(command as u8, Ordering::AcqRel) < command as u8 {
            self.waker.wake();
        }
    }

    /// Whether the present answer is the last one.
    pub(super) fn is_ending(&self) -> bool {
        self.command() > Command::Park || self.shared.is_draining()
    }

    /// Wakes the task of `context` at the next command.
    pub(super) fn watch_commands(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// Waits for the command to end.
    pub(super) async fn end_commanded(&self) -> Command {
        std::future::poll_fn(|context| {
            self.watch_commands(context);
            match self.command() {
                Command::None | Command::Park => Poll::Pending,
                command => Poll::Ready(command),
            }
        })
        .await
    }

    /// Whether hyper should let go of the connection for now: it is idle and has a command to park
    /// or end, or too many other idle connections keep their buffers.
    pub(super) fn should_park(&self) -> bool {
        let phase = self.phase();
        if !matches!(phase, Phase::Fresh | Phase::Idle) || self.is_blocked() {
            return false;
        }
        let is_crowded = self.shared.buffered.load(Ordering::Relaxed) > MAX_BUFFERED;
        self.command() != Command::None || (phase == Phase::Idle && is_crowded)
    }

    /// Notes that it has buffers from now on.
    pub(super) fn take_buffers(&self) {
        self.shared.buffered.fetch_add(1, Ordering::Relaxed);
        if self.phase() == Phase::Parked {
            // Idle for as long as before, until bytes come.
            self.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        }
        let park = Command::Park as u8;
        let none = Command::None as u8;
        // A final command stays.
        let _ = self
            .command
            .compare_exchange(park, none, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Notes that it has freed its buffers.
    pub(super) fn free_buffers(&self) {
        self.shared.buffered.fetch_sub(1, Ordering::Relaxed);
    }

    /// The tick since which the server only waits for the client; `None` while the server has work
    /// to do itself.
    pub(super) fn waiting_since(&self) -> Option<u32> {
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
            Phase::Fresh | Phase::Head | Phase::Idle | Phase::Parked | Phase::Lingering => true,
        };
        is_waiting.then_some(since)
    }

    /// The command that evicts the connection.
    pub(super) fn eviction(&self) -> Command {
        if self.is_blocked() {
            return Command::Abort;
        }
        match self.phase() {
            Phase::Fresh | Phase::Idle | Phase::Parked => Command::Close,
            Phase::Head => Command::TimeOut,
            Phase::Busy | Phase::Lingering => Command::Abort,
        }
    }

    /// The command for a connection at a tick, if it is overdue, and what the metrics count.
    pub(super) fn overdue(
        &self,
        now: u32,
        limits: &Limits,
    ) -> Option<(Command, Option<ConnectionEnd>)> {
        let is_over = |since: u32, timeout: Duration| now.wrapping_sub(since) > ticks(timeout);
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != 0 && is_over(blocked - 1, limits.send) {
            return Some((Command::Abort, Some(ConnectionEnd::SlowReader)));
        }
        let since = self.since.load(Ordering::Relaxed);
        match self.phase() {
            Phase::Fresh if is_over(since, limits.header) => {
                Some((Command::Close, Some(ConnectionEnd::NoRequest)))
            }
            Phase::Head if is_over(since, limits.header) => {
                Some((Command::TimeOut, Some(ConnectionEnd::SlowHeader)))
            }
            Phase::Idle | Phase::Parked
                if self.command() < Command::Close && is_over(since, limits.keep_alive) =>
            {
                Some((Command::Close, Some(ConnectionEnd::Idle)))
            }
            Phase::Idle
                if self.command() < Command::Park
                    && now.wrapping_sub(since) > PARK_AFTER
                    && !self.is_multiplexed() =>
            {
                Some((Command::Park, None))
            }
            // HTTP/2 closes by a frame, which the client may leave unanswered.
            Phase::Idle if self.command() == Command::Close && is_over(since, LINGER) => {
                Some((Command::Abort, None))
            }
            Phase::Lingering if is_over(since, LINGER) => Some((Command::Abort, None)),
            _ => None,
        }
    }
}

/// A time in ticks.
pub(super) fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_of_a_new_request_change_the_phase() {
        let connection = Connection::new(0, None, Arc::default());
        connection.note_bytes();
        assert_eq!(connection.phase(), Phase::Head);
        connection.begin_request();
        connection.note_bytes();
        assert_eq!(connection.phase(), Phase::Busy);
        connection.end_request();
        assert_eq!(connection.phase(), Phase::Idle);
        connection.multiplex();
        connection.note_bytes();
        assert_eq!(connection.phase(), Phase::Idle);
    }
}
