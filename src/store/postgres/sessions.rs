//! Look-ups of sessions: those that come at the same time are answered by one statement.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::client::Patience;
use super::link::Link;
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
const PATIENCE: Patience = Patience::of(Duration::from_secs(3));

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
            let (wanted, link) = (Arc::clone(&wanted), Link::new(servers));
            thread::Builder::new()
                .name("db-sessions".into())
                .spawn(move || run(&wanted, link))
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

fn run(wanted: &Mutex<Receiver<LookUp>>, mut link: Link) {
    let sql = format!(
        "SELECT {USER_COLUMNS}, sessions.id FROM sessions \
         JOIN users ON users.id = sessions.user_id \
         WHERE sessions.id = ANY ($1) AND sessions.client_id IS NULL AND users.is_active"
    );
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
        let found = find_all(&mut link, &sql, &batch);
        for LookUp { id, answer } in batch {
            let _ = answer.send(match &found {
                Ok(users) => Ok(users.get(&id).cloned()),
                Err(error) => Err(error.clone()),
            });
        }
    }
}

fn find_all(
    link: &mut Link,
    sql: &str,
    batch: &[LookUp],
) -> StoreResult<HashMap<String, Arc<UserSnapshot>>> {
    let ids: Vec<&str> = batch.iter().map(|wanted| wanted.id.as_str()).collect();
    let rows = link.read(None, PATIENCE, &mut |client| {
        client.query_by_texts(sql, &ids)
    })?;
    rows.iter()
        .map(|row| {
            let row = Row::new(row);
            let found: User = user(&row)?;
            let id = row.get(USER_COLUMN_COUNT)?;
            Ok((id, Arc::new(UserSnapshot::new(found))))
        })
        .collect()
}
