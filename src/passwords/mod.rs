//! Passwords: the rules for choosing one, hashing, and checking.
//!
//! A hash is written as Django's `BCryptSHA256PasswordHasher` writes it: `bcrypt_sha256$` and the bcrypt string of the
//! hexadecimal SHA-256 of the password. Hashing first means that bcrypt, which stops at 72 bytes and at a NUL, sees 64
//! plain bytes whatever was typed, so no password is ever cut; and a Django service can take the hashes over as they are.
//!
//! bcrypt is slow on purpose, so it runs on a few threads of its own with a bounded queue, never on a thread that serves
//! connections. A request that finds the queue full is turned away at once, and one whose client has gone is not hashed.

mod breached;
mod foreign;
mod queue;
mod rules;

use std::fmt;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

pub use breached::{BreachedList, ListError};
pub use foreign::is_known;
pub use queue::Requester;
use queue::{FairQueue, Job, Pace};
pub use rules::{PasswordRules, PersonalData};

/// How an own hash begins.
const PREFIX: &str = "bcrypt_sha256$";

/// Milliseconds that one hash of cost 12 takes on an ordinary core; only sizes the default queue.
const MILLIS_AT_COST_12: u64 = 224;

/// How far hashing stands back where it shares a core with serving: nine parts to eleven, so that a flood of reads leaves
/// enough to those who sign in; and for floods one part to three, so that they leave enough to those who read.
#[cfg(target_os = "linux")]
const fn niceness(pace: Pace) -> i32 {
    match pace {
        Pace::Ordinary => 1,
        Pace::Background => 5,
    }
}

/// Most passwords of one network that wait before they are a flood; fewer where that is more than half of the queue.
const LONGEST_ORDINARY_LANE: usize = 32;

/// Longest wait in the default queue, in milliseconds.
const LONGEST_WAIT_MILLIS: u64 = 10_000;

/// Why a password was not hashed or checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordError {
    /// More hashing is queued than can be done soon: try again later.
    Overloaded,
    /// A fault of ours; the text is for the log.
    Failed(String),
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => f.write_str("too many passwords wait to be hashed"),
            Self::Failed(cause) => write!(f, "hashing failed: {cause}"),
        }
    }
}

impl std::error::Error for PasswordError {}

/// How passwords are hashed.
pub struct PasswordOptions {
    /// bcrypt's cost: the hash takes 2^cost rounds.
    pub cost: u32,
    /// Threads that hash, and as many again for floods.
    pub threads: usize,
    /// Most passwords that wait; zero chooses as many as are done within about ten seconds.
    pub queue: usize,
    /// Shortest allowed password, in characters.
    pub min_length: usize,
    /// Passwords that are known to have leaked.
    pub breached: Option<BreachedList>,
}

/// Hashes and checks passwords.
pub struct Passwords {
    cost: u32,
    rules: PasswordRules,
    queue: Arc<FairQueue>,
    dummy_hash: Arc<str>,
    breached: Option<Arc<BreachedList>>,
}

impl Passwords {
    /// Starts the hashing threads. They end when this is dropped.
    pub fn start(options: PasswordOptions) -> Self {
        let threads = options.threads.max(1);
        let queue = if options.queue == 0 {
            default_queue(options.cost, threads)
        } else {
            options.queue
        };
        let longest_ordinary = LONGEST_ORDINARY_LANE.min(queue / 2).max(1);
        let queue = Arc::new(FairQueue::new(queue, longest_ordinary));
        for number in 0..threads {
            for (pace, name) in [(Pace::Ordinary, "hash"), (Pace::Background, "hash-flood")] {
                let queue = Arc::clone(&queue);
                thread::Builder::new()
                    .name(format!("{name}-{number}"))
                    .spawn(move || work(&queue, pace))
                    .expect("the system can start a thread");
            }
        }
        Self {
            cost: options.cost,
            rules: PasswordRules {
                min_length: options.min_length,
            },
            queue,
            // A well-formed hash of nothing: checking it costs what a real check costs, and no password fits it.
            dummy_hash: format!(
                "{PREFIX}$2b${:02}$......................{}",
                options.cost,
                ".".repeat(31)
            )
            .into(),
            breached: options.breached.map(Arc::new),
        }
    }

    /// How many passwords wait to be hashed or checked.
    pub fn queue_length(&self) -> usize {
        self.queue.len()
    }

    /// How many may wait.
    pub fn queue_capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Everything that speaks against a password, as the rules have it. One that has leaked is too common, however rare it
    /// looks.
    ///
    /// # Errors
    /// When the list of leaked passwords cannot be read.
    pub async fn complaints(
        &self,
        password: &str,
        person: &PersonalData<'_>,
    ) -> Result<Vec<String>, PasswordError> {
        let has_leaked = match &self.breached {
            None => false,
            Some(list) => {
                let (list, password) = (Arc::clone(list), password.to_owned());
                // The list is on disk, and a disk may take its time.
                tokio::task::spawn_blocking(move || list.contains(&password))
                    .await
                    .map_err(|e| {
                        PasswordError::Failed(format!("a look into the list failed: {e}"))
                    })?
                    .map_err(|e| {
                        PasswordError::Failed(format!("the list of leaked passwords: {e}"))
                    })?
            }
        };
        Ok(self.rules.complaints(password, person, has_leaked))
    }

    /// Hashing on behalf of somebody: whose turn it is depends on who asks.
    pub fn asked_by(&self, asker: Requester) -> Hashing<'_> {
        Hashing {
            passwords: self,
            asker,
        }
    }

    /// Hashes a password under a fresh random salt, on behalf of the server.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many wait already.
    pub async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String, PasswordError> {
        self.asked_by(Requester::Server).hash(password, salt).await
    }

    /// Whether the password fits the hash, asked on behalf of the server; see [`Hashing::verify`].
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many wait already.
    pub async fn verify(
        &self,
        password: String,
        hash: Option<&str>,
    ) -> Result<bool, PasswordError> {
        self.asked_by(Requester::Server)
            .verify(password, hash)
            .await
    }

    /// Whether a hash that was just found to fit ought to be made anew: it is of another form, or cheaper than new ones are.
    /// A dearer one stays, so that a server with fast hashes for tests weakens nothing.
    pub fn is_outdated(&self, hash: &str) -> bool {
        let cost = hash
            .strip_prefix(PREFIX)
            .and_then(|hash| hash.strip_prefix("$2b$"))
            .and_then(|hash| hash.split('$').next())
            .and_then(|cost| cost.parse::<u32>().ok());
        cost.is_none_or(|cost| cost < self.cost)
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Hashing on behalf of somebody.
#[derive(Clone, Copy)]
pub struct Hashing<'a> {
    passwords: &'a Passwords,
    asker: Requester,
}

impl Hashing<'_> {
    /// Hashes a password under a fresh random salt.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many wait already.
    pub async fn hash(self, password: String, salt: [u8; 16]) -> Result<String, PasswordError> {
        let cost = self.passwords.cost;
        self.run(move || hash(&password, cost, salt)).await?
    }

    /// Whether the password fits the hash. Without a hash (nobody of that name) the same work is done for nothing, so
    /// that the time tells nothing either.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when too many wait already.
    pub async fn verify(self, password: String, hash: Option<&str>) -> Result<bool, PasswordError> {
        // An unusable password (Django's `!`) answers as slowly as any other.
        let hash = hash.filter(|hash| !hash.starts_with('!'));
        let known = hash.is_some();
        let hash: Arc<str> = match hash {
            Some(hash) => hash.into(),
            None => Arc::clone(&self.passwords.dummy_hash),
        };
        let fits = self.run(move || verify(&password, &hash)).await??;
        Ok(fits && known)
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let (answer, receive) = oneshot::channel();
        let task = Task { work, answer };
        self.passwords.queue.push(self.asker, Box::new(task));
        receive
            .await
            .unwrap_or_else(|_| Err(PasswordError::Failed("a hashing thread failed".into())))
    }
}

/// Something to be done by a hashing thread, and who waits for it.
struct Task<T, F> {
    work: F,
    answer: oneshot::Sender<Result<T, PasswordError>>,
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Task<T, F> {
    fn is_abandoned(&self) -> bool {
        // The client hung up while its request stood in the queue.
        self.answer.is_closed()
    }

    fn run(self: Box<Self>) {
        let _ = self.answer.send(Ok((self.work)()));
    }

    fn turn_away(self: Box<Self>) {
        let _ = self.answer.send(Err(PasswordError::Overloaded));
    }
}

fn work(queue: &FairQueue, pace: Pace) {
    // Elsewhere it would be about the whole process. Where it is refused, hashing shares evenly.
    #[cfg(target_os = "linux")]
    if let Err(e) = rustix::process::nice(niceness(pace)) {
        log::debug!("hashing has the same priority as everything else: {e}");
    }
    while let Some(job) = queue.pop(pace) {
        if catch_unwind(AssertUnwindSafe(|| job.run())).is_err() {
            log::error!("hashing a password panicked; its request is answered with an error");
        }
    }
}

fn default_queue(cost: u32, threads: usize) -> usize {
    let millis = MILLIS_AT_COST_12
        .saturating_mul(1 << cost.min(31))
        .div_ceil(1 << 12)
        .max(1);
    let hashes = (LONGEST_WAIT_MILLIS / millis).clamp(4, 10_000);
    usize::try_from(hashes).unwrap_or(usize::MAX) * threads
}

fn digest(password: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(password.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn hash(password: &str, cost: u32, salt: [u8; 16]) -> Result<String, PasswordError> {
    bcrypt::hash_with_salt(digest(password), cost, salt)
        .map(|parts| {
            format!(
                "{PREFIX}{}",
                parts.format_for_version(bcrypt::Version::TwoB)
            )
        })
        .map_err(|e| PasswordError::Failed(e.to_string()))
}

fn verify(password: &str, hash: &str) -> Result<bool, PasswordError> {
    foreign::verify(password, hash)
        .ok_or_else(|| PasswordError::Failed("a stored hash has an unknown form".into()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SALT: [u8; 16] = *b"sixteen byte sal";

    #[test]
    fn passwords_differ_wherever_they_differ() {
        let long = "x".repeat(72);
        for (one, other) in [
            (format!("{long}a"), format!("{long}b")),
            ("abc\0def".into(), "abc\0xyz".into()),
        ] {
            let hashed = hash(&one, 4, SALT).unwrap();
            assert!(verify(&one, &hashed).unwrap());
            assert!(!verify(&other, &hashed).unwrap(), "{other:?}");
        }
    }

    #[test]
    fn a_hash_is_in_the_form_of_django() {
        let hashed = hash("securepassword123", 4, SALT).unwrap();
        assert!(hashed.starts_with("bcrypt_sha256$$2b$04$"), "{hashed}");
        assert_eq!(hashed.len(), PREFIX.len() + 60);
        // Made by the BCryptSHA256PasswordHasher of Django 5.2.
        let by_django =
            "bcrypt_sha256$$2b$04$jO1YEdygbWMbsp4f2YnEne.b4D7bYyJgeLgZdpzpX25l9AP1dO9QW";
        assert!(verify("securepassword123", by_django).unwrap());
        assert!(!verify("securepassword124", by_django).unwrap());
    }

    #[tokio::test]
    async fn nobody_knows_the_password_of_nobody() {
        let passwords = Passwords::start(PasswordOptions {
            breached: None,
            cost: 4,
            threads: 1,
            queue: 0,
            min_length: 8,
        });
        let hashed = passwords.hash("right".into(), SALT).await.unwrap();
        assert_eq!(
            passwords.verify("right".into(), Some(&hashed)).await,
            Ok(true)
        );
        assert_eq!(
            passwords.verify("wrong".into(), Some(&hashed)).await,
            Ok(false)
        );
        assert_eq!(passwords.verify("right".into(), None).await, Ok(false));
    }

    #[tokio::test]
    async fn hashes_are_renewed_only_to_better_ones() {
        let passwords = Passwords::start(PasswordOptions {
            breached: None,
            cost: 5,
            threads: 1,
            queue: 0,
            min_length: 8,
        });
        for (hash, outdated) in [
            (
                "bcrypt_sha256$$2b$04$jO1YEdygbWMbsp4f2YnEne.b4D7bYyJgeLgZdpzpX25l9AP1dO9QW",
                true,
            ),
            (
                "bcrypt_sha256$$2b$05$jO1YEdygbWMbsp4f2YnEne.b4D7bYyJgeLgZdpzpX25l9AP1dO9QW",
                false,
            ),
            (
                "bcrypt_sha256$$2b$12$jO1YEdygbWMbsp4f2YnEne.b4D7bYyJgeLgZdpzpX25l9AP1dO9QW",
                false,
            ),
            (
                "$2b$12$jO1YEdygbWMbsp4f2YnEne.b4D7bYyJgeLgZdpzpX25l9AP1dO9QW",
                true,
            ),
            ("pbkdf2_sha256$1000000$salt$hash", true),
        ] {
            assert_eq!(passwords.is_outdated(hash), outdated, "{hash}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_at_once() {
        let passwords = Passwords::start(PasswordOptions {
            breached: None,
            cost: 4,
            threads: 1,
            queue: 1,
            min_length: 8,
        });
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let (started, wait) = std::sync::mpsc::channel::<()>();
        let passwords = passwords.asked_by(Requester::Server);
        let running = passwords.run(move || {
            started.send(()).unwrap();
            hold.recv().unwrap();
        });
        let queued = passwords.run(|| ());
        let refused = passwords.run(|| ());
        let outcome = async {
            tokio::join!(running, async {
                tokio::task::spawn_blocking(move || wait.recv())
                    .await
                    .unwrap()
                    .unwrap();
                tokio::join!(queued, async {
                    let refused = refused.await;
                    release.send(()).unwrap();
                    refused
                })
            })
        }
        .await;
        assert_eq!(outcome.0, Ok(()));
        assert_eq!(outcome.1, (Ok(()), Err(PasswordError::Overloaded)));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_hashed() {
        let passwords = Passwords::start(PasswordOptions {
            breached: None,
            cost: 4,
            threads: 1,
            queue: 8,
            min_length: 8,
        });
        let passwords = passwords.asked_by(Requester::Server);
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let mut running = Box::pin(passwords.run(move || hold.recv()));
        let (tell, told) = std::sync::mpsc::channel();
        let mut given_up = Box::pin(passwords.run(move || tell.send("hashed")));
        // Both are in the queue or beyond it once they were polled; then the client of the second one hangs up.
        assert!((&mut running).now_or_never().is_none());
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        release.send(()).unwrap();
        assert_eq!(running.await, Ok(Ok(())));
        // One thread takes one after the other: when this is done, the other one has been passed over.
        assert_eq!(passwords.run(|| ()).await, Ok(()));
        assert!(told.try_recv().is_err());
    }
}
