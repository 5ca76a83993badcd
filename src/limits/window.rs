//! A sliding window over the actions of one scope.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::Timestamp;

/// The actions of a scope within a window, in bounded memory.
///
/// A scope with the allowance of several networks keeps one time for as many actions, that of the
/// last of them: all scopes take the same memory, and a wide one waits a little longer than it must.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Times of full groups, oldest first.
    groups: VecDeque<Timestamp>,
    /// Actions that fill no group yet.
    rest: usize,
    /// The time of the last of those.
    last: Timestamp,
}

impl Window {
    /// Checks for room for one more, among at most `most` groups. Drops what has left the window.
    ///
    /// # Errors
    /// The time to wait.
    pub(super) fn room(
        &mut self,
        length: Duration,
        most: usize,
        now: Timestamp,
    ) -> Result<(), Duration> {
        // Counted while the clock was ahead: moved to now, so that no wait exceeds the window.
        if self.groups.back().is_some_and(|last| *last > now) {
            for at in &mut self.groups {
                *at = (*at).min(now);
            }
        }
        self.last = self.last.min(now);
        if self.last.plus(length) <= now {
            self.rest = 0;
        }
        while self
            .groups
            .front()
            .is_some_and(|first| first.plus(length) <= now)
        {
            self.groups.pop_front();
        }
        // The limit may have been larger a moment ago: the surplus has to leave the window.
        match self.groups.len().checked_sub(most) {
            None => Ok(()),
            Some(surplus) => {
                let leaves = self.groups.get(surplus).map(|at| at.plus(length));
                Err(leaves.map_or(length, |leaves| leaves.since(now)))
            }
        }
    }

    /// Counts one more, of which `factor` make a group.
    pub(super) fn push(&mut self, factor: usize, now: Timestamp) {
        self.rest += 1;
        self.last = now;
        if self.rest >= factor {
            self.rest = 0;
            self.groups.push_back(now);
        }
    }

    /// Takes back the last [`Window::push`].
    pub(super) fn pop(&mut self, factor: usize) {
        if self.rest > 0 {
            self.rest -= 1;
        } else if self.groups.pop_back().is_some() {
            self.rest = factor - 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.rest == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_millis(seconds * 1000)
    }

    #[test]
    fn groups_have_the_time_of_their_last_action() {
        let mut window = Window::default();
        for second in 0..12 {
            assert_eq!(window.room(HOUR, 3, at(second)), Ok(()), "{second}");
            window.push(4, at(second));
        }
        assert_eq!(window.room(HOUR, 3, at(12)), Err(Duration::from_secs(3591)));
        assert!(window.groups.len() == 3 && window.rest == 0);
        assert_eq!(window.room(HOUR, 3, at(3603)), Ok(()));
    }

    #[test]
    fn what_is_taken_back_leaves_nothing() {
        for factor in [1, 4, 16] {
            let mut window = Window::default();
            for second in 0..20 {
                window.push(factor, at(second));
            }
            for _ in 0..20 {
                assert!(!window.is_empty());
                window.pop(factor);
            }
            assert!(window.is_empty(), "{factor}");
        }
    }

    #[test]
    fn unfinished_group_leaves_the_window_too() {
        let mut window = Window::default();
        for _ in 0..3 {
            window.push(4, at(0));
        }
        assert_eq!(window.room(HOUR, 1, at(3600)), Ok(()));
        window.push(4, at(3600));
        assert_eq!(window.room(HOUR, 1, at(3601)), Ok(()));
    }

    #[test]
    fn smaller_limit_waits_for_as_many_to_leave() {
        let mut window = Window::default();
        for second in 0..10 {
            window.push(1, at(second));
        }
        assert_eq!(window.room(HOUR, 10, at(9)), Err(Duration::from_secs(3591)));
        assert_eq!(window.room(HOUR, 2, at(9)), Err(Duration::from_secs(3599)));
        assert_eq!(window.room(HOUR, 2, at(3607)), Err(Duration::from_secs(1)));
        assert_eq!(window.room(HOUR, 2, at(3608)), Ok(()));
    }
}
