//! A bounded cache of tokens whose signature has been verified.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Verified;

/// SHA-256 of a whole token.
pub(super) type TokenDigest = [u8; 32];

/// Maximum number of cached tokens.
const CAPACITY: usize = 16_384;

/// Number of shards, each with its own lock, so that threads rarely wait for each other.
const SHARDS: usize = 16;

/// Tokens per shard.
const SHARD_CAPACITY: usize = CAPACITY / SHARDS;

/// Verified tokens by digest. Verifying a signature costs more than the rest of a read.
///
/// The keys are digests, so that the memory of the process contains no tokens. The cache belongs to
/// the keys of its [`super::Tokens`]: other keys begin with an empty one.
#[derive(Default)]
pub(super) struct VerifiedTokens([Mutex<Shard>; SHARDS]);

/// Evicts the token that was verified first, as it expires first. Least recently used would write to
/// several more places in memory with each use.
#[derive(Default)]
struct Shard {
    tokens: HashMap<TokenDigest, Arc<Verified>>,
    order: VecDeque<TokenDigest>,
}

impl VerifiedTokens {
    fn shard(&self, digest: &TokenDigest) -> MutexGuard<'_, Shard> {
        self.0[usize::from(digest[0]) % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, digest: &TokenDigest) -> Option<Arc<Verified>> {
        self.shard(digest).tokens.get(digest).cloned()
    }

    /// Adds a token and returns the cached one, which another thread may have added before.
    pub(super) fn add(&self, digest: TokenDigest, token: Verified) -> Arc<Verified> {
        let mut shard = self.shard(&digest);
        if let Some(known) = shard.tokens.get(&digest) {
            return Arc::clone(known);
        }
        if shard.tokens.len() >= SHARD_CAPACITY
            && let Some(oldest) = shard.order.pop_front()
        {
            shard.tokens.remove(&oldest);
        }
        let token = Arc::new(token);
        shard.tokens.insert(digest, Arc::clone(&token));
        shard.order.push_back(digest);
        token
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::super::TokenType;
    use super::*;
    use crate::domain::SessionRef;

    #[test]
    fn the_cache_is_bounded() {
        let cache = VerifiedTokens::default();
        let digest = |number: u32| Sha256::digest(number.to_be_bytes()).into();
        for number in 0..2 * 16_384 {
            let token = Verified {
                token_type: TokenType::Access,
                session: SessionRef::new(String::new(), 1),
                id: String::new(),
                authentication: None,
                issued: 0,
                expires: 0,
            };
            cache.add(digest(number), token);
        }
        for shard in &cache.0 {
            let shard = shard.lock().unwrap();
            assert_eq!(shard.tokens.len(), SHARD_CAPACITY);
            assert_eq!(shard.order.len(), SHARD_CAPACITY);
        }
        assert!(cache.find(&digest(0)).is_none());
        assert!(cache.find(&digest(2 * 16_384 - 1)).is_some());
    }
}
