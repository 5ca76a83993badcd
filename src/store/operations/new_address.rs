//! What a new address means for an account: the decisions of an address change, without statements.

use super::otps::CLOCK_SLACK;
use crate::domain::{EmailAddress, Timestamp};
use crate::store::RESTORED_REST;

/// The addresses that an account has.
pub(super) struct OwnAddresses<'a> {
    /// The one that is shown: the pending one if there is one, as it was typed.
    pub(super) shown: &'a str,
    /// The confirmed one, or that of a sign-up, in lower case.
    pub(super) own_key: &'a str,
    /// The one that waits for its confirmation, in lower case.
    pub(super) pending_key: Option<&'a str>,
    /// When a change was undone last.
    pub(super) restored_at: Option<Timestamp>,
}

/// What a new address comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NewAddress {
    /// It is the one that is shown already.
    Same,
    /// It is the confirmed one, perhaps in another spelling: nothing is left to confirm.
    Own,
    /// It is the pending one in another spelling: its code stays valid.
    Pending,
    /// It is a new one, but a change was undone a short while ago.
    Resting {
        /// When the address can be changed again.
        until: Timestamp,
    },
    /// It has to be confirmed.
    New,
}

impl NewAddress {
    pub(super) fn of(email: &EmailAddress, addresses: &OwnAddresses<'_>, now: Timestamp) -> Self {
        let key = email.key();
        if email.as_str() == addresses.shown {
            Self::Same
        } else if key == addresses.own_key {
            Self::Own
        } else if Some(key) == addresses.pending_key {
            Self::Pending
        } else if let Some(until) = rest_after_undo(addresses.restored_at, now) {
            Self::Resting { until }
        } else {
            Self::New
        }
    }
}

/// Until when an address cannot be changed because a change of it was undone.
fn rest_after_undo(restored_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    // An undo in the future was stored while the clock was wrong.
    let restored_at = restored_at.filter(|at| *at < now.plus(CLOCK_SLACK))?;
    Some(restored_at.plus(RESTORED_REST)).filter(|until| *until > now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1_800_000_000_000);

    fn of(
        email: &str,
        pending: Option<(&str, &str)>,
        restored_at: Option<Timestamp>,
    ) -> NewAddress {
        let addresses = OwnAddresses {
            shown: pending.map_or("Ann@example.com", |(shown, _)| shown),
            own_key: "ann@example.com",
            pending_key: pending.map(|(_, key)| key),
            restored_at,
        };
        NewAddress::of(&EmailAddress::parse(email).unwrap(), &addresses, NOW)
    }

    #[test]
    fn only_another_mailbox_has_to_be_confirmed() {
        let pending = Some(("New@example.com", "new@example.com"));
        for (email, pending, expected) in [
            ("Ann@example.com", None, NewAddress::Same),
            ("ANN@example.com", None, NewAddress::Own),
            ("bob@example.com", None, NewAddress::New),
            ("New@example.com", pending, NewAddress::Same),
            ("new@example.com", pending, NewAddress::Pending),
            ("Ann@example.com", pending, NewAddress::Own),
            ("bob@example.com", pending, NewAddress::New),
        ] {
            assert_eq!(of(email, pending, None), expected, "{email} {pending:?}");
        }
    }

    #[test]
    fn after_an_undo_the_address_rests() {
        let second = Duration::from_secs(1);
        let undone_at = NOW.minus(RESTORED_REST).plus(second);
        let until = NOW.plus(second);
        assert_eq!(
            of("bob@example.com", None, Some(undone_at)),
            NewAddress::Resting { until }
        );
        // Other spellings lead nowhere else.
        assert_eq!(
            of("ANN@example.com", None, Some(undone_at)),
            NewAddress::Own
        );
        let long_ago = NOW.minus(RESTORED_REST);
        assert_eq!(of("bob@example.com", None, Some(long_ago)), NewAddress::New);
        // Stored while the clock was wrong.
        let future = NOW.plus(CLOCK_SLACK);
        assert_eq!(of("bob@example.com", None, Some(future)), NewAddress::New);
    }
}
