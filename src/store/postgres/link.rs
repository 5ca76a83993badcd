//! A thread's connection to the primary.

use std::sync::Arc;

use super::client::{Client, Fault, Patience};
use super::servers::Servers;
use crate::store::{StoreError, StoreResult};

/// Attempts at an operation whose connection breaks or that is in another one's way.
pub(super) const ATTEMPTS: u32 = 4;

/// The connection of a thread, which is opened when it is needed.
pub(super) struct Link {
    servers: Arc<Servers>,
    client: Option<(Client, u64)>,
}

impl Link {
    pub(super) fn new(servers: &Arc<Servers>) -> Self {
        Self {
            servers: Arc::clone(servers),
            client: None,
        }
    }

    /// What is known of the servers.
    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Takes the connection to the primary, with its generation; [`keep`](Self::keep) gives it back.
    pub(super) fn take(&mut self) -> StoreResult<(Client, u64)> {
        let (server, generation) = self.servers.wait_for_primary()?;
        match self.client.take() {
            Some((client, of)) if of == generation && !client.is_lost() => Ok((client, of)),
            _ => {
                let client = self.servers.connect_for(server, generation)?;
                Ok((client, generation))
            }
        }
    }

    /// Keeps a connection for the next operation, unless it is lost.
    pub(super) fn keep(&mut self, client: Client, generation: u64) {
        if client.fault() == Some(Fault::Broken) {
            self.servers.doubt();
        } else {
            self.client = Some((client, generation));
        }
    }

    /// Closes the connection.
    pub(super) fn close(&mut self) {
        self.client = None;
    }

    /// Reads, in a transaction if `begin` begins one. What is read counts only if the primary still proves
    /// to be one; otherwise, and when the connection breaks, it is read again.
    pub(super) fn read<T>(
        &mut self,
        begin: Option<&'static str>,
        patience: Patience,
        query: &mut dyn FnMut(&Client) -> StoreResult<T>,
    ) -> StoreResult<T> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (client, generation) = self.take()?;
            client.set_patience(patience);
            client.begin(begin);
            let result = query(&client);
            if begin.is_some() {
                client.roll_back();
            }
            let fault = client.fault();
            self.keep(client, generation);
            match result {
                Ok(value) if self.servers.is_trusted(generation) => return Ok(value),
                Ok(_) if attempt >= ATTEMPTS => {
                    return Err(StoreError::busy(
                        "the primary of the database does not confirm writes",
                    ));
                }
                Err(error) if fault.is_none() || attempt >= ATTEMPTS => return Err(error),
                _ => {}
            }
        }
    }
}
