//! The state of a server in numbers.

use async_trait::async_trait;

use super::StoreResult;

/// What happened on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayCounts {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// Sign-ups, confirmed or not.
    pub sign_ups: u64,
    /// Confirmed sign-ups.
    pub confirmed: u64,
    /// Sign-ins.
    pub sign_ins: u64,
    /// Failed sign-ins, also to unknown addresses.
    pub failed_sign_ins: u64,
}

/// The state of a server in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Accounts.
    pub accounts: u64,
    /// Those with a confirmed address.
    pub confirmed: u64,
    /// Those that are deactivated.
    pub inactive: u64,
    /// Those of staff.
    pub staff: u64,
    /// Mails in the queue.
    pub mails_waiting: u64,
    /// Those whose delivery failed several times.
    pub mails_failing: u64,
    /// What happened on each day that was asked for, earliest first, days without anything too.
    pub days: Vec<DayCounts>,
}

/// Reading the state of a server in numbers. It takes as long for a million accounts as for few.
#[async_trait]
pub trait OverviewStore {
    /// The numbers of now, and those of the days from `first_day` to `last_day`.
    async fn read_overview(&self, first_day: i64, last_day: i64) -> StoreResult<Overview>;
}
