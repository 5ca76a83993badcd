//! Mail: composing it ([`Composer`]), keeping it for development ([`Inbox`]), and handing it to what carries it on
//! ([`Transport`]) through a queue in memory and one thread ([`Mailer`]).
//!
//! Callers compose a [`Mail`] and give it to [`Mailer::send`], which never waits for a mail server. Nothing here knows
//! accounts, HTTP or when a mail is due; codes and addresses are never logged. A new way of carrying mail is one more
//! [`Transport`] in `transport.rs`, a new kind of mail one more method of [`Composer`].

mod inbox;
mod message;
mod transport;

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::domain::{EmailAddress, Timestamp};

pub use inbox::{Inbox, InboxEntry};
pub use message::Composer;
pub use transport::{
    FileMailTransport, SendmailMailTransport, SmtpMailTransport, StdoutMailTransport, Transport,
};

/// How many mails may wait for delivery.
const QUEUE: usize = 1_000;

/// The pauses before the second, third and fourth try of a mail. They are short because the mails behind it wait as
/// well; a code that could not be mailed within seconds is better asked for again.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// A finished mail.
///
/// The public fields say what it says; what travels is fixed when it is composed. `Debug` shows neither code nor
/// address.
#[derive(Clone)]
pub struct Mail {
    /// The one recipient.
    pub to: EmailAddress,
    /// The sender, `a@b` or `Name <a@b>`.
    pub from: String,
    /// The subject, decoded.
    pub subject: String,
    /// The text part, with LF line ends.
    pub text: String,
    /// The HTML part, with LF line ends.
    pub html: String,
    /// The one-time password, where the mail carries one.
    pub otp: Option<String>,
    /// The link, where the mail carries one.
    pub link: Option<String>,
    /// When the mail was composed.
    pub created_at: Timestamp,
    /// The part of the message id before the `@`, letters only: names the mail in logs and files.
    id: String,
    message: lettre::Message,
}

impl Mail {
    /// The whole message as it travels: RFC 5322, CRLF line ends.
    pub fn raw(&self) -> Vec<u8> {
        self.message.formatted()
    }

    /// The whole message with LF line ends, as local programs and terminals expect it.
    fn raw_with_lf(&self) -> Vec<u8> {
        let mut bytes = self.raw();
        // The composer writes no carriage return but before a line feed.
        bytes.retain(|byte| *byte != b'\r');
        bytes
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("id", &self.id)
            .field("to", &self.to.masked())
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// Why a mail was not composed, queued or delivered.
///
/// The texts may be logged: recipients are masked, codes and passwords left out, also where a mail server quotes them.
/// For the same reason a server's reply is kept as text only, never as the source.
#[derive(Debug)]
pub enum MailError {
    /// An address is unusable; another one is needed.
    Address {
        /// Which one, and what to do.
        message: String,
        /// What the parser said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The message could not be put together from what was given.
    Compose {
        /// What is wrong with it.
        message: String,
        /// What the builder said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The settings of a transport are unusable; the person who runs the server has to change them.
    Setup {
        /// What is wrong with them, and what to do.
        message: String,
        /// What the system said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The transport failed in a way that may pass; the same mail may be tried again.
    Temporary {
        /// Who failed and what it said.
        message: String,
        /// What the system said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The transport refused the mail; trying again is of no use.
    Permanent {
        /// Who refused and what it said.
        message: String,
        /// What the system said.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// Too many mails wait for delivery; try again later.
    QueueFull,
    /// The mailer was shut down and takes no more mails.
    Stopped,
}

impl MailError {
    /// Whether the same mail may be tried again.
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary { .. } | Self::QueueFull)
    }
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { message, .. } | Self::Setup { message, .. } => f.write_str(message),
            Self::Compose { message, .. } => write!(f, "the mail cannot be composed: {message}"),
            Self::Temporary { message, .. } => write!(f, "{message} (it may work later)"),
            Self::Permanent { message, .. } => {
                write!(f, "{message} (trying again will not help)")
            }
            Self::QueueFull => write!(
                f,
                "{QUEUE} mails wait for delivery already; check the mail server and try again later"
            ),
            Self::Stopped => f.write_str("the server is stopping and takes no more mails"),
        }
    }
}

impl Error for MailError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Address { source, .. }
            | Self::Compose { source, .. }
            | Self::Setup { source, .. }
            | Self::Temporary { source, .. }
            | Self::Permanent { source, .. } => source.as_deref().map(|e| e as _),
            Self::QueueFull | Self::Stopped => None,
        }
    }
}

/// Takes mails and delivers them one after the other on a thread of its own. Clones share queue and thread.
///
/// The queue is in memory: what waits when the process dies is lost, and its code has to be asked for again. Call
/// [`Mailer::shutdown`] before the program ends; when the last clone is dropped instead, nobody waits for the queue.
#[derive(Clone)]
pub struct Mailer(Arc<Handle>);

struct Handle {
    inbox: Option<Inbox>,
    /// Gone once the mailer takes no more mails.
    sender: Mutex<Option<SyncSender<Mail>>>,
    worker: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

/// What the callers and the worker share.
#[derive(Default)]
struct Shared {
    /// Mails taken and not yet delivered or given up, the one in delivery included.
    pending: AtomicUsize,
    phase: Mutex<Phase>,
    changed: Condvar,
}

#[derive(Default)]
struct Phase {
    /// No more mails come; pauses end.
    stopping: bool,
    /// The patience is over: what still waits is left.
    abandoned: bool,
    /// The worker has ended.
    finished: bool,
}

/// No lock is held over code that can leave its value half changed, so that a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailer {
    /// Starts the thread that delivers by `transport`. Every mail goes into `inbox`, too, where there is one.
    ///
    /// Should the system refuse the thread, that is logged and every [`Mailer::send`] fails.
    pub fn start(transport: Box<dyn Transport>, inbox: Option<Inbox>) -> Self {
        Self::start_with(transport, inbox, QUEUE, &PAUSES)
    }

    fn start_with(
        transport: Box<dyn Transport>,
        inbox: Option<Inbox>,
        queue: usize,
        pauses: &'static [Duration],
    ) -> Self {
        let (sender, receiver) = sync_channel(queue);
        let shared = Arc::new(Shared::default());
        let worker = thread::Builder::new().name("mailer".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&shared, &receiver, transport, pauses)
        });
        let worker = match worker {
            Ok(worker) => Some(worker),
            Err(e) => {
                log::error!("no mail will be sent: cannot start the mail thread: {e}");
                lock(&shared.phase).finished = true;
                None
            }
        };
        Self(Arc::new(Handle {
            inbox,
            sender: Mutex::new(Some(sender)),
            worker: Mutex::new(worker),
            shared,
        }))
    }

    /// Queues a mail. Never waits, neither for delivery nor for room.
    ///
    /// # Errors
    /// [`MailError::QueueFull`] when 1,000 mails wait already, [`MailError::Stopped`] after [`Mailer::shutdown`].
    pub fn send(&self, mail: Mail) -> Result<(), MailError> {
        let handle = &self.0;
        if let Some(inbox) = &handle.inbox {
            inbox.add(&mail);
        }
        let sender = lock(&handle.sender);
        let sender = sender.as_ref().ok_or(MailError::Stopped)?;
        // Counted first: the worker may be done with the mail before `try_send` returns.
        handle.shared.pending.fetch_add(1, Ordering::SeqCst);
        sender.try_send(mail).map_err(|e| {
            handle.shared.pending.fetch_sub(1, Ordering::SeqCst);
            match e {
                TrySendError::Full(_) => MailError::QueueFull,
                TrySendError::Disconnected(_) => MailError::Stopped,
            }
        })
    }

    /// How many mails are neither delivered nor given up, the one in delivery included.
    pub fn queued(&self) -> usize {
        self.0.shared.pending.load(Ordering::SeqCst)
    }

    /// Takes no more mails, and blocks until those that wait are delivered, for at most `patience`.
    ///
    /// No mail is tried again after a pause from now on: one that waits for its next try gets it at once, as its
    /// last. A delivery that is under way when the patience ends is not waited for. What was left is logged.
    pub fn shutdown(&self, patience: Duration) {
        let handle = &self.0;
        handle.stop_accepting();
        let finished = {
            let phase = lock(&handle.shared.phase);
            let (mut phase, _) = handle
                .shared
                .changed
                .wait_timeout_while(phase, patience, |phase| !phase.finished)
                .unwrap_or_else(PoisonError::into_inner);
            phase.abandoned = true;
            phase.finished
        };
        if finished
            && let Some(worker) = lock(&handle.worker).take()
            && worker.join().is_err()
        {
            log::error!("the mail thread panicked");
        }
        let left = self.queued();
        if left > 0 {
            log::warn!(
                "stopping with {left} mails not delivered; their codes can be asked for again"
            );
        }
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailer")
            .field("queued", &self.queued())
            .finish_non_exhaustive()
    }
}

impl Handle {
    fn stop_accepting(&self) {
        drop(lock(&self.sender).take());
        lock(&self.shared.phase).stopping = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        lock(&self.phase).stopping
    }

    fn is_abandoned(&self) -> bool {
        lock(&self.phase).abandoned
    }

    /// Waits, at most until the mailer is shut down.
    fn pause(&self, pause: Duration) {
        let phase = lock(&self.phase);
        drop(
            self.changed
                .wait_timeout_while(phase, pause, |phase| !phase.stopping),
        );
    }
}

/// Says that the worker has ended, however it ended.
struct FinishedOnDrop<'a>(&'a Shared);

impl Drop for FinishedOnDrop<'_> {
    fn drop(&mut self) {
        lock(&self.0.phase).finished = true;
        self.0.changed.notify_all();
    }
}

fn run(
    shared: &Shared,
    receiver: &Receiver<Mail>,
    mut transport: Box<dyn Transport>,
    pauses: &[Duration],
) {
    let _finished = FinishedOnDrop(shared);
    for mail in receiver {
        if shared.is_abandoned() {
            return;
        }
        deliver(shared, transport.as_mut(), &mail, pauses);
        shared.pending.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Delivers one mail or gives it up; either is logged.
fn deliver(shared: &Shared, transport: &mut dyn Transport, mail: &Mail, pauses: &[Duration]) {
    let name = transport.name();
    let (id, to) = (&mail.id, mail.to.masked());
    let mut pauses = pauses.iter();
    loop {
        // One mail that makes a transport panic must not be the end of mail for everybody.
        let delivered = catch_unwind(AssertUnwindSafe(|| transport.deliver(mail)));
        let error = match delivered {
            Ok(Ok(())) => {
                log::info!("mail {id} to {to} handed to {name}");
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => MailError::Permanent {
                message: "the transport panicked".to_owned(),
                source: None,
            },
        };
        let pause = pauses
            .next()
            .filter(|_| error.is_temporary() && !shared.is_stopping());
        let Some(pause) = pause else {
            log::error!("mail {id} to {to} given up: {name}: {error}");
            return;
        };
        log::warn!("mail {id} to {to} is tried again in {pause:?}: {name}: {error}");
        shared.pause(*pause);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;
    use crate::domain::OtpPurpose;

    /// A mail with the code 123456, composed at 2024-12-03T12:00:00.123Z.
    pub(super) fn mail_to(to: &str) -> Mail {
        Composer::new("Accounts <accounts@example.com>", "http://127.0.0.1:8000")
            .unwrap()
            .otp(
                OtpPurpose::SignUp,
                &EmailAddress::parse(to).unwrap(),
                "123456",
                10,
                Timestamp::from_unix_millis(1_733_227_200_123),
                [0x0f; 16],
            )
            .unwrap()
    }

    fn temporary() -> MailError {
        MailError::Temporary {
            message: "busy".to_owned(),
            source: None,
        }
    }

    fn permanent() -> MailError {
        MailError::Permanent {
            message: "no such user".to_owned(),
            source: None,
        }
    }

    /// Reports each try and answers with what the closure returns for its number, counted from 1.
    struct Fake<F> {
        tries: Sender<String>,
        count: usize,
        answer: F,
    }

    impl<F: FnMut(usize) -> Result<(), MailError> + Send> Transport for Fake<F> {
        fn deliver(&mut self, mail: &Mail) -> Result<(), MailError> {
            self.count += 1;
            let _ = self.tries.send(mail.to.as_str().to_owned());
            (self.answer)(self.count)
        }

        fn name(&self) -> &'static str {
            "fake"
        }
    }

    fn start(
        answer: impl FnMut(usize) -> Result<(), MailError> + Send + 'static,
        queue: usize,
        pauses: &'static [Duration],
    ) -> (Mailer, Receiver<String>) {
        let (tries, seen) = channel();
        let fake = Fake {
            tries,
            count: 0,
            answer,
        };
        let mailer = Mailer::start_with(Box::new(fake), None, queue, pauses);
        (mailer, seen)
    }

    const PATIENCE: Duration = Duration::from_secs(20);
    const SHORT: [Duration; 3] = [Duration::from_millis(1); 3];
    const LONG: [Duration; 3] = [Duration::from_hours(1); 3];

    #[test]
    fn mails_are_delivered_in_order_and_shown_in_the_inbox() {
        let (tries, seen) = channel();
        let fake = Fake {
            tries,
            count: 0,
            answer: |_| Ok(()),
        };
        let inbox = Inbox::default();
        let mailer = Mailer::start(Box::new(fake), Some(inbox.clone()));
        for to in ["ann@example.com", "bob@example.com"] {
            mailer.clone().send(mail_to(to)).unwrap();
        }
        assert_eq!(inbox.list(None).len(), 2, "at once, before any delivery");
        mailer.shutdown(PATIENCE);
        assert_eq!(
            seen.iter().collect::<Vec<_>>(),
            ["ann@example.com", "bob@example.com"]
        );
        assert_eq!(mailer.queued(), 0);
        let late = mailer.send(mail_to("cid@example.com"));
        assert!(matches!(late, Err(MailError::Stopped)));
        mailer.shutdown(PATIENCE);
    }

    #[test]
    fn temporary_failures_are_retried_three_times_permanent_ones_never() {
        for (failures, error, tries) in [
            (2, temporary as fn() -> MailError, 3),
            (9, temporary, 4),
            (9, permanent, 1),
        ] {
            let (done, all_done) = channel();
            let (mailer, seen) = start(
                move |count| {
                    let _ = done.send(count);
                    if count <= failures {
                        Err(error())
                    } else {
                        Ok(())
                    }
                },
                10,
                &SHORT,
            );
            mailer.send(mail_to("ann@example.com")).unwrap();
            for count in 1..=tries {
                assert_eq!(all_done.recv_timeout(PATIENCE), Ok(count));
            }
            mailer.shutdown(PATIENCE);
            assert_eq!(seen.iter().count(), tries);
            assert_eq!(mailer.queued(), 0);
        }
    }

    #[test]
    fn shutdown_ends_a_pause_with_one_last_try() {
        let (mailer, seen) = start(|_| Err(temporary()), 10, &LONG);
        mailer.send(mail_to("ann@example.com")).unwrap();
        assert!(seen.recv_timeout(PATIENCE).is_ok());
        mailer.send(mail_to("bob@example.com")).unwrap();
        mailer.shutdown(PATIENCE);
        let rest: Vec<_> = seen.iter().collect();
        // Whether the pause had begun when the shutdown came decides about the last try of the first mail.
        assert_eq!(rest.last().map(String::as_str), Some("bob@example.com"));
        assert!(rest.len() <= 2, "{rest:?}");
        assert_eq!(mailer.queued(), 0);
    }

    #[test]
    fn a_full_queue_refuses_and_patience_ends() {
        let (release, wait) = channel::<()>();
        let (mailer, seen) = start(
            move |_| {
                let _ = wait.recv();
                Ok(())
            },
            1,
            &SHORT,
        );
        mailer.send(mail_to("ann@example.com")).unwrap();
        assert!(seen.recv_timeout(PATIENCE).is_ok(), "now in delivery");
        mailer.send(mail_to("bob@example.com")).unwrap();
        let third = mailer.send(mail_to("cid@example.com"));
        assert!(matches!(third, Err(MailError::QueueFull)));
        assert_eq!(mailer.queued(), 2);
        mailer.shutdown(Duration::from_millis(2));
        assert_eq!(mailer.queued(), 2);
        drop(release);
        assert_eq!(seen.iter().count(), 0, "what waited is left");
    }

    #[test]
    fn a_panicking_transport_costs_one_mail_only() {
        let (mailer, seen) = start(
            |count| {
                assert!(count > 1, "this panic is part of the test");
                Ok(())
            },
            10,
            &SHORT,
        );
        for to in ["ann@example.com", "bob@example.com"] {
            mailer.send(mail_to(to)).unwrap();
        }
        mailer.shutdown(PATIENCE);
        assert_eq!(seen.iter().count(), 2);
        assert_eq!(mailer.queued(), 0);
    }

    #[test]
    fn dropping_the_last_clone_ends_the_thread() {
        let (mailer, seen) = start(|_| Ok(()), 10, &SHORT);
        mailer.send(mail_to("ann@example.com")).unwrap();
        drop(mailer);
        assert_eq!(seen.iter().count(), 1, "the channel closes with the thread");
    }

    #[test]
    fn debug_shows_neither_code_nor_address() {
        let shown = format!("{:?}", mail_to("ann@example.com"));
        assert!(
            !shown.contains("123456") && !shown.contains("ann@"),
            "{shown}"
        );
    }
}
