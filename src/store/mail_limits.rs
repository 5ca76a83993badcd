//! Limits on mails with a code: how many an address gets, and for which requesting networks.
//!
//! A stranger must not be able to use up the mails of an owner. So one network gets a share only, a
//! reserve is kept for networks the owner has used before, and a network that had none still gets
//! one beyond the limit, up to a ceiling.

use std::time::Duration;

use crate::domain::Timestamp;

const HOUR: Duration = Duration::from_hours(1);

/// Limits on the mails with a code to one address for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailLimits {
    /// The minimum pause between two mails; zero disables it.
    pub pause: Duration,
    /// The maximum number of mails within an hour; zero disables it and the shares.
    pub per_hour: u32,
}

impl MailLimits {
    /// Mails an hour for one requesting network: four of ten.
    fn share(self) -> usize {
        (self.per_hour as usize * 2 / 5).max(1)
    }

    /// Mails an hour kept for known networks: two of ten.
    fn reserve(self) -> usize {
        self.per_hour as usize / 5
    }

    /// Mails an hour in all, including one for each network that had none.
    fn ceiling(self) -> usize {
        self.per_hour as usize * 3
    }

    /// When the next mail is allowed; `None` when it is allowed now.
    ///
    /// `sent` is what was sent within the last hour, newest first: to the address, and by the same
    /// network to other addresses of its mailbox, which count for the share of the network only.
    pub fn next_at(
        self,
        sent: &[SentMail],
        requester: Requester,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let own: Vec<SentMail> = sent.iter().filter(|mail| mail.is_own).copied().collect();
        let sent: Vec<SentMail> = sent.iter().filter(|mail| !mail.is_alias).copied().collect();
        // Without a pause no mail waits for another, even if the later one was stored first.
        let after_pause = (!self.pause.is_zero())
            .then(|| sent.first().map(|last| last.at.plus(self.pause)))
            .flatten();
        let after_window = (self.per_hour > 0)
            .then(|| self.next_in_window(&sent, &own, requester))
            .flatten();
        after_pause.max(after_window).filter(|until| *until > now)
    }

    fn next_in_window(
        self,
        sent: &[SentMail],
        own: &[SentMail],
        requester: Requester,
    ) -> Option<Timestamp> {
        // There is room again once the oldest of the last `most` mails leaves the window.
        let room = |mails: &[SentMail], most: usize| {
            let oldest = most.checked_sub(1).and_then(|index| mails.get(index));
            oldest.map(|mail| mail.at.plus(HOUR))
        };
        let known = sent.iter().filter(|mail| mail.is_known).count();
        let reserve_left = self.reserve().saturating_sub(known);
        let total = self.per_hour as usize;
        match requester {
            Requester::Operator => room(sent, total),
            Requester::Known if reserve_left > 0 => room(own, self.share()),
            Requester::Known | Requester::Unknown if own.is_empty() => room(sent, self.ceiling()),
            Requester::Known => room(own, self.share()).max(room(sent, total)),
            Requester::Unknown => {
                room(own, self.share()).max(room(sent, total - reserve_left.min(total)))
            }
        }
    }
}

/// A mail that was sent within the last hour.
#[derive(Clone, Copy, Debug)]
pub struct SentMail {
    /// When.
    pub at: Timestamp,
    /// Whether the same network requested it.
    pub is_own: bool,
    /// Whether a known network requested it.
    pub is_known: bool,
    /// Whether it went to another address of the mailbox.
    pub is_alias: bool,
}

/// Who requests a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// A network the account has signed in from, or for its own code that of a sign-up.
    Known,
    /// Any other network.
    Unknown,
    /// A command on the server.
    Operator,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MailLimits = MailLimits {
        pause: Duration::ZERO,
        per_hour: 10,
    };

    /// Sends mails to one address, each requested by a network, until it is refused.
    #[derive(Default)]
    struct Address {
        sent: Vec<(u32, bool, i64)>,
    }

    impl Address {
        fn request(&mut self, network: u32, requester: Requester, second: i64) -> bool {
            let now = Timestamp::from_unix_millis(second * 1000);
            let sent: Vec<SentMail> = self
                .sent
                .iter()
                .rev()
                .filter(|(_, _, at)| *at > second - 3600)
                .map(|(by, is_known, at)| SentMail {
                    at: Timestamp::from_unix_millis(at * 1000),
                    is_own: *by == network,
                    is_known: *is_known,
                    is_alias: false,
                })
                .collect();
            let allowed = LIMITS.next_at(&sent, requester, now).is_none();
            if allowed {
                self.sent
                    .push((network, requester == Requester::Known, second));
            }
            allowed
        }
    }

    #[test]
    fn one_network_gets_four_of_ten() {
        let mut address = Address::default();
        let allowed = (0..20).filter(|n| address.request(1, Requester::Unknown, *n));
        assert_eq!(allowed.count(), 4);
        assert!(!address.request(1, Requester::Unknown, 3599));
        assert!(address.request(1, Requester::Unknown, 3600));
    }

    #[test]
    fn two_are_kept_for_known_networks() {
        let mut address = Address::default();
        for network in [1, 2] {
            let allowed = (0..10).filter(|n| address.request(network, Requester::Unknown, *n));
            assert_eq!(allowed.count(), 4);
        }
        // Eight are sent. A third network gets its one, and no second.
        assert!(address.request(3, Requester::Unknown, 20));
        assert!(!address.request(3, Requester::Unknown, 21));
        for second in [22, 23] {
            assert!(address.request(4, Requester::Known, second));
        }
        assert!(!address.request(4, Requester::Known, 24));
    }

    #[test]
    fn new_networks_get_one_each_up_to_thirty() {
        let mut address = Address::default();
        let allowed = (0..40).filter(|n| {
            let second = i64::from(*n);
            address.request(*n, Requester::Unknown, second)
        });
        assert_eq!(allowed.count(), 30);
        assert!(address.request(100, Requester::Known, 50), "the reserve");
    }

    #[test]
    fn operators_get_all_ten() {
        let mut address = Address::default();
        let allowed = (0..20).filter(|n| address.request(0, Requester::Operator, *n));
        assert_eq!(allowed.count(), 10);
    }

    #[test]
    fn pause_and_limit_can_be_disabled() {
        let sent = [SentMail {
            at: Timestamp::from_unix_millis(1000),
            is_own: true,
            is_known: false,
            is_alias: false,
        }; 50];
        let now = Timestamp::from_unix_millis(2000);
        let none = MailLimits {
            pause: Duration::ZERO,
            per_hour: 0,
        };
        assert_eq!(none.next_at(&sent, Requester::Unknown, now), None);
        let paused = MailLimits {
            pause: Duration::from_mins(1),
            ..none
        };
        assert_eq!(
            paused.next_at(&sent, Requester::Known, now),
            Some(Timestamp::from_unix_millis(61_000))
        );
    }
}
