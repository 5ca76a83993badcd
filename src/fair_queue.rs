//! A bounded work queue that is fair to everybody who fills it.
//!
//! Each requester has a flow of its own, and flows are served round-robin, so nobody waits behind
//! the flood of somebody else. When the queue is full, the longest flow loses its newest job.
//! Flows have one of two classes; the classes take turns while both have work, and the preferred
//! one makes room for itself at the expense of the other.
//!
//! A flow that has grown beyond a threshold is a flood until it is empty again. Floods are served
//! with [`Priority::Background`] only, so that other requesters do not share the processor evenly
//! with them.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Identifies a flow: who waits.
pub(crate) trait FlowKey: Copy + Eq + Hash + Send {
    /// Whether the flow belongs to the preferred class.
    fn is_preferred(self) -> bool;

    /// Whether the flow counts as a flood once it is long.
    fn can_flood(self) -> bool;
}

/// Which flows a worker serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Priority {
    /// All but floods.
    Normal,
    /// Floods.
    Background,
}

/// A unit of work in a [`FairQueue`].
pub(crate) trait QueuedJob: Send {
    /// Whether nobody waits for the outcome any more.
    fn is_abandoned(&self) -> bool;

    /// Does the work and answers.
    fn run(self: Box<Self>);

    /// Answers that the queue is full.
    fn reject(self: Box<Self>);
}

/// The queue.
pub(crate) struct FairQueue<K> {
    state: Mutex<State<K>>,
    has_work: Condvar,
    has_floods: Condvar,
    capacity: usize,
    flood_threshold: usize,
}

struct State<K> {
    flows: HashMap<K, Flow>,
    // The flows that are not empty, in the order of their turns: normal ones by class, and floods.
    turns: [VecDeque<K>; 2],
    floods: VecDeque<K>,
    waiting: usize,
    last_class: usize,
    is_closed: bool,
}

/// The jobs of one requester.
#[derive(Default)]
struct Flow {
    jobs: VecDeque<Box<dyn QueuedJob>>,
    is_flood: bool,
}

impl<K: FlowKey> FairQueue<K> {
    /// Creates a queue for `capacity` jobs; a flow of more than `flood_threshold` is a flood.
    pub(crate) fn new(capacity: usize, flood_threshold: usize) -> Self {
        Self {
            state: Mutex::new(State {
                flows: HashMap::new(),
                turns: [VecDeque::new(), VecDeque::new()],
                floods: VecDeque::new(),
                waiting: 0,
                last_class: 0,
                is_closed: false,
            }),
            has_work: Condvar::new(),
            has_floods: Condvar::new(),
            capacity,
            flood_threshold,
        }
    }

    /// Appends a job to the flow of its requester. A full queue rejects this job or another one.
    pub(crate) fn push(&self, key: K, job: Box<dyn QueuedJob>) {
        let mut state = self.lock();
        if state.waiting >= self.capacity {
            state.drop_abandoned();
        }
        let victim = if state.waiting < self.capacity {
            state.append(key, job, self.flood_threshold);
            None
        } else if let Some(longest) = state.flow_to_shorten(key) {
            let victim = state.take_newest(longest);
            state.append(key, job, self.flood_threshold);
            victim
        } else {
            Some(job)
        };
        let has_floods = !state.floods.is_empty();
        drop(state);
        self.has_work.notify_one();
        if has_floods {
            // A flow that has just become a flood brings work for all of them.
            self.has_floods.notify_all();
        }
        if let Some(victim) = victim {
            victim.reject();
        }
    }

    /// Waits for the next job of that priority. `None` once the queue is closed and drained.
    pub(crate) fn pop(&self, priority: Priority) -> Option<Box<dyn QueuedJob>> {
        let mut state = self.lock();
        loop {
            while let Some(job) = state.take_next(priority) {
                if !job.is_abandoned() {
                    return Some(job);
                }
            }
            if state.is_closed {
                return None;
            }
            let signal = match priority {
                Priority::Normal => &self.has_work,
                Priority::Background => &self.has_floods,
            };
            state = signal.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets workers end once the queue is drained.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.has_work.notify_all();
        self.has_floods.notify_all();
    }

    /// How many jobs may wait.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many jobs wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn class<K: FlowKey>(key: K) -> usize {
    usize::from(key.is_preferred())
}

impl<K: FlowKey> State<K> {
    fn append(&mut self, key: K, job: Box<dyn QueuedJob>, flood_threshold: usize) {
        let flow = self.flows.entry(key).or_default();
        if flow.jobs.is_empty() {
            self.turns[class(key)].push_back(key);
        }
        flow.jobs.push_back(job);
        self.waiting += 1;
        if flow.jobs.len() > flood_threshold && !flow.is_flood && key.can_flood() {
            flow.is_flood = true;
            self.turns[class(key)].retain(|other| *other != key);
            self.floods.push_back(key);
        }
    }

    /// The oldest job of the flow whose turn it is; classes alternate while both have any.
    fn take_next(&mut self, priority: Priority) -> Option<Box<dyn QueuedJob>> {
        let turns = match priority {
            Priority::Background => &mut self.floods,
            Priority::Normal => {
                let class = 1 - self.last_class;
                if !self.turns[class].is_empty() {
                    self.last_class = class;
                }
                &mut self.turns[self.last_class]
            }
        };
        let key = turns.pop_front()?;
        let flow = self.flows.get_mut(&key)?;
        let job = flow.jobs.pop_front();
        if flow.jobs.is_empty() {
            self.flows.remove(&key);
        } else {
            turns.push_back(key);
        }
        self.waiting -= usize::from(job.is_some());
        job
    }

    /// The flow that makes room for a newcomer: one that is longer than the newcomer's own will
    /// be, or any flow of the other class when the newcomer is preferred.
    fn flow_to_shorten(&self, newcomer: K) -> Option<K> {
        let own = self.flows.get(&newcomer).map_or(0, |flow| flow.jobs.len()) + 1;
        self.flows
            .iter()
            .map(|(key, flow)| (*key, flow.jobs.len(), class(newcomer) > class(*key)))
            .filter(|(_, length, gives_way)| *length > own || (*gives_way && *length > 0))
            .max_by_key(|(_, length, gives_way)| (*gives_way, *length))
            .map(|(key, _, _)| key)
    }

    fn take_newest(&mut self, key: K) -> Option<Box<dyn QueuedJob>> {
        let flow = self.flows.get_mut(&key)?;
        let job = flow.jobs.pop_back();
        if flow.jobs.is_empty() {
            self.flows.remove(&key);
            self.drop_stale_turns();
        }
        self.waiting -= usize::from(job.is_some());
        job
    }

    fn drop_abandoned(&mut self) {
        for flow in self.flows.values_mut() {
            flow.jobs.retain(|job| !job.is_abandoned());
        }
        self.flows.retain(|_, flow| !flow.jobs.is_empty());
        self.drop_stale_turns();
        self.waiting = self.flows.values().map(|flow| flow.jobs.len()).sum();
    }

    /// Drops the turns of flows that have been removed.
    fn drop_stale_turns(&mut self) {
        let flows = &self.flows;
        for turns in self.turns.iter_mut().chain([&mut self.floods]) {
            turns.retain(|key| flows.contains_key(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What happened to jobs, by name.
    type Log = Arc<Mutex<Vec<String>>>;

    struct Named {
        name: String,
        log: Log,
        is_abandoned: bool,
    }

    impl QueuedJob for Named {
        fn is_abandoned(&self) -> bool {
            self.is_abandoned
        }

        fn run(self: Box<Self>) {
            self.log.lock().unwrap().push(self.name);
        }

        fn reject(self: Box<Self>) {
            self.log.lock().unwrap().push(format!("not {}", self.name));
        }
    }

    #[derive(Clone, Copy, PartialEq, Eq, Hash)]
    enum Key {
        Network { number: u32, is_known: bool },
        Server,
    }

    impl FlowKey for Key {
        fn is_preferred(self) -> bool {
            !matches!(
                self,
                Self::Network {
                    is_known: false,
                    ..
                }
            )
        }

        fn can_flood(self) -> bool {
            self != Self::Server
        }
    }

    fn network(number: u32, is_known: bool) -> Key {
        Key::Network { number, is_known }
    }

    struct Queue {
        queue: FairQueue<Key>,
        log: Log,
    }

    impl Queue {
        fn of(capacity: usize) -> Self {
            Self::with_floods(capacity, capacity)
        }

        fn with_floods(capacity: usize, flood_threshold: usize) -> Self {
            Self {
                queue: FairQueue::new(capacity, flood_threshold),
                log: Log::default(),
            }
        }

        fn push(&self, key: Key, name: &str) {
            self.push_one(key, name, false);
        }

        fn push_one(&self, key: Key, name: &str, is_abandoned: bool) {
            let job = Named {
                name: name.into(),
                log: Arc::clone(&self.log),
                is_abandoned,
            };
            self.queue.push(key, Box::new(job));
        }

        fn run_all(&self, priority: Priority) {
            let mut state = self.queue.lock();
            while let Some(job) = state.take_next(priority) {
                job.run();
            }
        }

        /// What happened to all jobs, in order.
        fn outcome(self) -> String {
            self.queue.close();
            self.run_all(Priority::Normal);
            assert!(self.queue.pop(Priority::Background).is_none());
            assert_eq!(self.queue.lock().waiting, 0);
            assert!(self.queue.lock().flows.is_empty());
            self.log.lock().unwrap().join(" ")
        }
    }

    #[test]
    fn networks_are_served_round_robin() {
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
    fn flood_makes_room_for_other_networks() {
        let queue = Queue::of(4);
        for name in ["a1", "a2", "a3", "a4", "a5"] {
            queue.push(network(1, false), name);
        }
        queue.push(network(2, false), "b1");
        queue.push(network(2, false), "b2");
        // Two flows of two: neither is longer than the newcomer's would be.
        queue.push(network(2, false), "b3");
        assert_eq!(queue.outcome(), "not a5 not a4 not a3 not b3 a1 b1 a2 b2");
    }

    #[test]
    fn known_networks_get_every_second_turn_and_displace_others() {
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
    fn flood_is_served_in_background_until_drained() {
        let queue = Queue::with_floods(10, 2);
        queue.push(network(1, false), "a1");
        queue.push(network(1, false), "a2");
        queue.push(network(2, true), "b1");
        queue.push(network(1, false), "a3");
        queue.push(Key::Server, "s1");
        queue.push(Key::Server, "s2");
        queue.push(Key::Server, "s3");
        queue.run_all(Priority::Normal);
        queue.push(network(2, true), "b2");
        queue.run_all(Priority::Background);
        // The flow was drained, and is a normal one again.
        queue.push(network(1, false), "a4");
        assert_eq!(queue.outcome(), "b1 s1 s2 s3 a1 a2 a3 a4 b2");
    }

    #[test]
    fn shortened_flood_leaves_no_stale_turn() {
        let queue = Queue::with_floods(3, 1);
        for name in ["a1", "a2", "a3"] {
            queue.push(network(1, false), name);
        }
        for name in ["b1", "b2", "b3"] {
            queue.push(network(9, true), name);
        }
        queue.run_all(Priority::Normal);
        queue.run_all(Priority::Background);
        assert_eq!(queue.outcome(), "not a3 not a2 not a1 b1 b2 b3");
    }

    #[test]
    fn abandoned_jobs_take_no_room_and_no_time() {
        let queue = Queue::of(2);
        queue.push_one(network(1, false), "gone1", true);
        queue.push_one(network(1, false), "gone2", true);
        queue.push(network(1, false), "a1");
        queue.push(network(1, false), "a2");
        queue.push(network(1, false), "a3");
        assert_eq!(queue.outcome(), "not a3 a1 a2");
    }
}
