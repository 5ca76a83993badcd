//! Password rules, hashing and verification.
//!
//! A hash has the form of Django's `BCryptSHA256PasswordHasher`: `bcrypt_sha256$` and the bcrypt
//! string of the hexadecimal SHA-256 of the password. bcrypt stops at 72 bytes and at a NUL;
//! hashing first means that no password is ever cut, and a Django service can read the hashes.
//!
//! Passwords are normalised to NFC before they are hashed: keyboards differ in how they send `é`.
//! Verification tries the password as typed too, for hashes made without normalisation.
//!
//! bcrypt is slow on purpose, so it runs on a few threads of its own behind a bounded queue, never
//! on a thread that serves connections. A request that finds the queue full is rejected at once,
//! and one whose client has gone is not hashed.

mod breached;
mod foreign;
mod rules;

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use icu_normalizer::ComposingNormalizerBorrowed;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::domain::ClientNetwork;
use crate::fair_queue::{FairQueue, FlowKey, Priority, QueuedJob};

pub use breached::{BreachedList, ListError};
pub use foreign::is_known;
pub use rules::{PasswordRules, PersonalData};

/// Prefix of our own hashes.
const PREFIX: &str = "bcrypt_sha256$";

/// Milliseconds for one hash of cost 12 on an ordinary core; only sizes the default queue.
const MILLIS_AT_COST_12: u64 = 224;

/// Niceness of the hashing threads, which share cores with serving. One step leaves hashing nine
/// parts to eleven, so a flood of reads leaves enough for sign-ins; five steps leave floods one
/// part to three.
#[cfg(target_os = "linux")]
const fn niceness(priority: Priority) -> i32 {
    match priority {
        Priority::Normal => 1,
        Priority::Background => 5,
    }
}

/// Most waiting passwords of one network before they are a flood; fewer where that is more than
/// half of the queue.
const FLOOD_THRESHOLD: usize = 32;

/// Longest wait in the default queue, in milliseconds.
const LONGEST_WAIT_MILLIS: u64 = 10_000;

/// Who wants a password hashed: the key of a flow in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Requester {
    /// A client on a network.
    Network {
        /// The network.
        network: ClientNetwork,
        /// Whether the owner of the account in question has signed in from there before.
        is_known: bool,
    },
    /// The server itself, or its operator.
    Server,
}

impl FlowKey for Requester {
    fn is_preferred(self) -> bool {
        matches!(self, Self::Network { is_known: true, .. } | Self::Server)
    }

    fn can_flood(self) -> bool {
        self != Self::Server
    }
}

/// Why a password was not hashed or checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordError {
    /// The queue is full: try again later.
    Overloaded,
    /// An internal error; the text is for the log.
    Failed(String),
}

impl fmt::Display for PasswordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overloaded => f.write_str("the hashing queue is full"),
            Self::Failed(cause) => write!(f, "hashing failed: {cause}"),
        }
    }
}

impl std::error::Error for PasswordError {}

/// How passwords are hashed.
pub struct PasswordOptions {
    /// bcrypt's cost: the hash takes 2^cost rounds.
    pub cost: u32,
    /// Hashing threads, and as many again for floods.
    pub threads: usize,
    /// Capacity of the queue; zero chooses what is hashed within about ten seconds.
    pub queue: usize,
    /// Shortest allowed password, in characters.
    pub min_length: usize,
    /// Known leaked passwords.
    pub breached: Option<BreachedList>,
}

/// Hashes and checks passwords.
pub struct Passwords {
    cost: u32,
    rules: PasswordRules,
    queue: Arc<FairQueue<Requester>>,
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
        let flood_threshold = FLOOD_THRESHOLD.min(queue / 2).max(1);
        let queue = Arc::new(FairQueue::new(queue, flood_threshold));
        for number in 0..threads {
            for (priority, name) in [
                (Priority::Normal, "hash"),
                (Priority::Background, "hash-flood"),
            ] {
                let queue = Arc::clone(&queue);
                thread::Builder::new()
                    .name(format!("{name}-{number}"))
                    .spawn(move || work(&queue, priority))
                    .expect("the system can start a thread");
            }
        }
        Self {
            cost: options.cost,
            rules: PasswordRules {
                min_length: options.min_length,
            },
            queue,
            // A well-formed hash that no password matches: verifying it costs what a real one does.
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

    /// Capacity of the queue.
    pub fn queue_capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Lists the rules that a new password breaks. A leaked password counts as too common.
    ///
    /// # Errors
    /// When the list of leaked passwords cannot be read.
    pub async fn complaints(
        &self,
        password: &str,
        person: &PersonalData<'_>,
    ) -> Result<Vec<String>, PasswordError> {
        let normalised = normalised(password);
        let password = &*normalised;
        let has_leaked = match &self.breached {
            None => false,
            Some(list) => {
                let (list, password) = (Arc::clone(list), password.to_owned());
                // The list is on disk, and disks can be slow.
                tokio::task::spawn_blocking(move || list.contains(&password))
                    .await
                    .map_err(|e| {
                        PasswordError::Failed(format!("the lookup of leaked passwords failed: {e}"))
                    })?
                    .map_err(|e| {
                        PasswordError::Failed(format!("the list of leaked passwords: {e}"))
                    })?
            }
        };
        Ok(self.rules.complaints(password, person, has_leaked))
    }

    /// Hashing for a requester, which decides the order in the queue.
    pub fn asked_by(&self, requester: Requester) -> Hashing<'_> {
        Hashing {
            passwords: self,
            requester,
        }
    }

    /// Hashes a password with `salt` for the server itself.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when the queue is full.
    pub async fn hash(&self, password: String, salt: [u8; 16]) -> Result<String, PasswordError> {
        self.asked_by(Requester::Server).hash(password, salt).await
    }

    /// Verifies a password for the server itself; see [`Hashing::verify`].
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when the queue is full.
    pub async fn verify(
        &self,
        password: String,
        hash: Option<&str>,
    ) -> Result<bool, PasswordError> {
        self.asked_by(Requester::Server)
            .verify(password, hash)
            .await
    }

    /// Whether a matching hash needs a rehash: it has another form, or a lower cost than new ones.
    /// One of a higher cost stays, so a server with cheap hashes for tests weakens nothing.
    pub fn is_outdated(&self, hash: &str) -> bool {
        let cost = hash
            .strip_prefix(PREFIX)
            .and_then(|hash| hash.strip_prefix("$2b$"))
            .and_then(|hash| hash.split('$').next())
            .and_then(|cost| cost.parse::<u32>().ok());
        cost.is_none_or(|cost| cost < self.cost)
    }
}

/// Whether a hash is that of a password. Django marks an account without one by `!`.
pub fn is_usable(hash: &str) -> bool {
    !hash.starts_with('!')
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Hashing for one requester.
#[derive(Clone, Copy)]
pub struct Hashing<'a> {
    passwords: &'a Passwords,
    requester: Requester,
}

impl Hashing<'_> {
    /// Hashes a password with `salt`, which must be fresh and random.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when the queue is full.
    pub async fn hash(self, password: String, salt: [u8; 16]) -> Result<String, PasswordError> {
        let cost = self.passwords.cost;
        self.run(move || hash(&password, cost, salt)).await?
    }

    /// Whether the password matches the hash. Without a hash (an unknown account) a dummy hash is
    /// verified, so that the time reveals nothing.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when the queue is full.
    pub async fn verify(self, password: String, hash: Option<&str>) -> Result<bool, PasswordError> {
        // An unusable password (Django's `!`) takes as long as any other.
        let hash = hash.filter(|hash| is_usable(hash));
        let known = hash.is_some();
        let hash: Arc<str> = match hash {
            Some(hash) => hash.into(),
            None => Arc::clone(&self.passwords.dummy_hash),
        };
        let matches = self.run(move || verify(&password, &hash)).await??;
        Ok(matches && known)
    }

    async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let (answer, receive) = oneshot::channel();
        let task = Task { work, answer };
        self.passwords.queue.push(self.requester, Box::new(task));
        receive
            .await
            .unwrap_or_else(|_| Err(PasswordError::Failed("a hashing thread failed".into())))
    }
}

/// Work for a hashing thread, and where its result goes.
struct Task<T, F> {
    work: F,
    answer: oneshot::Sender<Result<T, PasswordError>>,
}

impl<T: Send, F: FnOnce() -> T + Send> QueuedJob for Task<T, F> {
    fn is_abandoned(&self) -> bool {
        // The client hung up while its request was queued.
        self.answer.is_closed()
    }

    fn run(self: Box<Self>) {
        let _ = self.answer.send(Ok((self.work)()));
    }

    fn reject(self: Box<Self>) {
        let _ = self.answer.send(Err(PasswordError::Overloaded));
    }
}

fn work(queue: &FairQueue<Requester>, priority: Priority) {
    // Elsewhere niceness concerns the whole process. Where it is refused, hashing shares evenly.
    #[cfg(target_os = "linux")]
    if let Err(e) = rustix::process::nice(niceness(priority)) {
        log::debug!("the priority of hashing threads stays normal: {e}");
    }
    while let Some(job) = queue.pop(priority) {
        if catch_unwind(AssertUnwindSafe(|| job.run())).is_err() {
            log::error!("a hashing thread panicked; the request is answered with an error");
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

/// The password in Unicode's normalisation form C.
fn normalised(password: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(password)
}

fn digest(password: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(password.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn hash(password: &str, cost: u32, salt: [u8; 16]) -> Result<String, PasswordError> {
    bcrypt::hash_with_salt(digest(&normalised(password)), cost, salt)
        .map(|parts| {
            format!(
                "{PREFIX}{}",
                parts.format_for_version(bcrypt::Version::TwoB)
            )
        })
        .map_err(|e| PasswordError::Failed(e.to_string()))
}

fn verify(password: &str, hash: &str) -> Result<bool, PasswordError> {
    let unknown = || PasswordError::Failed("a stored hash has an unknown form".into());
    let normalised = normalised(password);
    if foreign::verify(&normalised, hash).ok_or_else(unknown)? {
        return Ok(true);
    }
    // Older hashes and those of other programs were made of what was typed.
    if normalised == password {
        return Ok(false);
    }
    foreign::verify(password, hash).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const SALT: [u8; 16] = *b"sixteen byte sal";

    #[test]
    fn every_byte_of_a_password_counts() {
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
    fn hash_has_the_form_of_django() {
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
    async fn missing_hash_matches_no_password() {
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
    async fn only_weaker_hashes_are_outdated() {
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
    async fn full_queue_rejects_at_once() {
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
    async fn abandoned_request_is_not_hashed() {
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
        let (send, hashed) = std::sync::mpsc::channel();
        let mut given_up = Box::pin(passwords.run(move || send.send("hashed")));
        // Polling queues both; then the client of the second one hangs up.
        assert!((&mut running).now_or_never().is_none());
        assert!((&mut given_up).now_or_never().is_none());
        drop(given_up);
        release.send(()).unwrap();
        assert_eq!(running.await, Ok(Ok(())));
        // One thread runs jobs in order: once this is done, the abandoned one has been skipped.
        assert_eq!(passwords.run(|| ()).await, Ok(()));
        assert!(hashed.try_recv().is_err());
    }

    #[test]
    fn passwords_match_in_any_unicode_normalisation() {
        let (composed, decomposed) = ("caf\u{e9}-au-lait-7", "cafe\u{301}-au-lait-7");
        for typed in [composed, decomposed] {
            let hashed = hash(typed, 4, SALT).unwrap();
            assert_eq!(hashed, hash(composed, 4, SALT).unwrap(), "NFC is hashed");
            assert!(verify(composed, &hashed).unwrap());
            assert!(verify(decomposed, &hashed).unwrap());
            assert!(!verify("cafe-au-lait-7", &hashed).unwrap());
        }
        // Made of what was typed, by a program or version that does not normalise.
        let old = "bcrypt_sha256$$2b$06$3uQ101kluPlka143VZ8K3OH4uCCozK5zrmYnmQb32ZXBJEijEkWxi";
        assert!(verify(decomposed, old).unwrap());
        assert!(!verify(composed, old).unwrap());
    }
}
