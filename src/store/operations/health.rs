//! Health of the store: whether it is writable, and its size.

use async_trait::async_trait;

use super::engine::{Database, Engine};
use super::lock::Keys;
use super::otps::write_decoy;
use crate::domain::Timestamp;
use crate::store::{HealthStore, StoreResult, StoreSize};

#[async_trait]
impl<E: Engine> HealthStore for Database<E> {
    async fn check_writable(&self) -> StoreResult<()> {
        self.engine.check()?;
        self.engine
            .write_for(Keys::none(), |connection| {
                // This changes the row each time: SQLite skips writes of unchanged content.
                write_decoy(connection, Timestamp::default())
            })
            .await
    }

    async fn size(&self) -> StoreSize {
        self.engine.size().await
    }

    fn clock_offset(&self) -> Option<i64> {
        self.engine.clock_offset()
    }
}
