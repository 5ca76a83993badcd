//! The queue in front of the hashing threads: bounded, and fair to everybody who asks.
//!
//! Each network has a lane of its own, and the lanes are served in turn, so that nobody waits behind the flood of another
//! address. When the queue is full, room is made at the expense of the longest lane: the flood is turned away and not
//! whoever comes beside it. Networks that the owner of the account has used before are a class of their own, which every
//! second turn belongs to while it has any, so that a flood from very many addresses does not keep them out either.
//!
//! A lane that has grown long is a flood until it is empty again, and is served by threads of its own that stand further
//! back: neither those who read nor those who sign in beside it share the processor evenly with it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::domain::ClientNetwork;

/// Who wants a password hashed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Requester {
    /// A client on a network.
    Network {
        /// The network.
        network: ClientNetwork,
        /// Whether the owner of the account in question has signed in from there before.
        is_known: bool,
    },
    /// The server itself, or who administers it.
    Server,
}

impl Requester {
    const fn class(self) -> usize {
        match self {
            Self::Network { is_known, .. } => is_known as usize,
            Self::Server => 1,
        }
    }
}

/// Which lanes a thread serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Those of ordinary length.
    Ordinary,
    /// Floods.
    Background,
}

/// Work that waits.
pub(super) trait Job: Send {
    /// Whether nobody waits for the outcome any more.
    fn is_abandoned(&self) -> bool;

    /// Does it and answers.
    fn run(self: Box<Self>);

    /// Answers that there is no room.
    fn turn_away(self: Box<Self>);
}

/// The queue.
pub(super) struct FairQueue {
    state: Mutex<State>,
    filled: Condvar,
    flooded: Condvar,
    capacity: usize,
    longest_ordinary: usize,
}

#[derive(Default)]
struct State {
    lanes: HashMap<Requester, Lane>,
    // The lanes that are not empty, in the order of their turns: the ordinary ones by class, and the floods.
    turns: [VecDeque<Requester>; 2],
    floods: VecDeque<Requester>,
    waiting: usize,
    last_class: usize,
    is_closed: bool,
}

/// What one of those who ask waits for.
#[derive(Default)]
struct Lane {
    jobs: VecDeque<Box<dyn Job>>,
    is_flood: bool,
}

impl FairQueue {
    /// A queue in which so many may wait, and so many of one network before they are a flood.
    pub(super) fn new(capacity: usize, longest_ordinary: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Condvar::new(),
            flooded: Condvar::new(),
            capacity,
            longest_ordinary,
        }
    }

    /// Puts work into the lane of who asks, or turns somebody away at once.
    pub(super) fn push(&self, asker: Requester, job: Box<dyn Job>) {
        let mut state = self.lock();
        if state.waiting >= self.capacity {
            state.drop_abandoned();
        }
        let victim = if state.waiting < self.capacity {
            state.append(asker, job, self.longest_ordinary);
            None
        } else if let Some(longest) = state.lane_to_shorten(asker) {
            let victim = state.take_newest(longest);
            state.append(asker, job, self.longest_ordinary);
            victim
        } else {
            Some(job)
        };
        let has_floods = !state.floods.is_empty();
        drop(state);
        self.filled.notify_one();
        if has_floods {
            // A lane that has just become one brings work for all of them.
            self.flooded.notify_all();
        }
        if let Some(victim) = victim {
            victim.turn_away();
        }
    }

    /// The next work for a thread of that pace, once there is any; `None` when the queue is closed and has no more.
    pub(super) fn pop(&self, pace: Pace) -> Option<Box<dyn Job>> {
        let mut state = self.lock();
        loop {
            while let Some(job) = state.take_next(pace) {
                if !job.is_abandoned() {
                    return Some(job);
                }
            }
            if state.is_closed {
                return None;
            }
            let signal = match pace {
                Pace::Ordinary => &self.filled,
                Pace::Background => &self.flooded,
            };
            state = signal.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the threads end once everything that waits is done.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_all();
        self.flooded.notify_all();
    }

    /// How many jobs may wait.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many jobs wait.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, asker: Requester, job: Box<dyn Job>, longest_ordinary: usize) {
        let lane = self.lanes.entry(asker).or_default();
        if lane.jobs.is_empty() {
            self.turns[asker.class()].push_back(asker);
        }
        lane.jobs.push_back(job);
        self.waiting += 1;
        if lane.jobs.len() > longest_ordinary && !lane.is_flood && asker != Requester::Server {
            lane.is_flood = true;
            self.turns[asker.class()].retain(|other| *other != asker);
            self.floods.push_back(asker);
        }
    }

    /// The oldest work of the lane whose turn it is; the classes take turns as long as both have any.
    fn take_next(&mut self, pace: Pace) -> Option<Box<dyn Job>> {
        let turns = match pace {
            Pace::Background => &mut self.floods,
            Pace::Ordinary => {
                let class = 1 - self.last_class;
                if !self.turns[class].is_empty() {
                    self.last_class = class;
                }
                &mut self.turns[self.last_class]
            }
        };
        let asker = turns.pop_front()?;
        let lane = self.lanes.get_mut(&asker)?;
        let job = lane.jobs.pop_front();
        if lane.jobs.is_empty() {
            self.lanes.remove(&asker);
        } else {
            turns.push_back(asker);
        }
        self.waiting -= usize::from(job.is_some());
        job
    }

    /// The lane that gives room to one who comes: one that is longer than the comer's own will be, or any lane of those whom
    /// the owner does not know when the comer is known.
    fn lane_to_shorten(&self, comer: Requester) -> Option<Requester> {
        let own = self.lanes.get(&comer).map_or(0, |lane| lane.jobs.len()) + 1;
        self.lanes
            .iter()
            .map(|(asker, lane)| (*asker, lane.jobs.len(), comer.class() > asker.class()))
            .filter(|(_, length, gives_way)| *length > own || (*gives_way && *length > 0))
            .max_by_key(|(_, length, gives_way)| (*gives_way, *length))
            .map(|(asker, _, _)| asker)
    }

    fn take_newest(&mut self, asker: Requester) -> Option<Box<dyn Job>> {
        let lane = self.lanes.get_mut(&asker)?;
        let job = lane.jobs.pop_back();
        if lane.jobs.is_empty() {
            self.lanes.remove(&asker);
            self.forget_turns();
        }
        self.waiting -= usize::from(job.is_some());
        job
    }

    fn drop_abandoned(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.jobs.retain(|job| !job.is_abandoned());
        }
        self.lanes.retain(|_, lane| !lane.jobs.is_empty());
        self.forget_turns();
        self.waiting = self.lanes.values().map(|lane| lane.jobs.len()).sum();
    }

    /// Takes the turns away from lanes that are no more.
    fn forget_turns(&mut self) {
        let lanes = &self.lanes;
        for turns in self.turns.iter_mut().chain([&mut self.floods]) {
            turns.retain(|asker| lanes.contains_key(asker));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use super::*;

    /// What became of jobs, by their names.
    type Log = Arc<Mutex<Vec<String>>>;

    struct Named {
        name: String,
        log: Log,
        is_abandoned: bool,
    }

    impl Job for Named {
        fn is_abandoned(&self) -> bool {
            self.is_abandoned
        }

        fn run(self: Box<Self>) {
            self.log.lock().unwrap().push(self.name);
        }

        fn turn_away(self: Box<Self>) {
            self.log.lock().unwrap().push(format!("not {}", self.name));
        }
    }

    fn network(number: u32, is_known: bool) -> Requester {
        Requester::Network {
            network: IpAddr::V4(Ipv4Addr::from_bits(number)).into(),
            is_known,
        }
    }

    struct Queue {
        queue: FairQueue,
        log: Log,
    }

    impl Queue {
        fn of(capacity: usize) -> Self {
            Self::with_floods(capacity, capacity)
        }

        fn with_floods(capacity: usize, longest_ordinary: usize) -> Self {
            Self {
                queue: FairQueue::new(capacity, longest_ordinary),
                log: Log::default(),
            }
        }

        fn push(&self, asker: Requester, name: &str) {
            self.push_one(asker, name, false);
        }

        fn push_one(&self, asker: Requester, name: &str, is_abandoned: bool) {
            let job = Named {
                name: name.into(),
                log: Arc::clone(&self.log),
                is_abandoned,
            };
            self.queue.push(asker, Box::new(job));
        }

        fn run_all(&self, pace: Pace) {
            let mut state = self.queue.lock();
            while let Some(job) = state.take_next(pace) {
                job.run();
            }
        }

        /// What became of everything, in order.
        fn outcome(self) -> String {
            self.queue.close();
            self.run_all(Pace::Ordinary);
            assert!(self.queue.pop(Pace::Background).is_none());
            assert_eq!(self.queue.lock().waiting, 0);
            assert!(self.queue.lock().lanes.is_empty());
            self.log.lock().unwrap().join(" ")
        }
    }

    #[test]
    fn networks_are_served_in_turn() {
        let queue = Queue::of(10);
        for name in ["a1", "a2", "a3", "a4"] {
            queue.push(network(1, false), name);
        }
        queue.push(network(2, false), "b1");
        queue.push(network(2, false), "b2");
        queue.push(network(3, false), "c1");
        assert_eq!(queue.outcome(), "a1 b1 c1 a2 b2 a3 a4");
    }

    #[test]
    fn a_flood_makes_room_for_whoever_comes_beside_it() {
        let queue = Queue::of(4);
        for name in ["a1", "a2", "a3", "a4", "a5"] {
            queue.push(network(1, false), name);
        }
        queue.push(network(2, false), "b1");
        queue.push(network(2, false), "b2");
        // Two lanes of two: nobody has more than the comer would have.
        queue.push(network(2, false), "b3");
        assert_eq!(queue.outcome(), "not a5 not a4 not a3 not b3 a1 b1 a2 b2");
    }

    #[test]
    fn known_networks_get_every_second_turn_and_any_place() {
        let queue = Queue::of(4);
        for number in 1..=5 {
            queue.push(network(number, false), &format!("x{number}"));
        }
        queue.push(network(9, true), "known1");
        queue.push(network(9, true), "known2");
        let outcome = queue.outcome();
        let (refused, served) = outcome.split_at(outcome.find(" known").unwrap());
        assert_eq!(refused.matches("not x").count(), 3, "{outcome}");
        assert!(served.starts_with(" known1 x"), "{outcome}");
        assert_eq!(served.matches("known").count(), 2, "{outcome}");
        assert_eq!(served.matches('x').count(), 2, "{outcome}");
    }

    #[test]
    fn a_flood_is_served_apart_until_it_is_over() {
        let queue = Queue::with_floods(10, 2);
        queue.push(network(1, false), "a1");
        queue.push(network(1, false), "a2");
        queue.push(network(2, true), "b1");
        queue.push(network(1, false), "a3");
        queue.push(Requester::Server, "s1");
        queue.push(Requester::Server, "s2");
        queue.push(Requester::Server, "s3");
        queue.run_all(Pace::Ordinary);
        queue.push(network(2, true), "b2");
        queue.run_all(Pace::Background);
        // The lane was empty, and is an ordinary one again.
        queue.push(network(1, false), "a4");
        assert_eq!(queue.outcome(), "b1 s1 s2 s3 a1 a2 a3 a4 b2");
    }

    #[test]
    fn a_flood_that_loses_its_places_keeps_nobody_from_his_turn() {
        let queue = Queue::with_floods(3, 1);
        for name in ["a1", "a2", "a3"] {
            queue.push(network(1, false), name);
        }
        for name in ["b1", "b2", "b3"] {
            queue.push(network(9, true), name);
        }
        queue.run_all(Pace::Ordinary);
        queue.run_all(Pace::Background);
        assert_eq!(queue.outcome(), "not a3 not a2 not a1 b1 b2 b3");
    }

    #[test]
    fn what_nobody_waits_for_takes_no_room_and_no_time() {
        let queue = Queue::of(2);
        queue.push_one(network(1, false), "gone1", true);
        queue.push_one(network(1, false), "gone2", true);
        queue.push(network(1, false), "a1");
        queue.push(network(1, false), "a2");
        queue.push(network(1, false), "a3");
        assert_eq!(queue.outcome(), "not a3 a1 a2");
    }
}
