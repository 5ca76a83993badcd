//! What happens to second factors.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use super::page::Page;
use crate::domain::SecondFactor;

/// What happens to a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorEvent {
    /// An app or a passkey was added to an account.
    Enrolled,
    /// A proof of it was accepted.
    Verified,
    /// A proof of it was refused.
    Failed,
}

impl FactorEvent {
    const ALL: [Self; 3] = [Self::Enrolled, Self::Verified, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Verified => "verified",
            Self::Failed => "failed",
        }
    }
}

/// The kinds of factors, in their order.
const FACTORS: [SecondFactor; 3] = [
    SecondFactor::Totp,
    SecondFactor::RecoveryCode,
    SecondFactor::Webauthn,
];

/// Counts by factor and event.
#[derive(Debug)]
pub(super) struct FactorCounts([[AtomicU64; FactorEvent::ALL.len()]; FACTORS.len()]);

impl Default for FactorCounts {
    fn default() -> Self {
        Self(array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl FactorCounts {
    pub(super) fn count(&self, factor: SecondFactor, event: FactorEvent) {
        self.0[factor as usize][event as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes all possible series, also those at 0.
    pub(super) fn write(&self, page: &mut Page) {
        let name = "accounts_second_factors_total";
        page.family(name, "counter", "Second factors by method and event.");
        for factor in FACTORS {
            for event in FactorEvent::ALL {
                // Recovery codes come with another factor.
                if factor == SecondFactor::RecoveryCode && event == FactorEvent::Enrolled {
                    continue;
                }
                let count = self.0[factor as usize][event as usize].load(Ordering::Relaxed);
                let labels = format!("method=\"{}\",event=\"{}\"", factor.as_str(), event.name());
                page.sample(name, &labels, count);
            }
        }
    }
}
