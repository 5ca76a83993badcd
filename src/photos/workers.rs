//! The threads that decode photos, and the queue in which accounts take turns.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::thread;

use tokio::sync::oneshot;

use super::PhotoError;
use crate::domain::UserId;
use crate::fair_queue::{FairQueue, FlowKey, Priority, QueuedJob};

/// Most uploads that wait. Their bytes are in memory already.
const CAPACITY: usize = 64;

/// The account that uploads: a flow in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Uploader(UserId);

impl FlowKey for Uploader {
    fn is_preferred(self) -> bool {
        false
    }

    fn can_flood(self) -> bool {
        false
    }
}

/// Decoding threads, which are started by the first upload and end when this is dropped.
pub(super) struct Workers {
    queue: Arc<FairQueue<Uploader>>,
    threads: usize,
    start: Once,
}

impl Workers {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            queue: Arc::new(FairQueue::new(CAPACITY, CAPACITY)),
            threads: threads.max(1),
            start: Once::new(),
        }
    }

    /// Runs work for an account on one of the threads.
    ///
    /// # Errors
    /// [`PhotoError::Overloaded`] when the queue is full, [`PhotoError::NotAnImage`] when the work
    /// panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        account: UserId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PhotoError> {
        self.start.call_once(|| {
            for number in 0..self.threads {
                let queue = Arc::clone(&self.queue);
                let thread = thread::Builder::new().name(format!("photo-{number}"));
                if let Err(e) = thread.spawn(move || run_jobs(&queue)) {
                    log::error!("a thread for photos was not started: {e}");
                }
            }
        });
        let (answer, receive) = oneshot::channel();
        let job = Job { work, answer };
        self.queue.push(Uploader(account), Box::new(job));
        receive.await.unwrap_or(Err(PhotoError::NotAnImage))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

struct Job<T, F> {
    work: F,
    answer: oneshot::Sender<Result<T, PhotoError>>,
}

impl<T: Send, F: FnOnce() -> T + Send> QueuedJob for Job<T, F> {
    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn run(self: Box<Self>) {
        let _ = self.answer.send(Ok((self.work)()));
    }

    fn reject(self: Box<Self>) {
        let _ = self.answer.send(Err(PhotoError::Overloaded));
    }
}

fn run_jobs(queue: &FairQueue<Uploader>) {
    while let Some(job) = queue.pop(Priority::Normal) {
        if catch_unwind(AssertUnwindSafe(|| job.run())).is_err() {
            log::error!("decoding a photo panicked; the request is answered with an error");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn accounts_take_turns() {
        let workers = Workers::new(1);
        let (release, hold) = mpsc::channel::<()>();
        let mut busy = Box::pin(workers.run(9, move || hold.recv()));
        assert!((&mut busy).now_or_never().is_none());
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut uploads: Vec<_> = [1, 1, 1, 1, 1, 1, 1, 1, 2]
            .into_iter()
            .map(|account| {
                let order = Arc::clone(&order);
                Box::pin(workers.run(account, move || order.lock().unwrap().push(account)))
            })
            .collect();
        for upload in &mut uploads {
            assert!(upload.now_or_never().is_none());
        }
        release.send(()).unwrap();
        assert_eq!(busy.await, Ok(Ok(())));
        assert!(join_all(uploads).await.iter().all(Result::is_ok));
        assert_eq!(order.lock().unwrap()[..3], [1, 2, 1]);
    }

    #[tokio::test]
    async fn full_queue_rejects_the_account_that_fills_it() {
        let workers = Workers::new(1);
        let (release, hold) = mpsc::channel::<()>();
        let mut busy = Box::pin(workers.run(9, move || hold.recv()));
        assert!((&mut busy).now_or_never().is_none());
        // The thread may not have taken the first job yet.
        let mut uploads: Vec<_> = (0..=CAPACITY)
            .map(|_| Box::pin(workers.run(1, || ())))
            .collect();
        for upload in &mut uploads {
            let _ = upload.now_or_never();
        }
        let mut other = Box::pin(workers.run(2, || ()));
        assert!((&mut other).now_or_never().is_none());
        release.send(()).unwrap();
        assert_eq!(other.await, Ok(()));
        drop(uploads);
        assert_eq!(busy.await, Ok(Ok(())));
    }
}
