//! Requests to external identity providers.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use super::page::Page;
use crate::domain::ProviderKind;

/// How a request to a provider ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderOutcome {
    /// By an answer 2xx.
    Answered,
    /// By an answer 4xx.
    Refused,
    /// By another answer, a broken one, or none.
    Failed,
}

impl ProviderOutcome {
    const ALL: [Self; 3] = [Self::Answered, Self::Refused, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Counts by kind and outcome.
#[derive(Debug)]
pub(super) struct ProviderCounts(
    [[AtomicU64; ProviderOutcome::ALL.len()]; ProviderKind::ALL.len()],
);

impl Default for ProviderCounts {
    fn default() -> Self {
        Self(array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0))))
    }
}

impl ProviderCounts {
    pub(super) fn count(&self, kind: ProviderKind, outcome: ProviderOutcome) {
        self.0[kind as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes all possible series, also those at 0.
    pub(super) fn write(&self, page: &mut Page) {
        let name = "accounts_provider_requests_total";
        let help = "Requests to external identity providers by kind and outcome.";
        page.family(name, "counter", help);
        for kind in ProviderKind::ALL {
            for outcome in ProviderOutcome::ALL {
                let count = self.0[kind as usize][outcome as usize].load(Ordering::Relaxed);
                let labels = format!("kind=\"{kind}\",outcome=\"{}\"", outcome.name());
                page.sample(name, &labels, count);
            }
        }
    }
}
