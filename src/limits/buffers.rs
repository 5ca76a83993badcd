//! Budgets in bytes for what the server holds in memory for clients: request bodies and unsent answers.
//!
//! A budget bounds all of it, and each network's part, so that a client that sends bodies without
//! end or reads no answer exhausts its own part and not the memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{ClientNetwork, NetworkScope};

/// Most bytes that may be held at a time.
#[derive(Clone, Copy, Debug)]
pub struct BufferLimits {
    /// In all.
    pub total: usize,
    /// For one network, and more for the wider ones around it (see [`NetworkScope`]); zero means no limit.
    pub per_network: usize,
}

/// The budget is exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory for request bodies and unsent answers is exhausted")]
pub struct Exhausted;

/// The bytes that are held, in all and by network.
#[derive(Debug, Default)]
pub struct Buffers(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_scope: HashMap<NetworkScope, usize>,
}

impl Buffers {
    /// A reservation of no bytes yet. Without a network only the total counts.
    pub fn reservation(
        self: &Arc<Self>,
        network: Option<ClientNetwork>,
        limits: BufferLimits,
    ) -> Reservation {
        Reservation {
            buffers: Arc::clone(self),
            network,
            limits,
            bytes: 0,
        }
    }

    /// The bytes that are held in all.
    pub fn total(&self) -> usize {
        self.held().total
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are held for one request or answer, released on drop.
#[derive(Debug)]
pub struct Reservation {
    buffers: Arc<Buffers>,
    network: Option<ClientNetwork>,
    limits: BufferLimits,
    bytes: usize,
}

impl Reservation {
    /// Reserves more bytes.
    ///
    /// # Errors
    /// [`Exhausted`] when a limit would be exceeded; the reservation keeps what it has.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let mut held = self.buffers.held();
        let total = held.total.saturating_add(bytes);
        if total > self.limits.total {
            return Err(Exhausted);
        }
        let scopes = self.network.into_iter().flat_map(NetworkScope::of);
        let per_network = self.limits.per_network;
        let is_full = |scope: NetworkScope| {
            let of_scope = held.by_scope.get(&scope).copied().unwrap_or_default();
            of_scope.saturating_add(bytes) > per_network.saturating_mul(scope.factor())
        };
        if per_network != 0 && scopes.clone().any(is_full) {
            return Err(Exhausted);
        }
        for scope in scopes {
            *held.by_scope.entry(scope).or_default() += bytes;
        }
        held.total = total;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut held = self.buffers.held();
        held.total -= self.bytes;
        for scope in self.network.into_iter().flat_map(NetworkScope::of) {
            if let Some(of_scope) = held.by_scope.get_mut(&scope) {
                *of_scope -= self.bytes;
                if *of_scope == 0 {
                    held.by_scope.remove(&scope);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const LIMITS: BufferLimits = BufferLimits {
        total: 100,
        per_network: 60,
    };

    #[expect(clippy::unnecessary_wraps, reason = "it is the form of an argument")]
    fn network(number: u32) -> Option<ClientNetwork> {
        Some(IpAddr::V4(Ipv4Addr::from_bits(number)).into())
    }

    #[test]
    fn network_exhausts_its_own_part_only() {
        let buffers = Arc::new(Buffers::default());
        let mut first = buffers.reservation(network(1), LIMITS);
        assert_eq!(first.grow(40), Ok(()));
        let mut second = buffers.reservation(network(1), LIMITS);
        assert_eq!(second.grow(21), Err(Exhausted));
        assert_eq!(second.grow(20), Ok(()));
        let mut other = buffers.reservation(network(2), LIMITS);
        assert_eq!(other.grow(40), Ok(()));
        // The total is exhausted for everybody.
        assert_eq!(other.grow(1), Err(Exhausted));
        assert_eq!(buffers.reservation(None, LIMITS).grow(1), Err(Exhausted));
        drop(first);
        assert_eq!(buffers.total(), 60);
        assert_eq!(second.grow(40), Ok(()));
    }

    #[test]
    fn ipv6_networks_share_the_parts_of_wider_ones() {
        let buffers = Arc::new(Buffers::default());
        let limits = BufferLimits {
            total: 10_000,
            per_network: 60,
        };
        let reserve = |number: u128| {
            let bits = (0x2001_0db8_u128 << 96) | (number << 64);
            let network = IpAddr::from(std::net::Ipv6Addr::from_bits(bits)).into();
            let mut reservation = buffers.reservation(Some(network), limits);
            reservation.grow(60).map(|()| reservation)
        };
        // Four /64 have what their /56 may have.
        let held: Vec<_> = (0..10).map(reserve).collect();
        assert_eq!(held.iter().filter(|one| one.is_ok()).count(), 4);
        let others: Vec<_> = (1..30).map(|number| reserve(number << 8)).collect();
        assert_eq!(others.iter().filter(|one| one.is_ok()).count(), 12);
        drop((held, others));
        assert!(buffers.held().by_scope.is_empty());
    }

    #[test]
    fn nothing_is_left_of_a_released_network() {
        let buffers = Arc::new(Buffers::default());
        let mut refused = buffers.reservation(network(1), LIMITS);
        assert_eq!(refused.grow(61), Err(Exhausted));
        let mut reserved = buffers.reservation(network(2), LIMITS);
        assert_eq!(reserved.grow(60), Ok(()));
        drop((refused, reserved));
        assert_eq!(buffers.total(), 0);
        assert!(buffers.held().by_scope.is_empty());
    }
}
