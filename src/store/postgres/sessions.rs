//! Look-ups of sessions: those that come at the same time are answered by one statement.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::client::{Client, Fault};
use super::servers::Servers;
use crate::domain::{SessionRef, User};
use crate::store::operations::connection::Row;
use crate::store::operations::rows::{USER_COLUMN_COUNT, USER_COLUMNS, user};
use crate::store::{StoreError, StoreResult, UserSnapshot};

/// Threads that look sessions up. Two keep the server at work while one reads an answer.
const THREADS: usize = 2;

/// Sessions in one statement.
const MOST: usize = 256;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Attempts at a look-up whose connection breaks.
const ATTEMPTS: u32 = 3;

type Answer = StoreResult<Option<Arc<UserSnapshot>>>;

/// A session that is looked up.
struct LookUp {
    id: String,
    answer: oneshot::Sender<Answer>,
}

/// The threads.
pub(super) struct SessionLookUps {
    queue: Option<Sender<LookUp>>,
    threads: Vec<JoinHandle<()>>,
}

impl SessionLookUps {
    pub(super) fn start(servers: &Arc<Servers>) -> Self {
        let (queue, wanted) = channel();
        let wanted = Arc::new(Mutex::new(wanted));
        let threads = (0..THREADS).map(|_| {
            let (wanted, servers) = (Arc::clone(&wanted), Arc::clone(servers));
            thread::Builder::new()
                .name("db-sessions".into())
                .spawn(move || run(&wanted, &servers))
                .expect("the system can start a thread")
        });
        Self {
            threads: threads.collect(),
            queue: Some(queue),
        }
    }

    /// Finds the active account of a live session.
    pub(super) async fn find(&self, session: &SessionRef) -> Answer {
        let (answer, receive) = oneshot::channel();
        let queue = self.queue.as_ref().expect("the queue is open until drop");
        let wanted = LookUp {
            id: session.id.clone(),
            answer,
        };
        let stopped = || StoreError::failed("the threads have stopped");
        queue.send(wanted).map_err(|_| stopped())?;
        receive.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Drop for SessionLookUps {
    fn drop(&mut self) {
        drop(self.queue.take());
        for thread in self.threads.drain(..) {
            // A panic of a thread was already reported.
            let _ = thread.join();
        }
    }
}

fn run(wanted: &Mutex<Receiver<LookUp>>, servers: &Servers) {
    let mut connection: Option<(Client, u64)> = None;
    loop {
        let mut batch = Vec::new();
        {
            let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
            match wanted.recv() {
                Ok(first) => batch.push(first),
                Err(_) => return,
            }
            batch.extend(wanted.try_iter().take(MOST - 1));
        }
        let found = find_all(&mut connection, servers, &batch);
        for LookUp { id, answer } in batch {
            let _ = answer.send(match &found {
                Ok(users) => Ok(users.get(&id).cloned()),
                Err(error) => Err(error.clone()),
            });
        }
    }
}

fn find_all(
    connection: &mut Option<(Client, u64)>,
    servers: &Servers,
    batch: &[LookUp],
) -> StoreResult<HashMap<String, Arc<UserSnapshot>>> {
    let sql = format!(
        "SELECT {USER_COLUMNS}, sessions.id FROM sessions \
         JOIN users ON users.id = sessions.user_id \
         WHERE sessions.id = ANY ($1) AND sessions.client_id IS NULL AND users.is_active"
    );
    let ids: Vec<&str> = batch.iter().map(|wanted| wanted.id.as_str()).collect();
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (server, generation) = servers.wait_for_primary()?;
        let (client, generation) = match connection.take() {
            Some((client, of)) if of == generation && !client.is_lost() => (client, of),
            _ => (servers.connect(server)?, generation),
        };
        client.set_patience(PATIENCE);
        client.begin(None);
        let rows = client.query_by_texts(&sql, &ids);
        let fault = client.fault();
        if fault != Some(Fault::Broken) {
            *connection = Some((client, generation));
        }
        match rows {
            Ok(rows) if servers.is_trusted(generation) => {
                return rows
                    .iter()
                    .map(|row| {
                        let row = Row::new(row);
                        let found: User = user(&row)?;
                        let id = row.get(USER_COLUMN_COUNT)?;
                        Ok((id, Arc::new(UserSnapshot::new(found))))
                    })
                    .collect();
            }
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
