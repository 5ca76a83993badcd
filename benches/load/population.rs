//! A database of generated accounts, the same for the same size, and tokens for some of them.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use accounts_server::app::App;
use accounts_server::bootstrap::open_app;
use accounts_server::clock::{Clock, SystemClock};
use accounts_server::config::{Config, MailTransportKind};
use accounts_server::crypto::tokens::TokenSubject;
use accounts_server::domain::{
    AuthMethod, Authentication, BirthDate, EmailAddress, Profile, SessionLifetimes, Timestamp,
    UserId,
};
use accounts_server::store::{
    ImportRefusal, ImportSource, ImportedUser, NewSession, NewTicket, PasswordTry, RequestContext,
    SignIn, SignInOutcome, TrySource,
};
use std::time::Duration;
use tempfile::TempDir;

/// Password of every account.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Page cache while a database is created: enough for the indexes of ten million accounts.
const CACHE_MIB: u32 = 8192;

/// A database, and tokens for its first accounts.
pub(crate) struct Population {
    pub(crate) database: PathBuf,
    pub(crate) users: u64,
    pub(crate) people: Vec<SignedIn>,
    pub(crate) staff_token: String,
    // Removed with the population, unless it is kept.
    _dir: Option<TempDir>,
}

/// An account with an access token.
#[derive(Clone)]
pub(crate) struct SignedIn {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) token: String,
    pub(crate) session_id: String,
    pub(crate) refresh: String,
}

impl Population {
    /// Creates a database of `users` accounts, the first `signed_in` of which have a session.
    ///
    /// With `keep`, the database is kept in that folder and reused by later runs.
    pub(crate) fn create(
        users: u64,
        signed_in: usize,
        keep: Option<&Path>,
    ) -> Result<Self, Box<dyn Error>> {
        let (folder, dir) = if let Some(folder) = keep {
            (folder.to_path_buf(), None)
        } else {
            let dir = tempfile::tempdir()?;
            (dir.path().to_path_buf(), Some(dir))
        };
        std::fs::create_dir_all(&folder)?;
        let database = folder.join(format!("people-{users}.db"));
        let is_new = !database.exists();
        let mails = database.with_extension("mail");
        let name = database.display().to_string();
        let app = open_with_cache(&name, &mails, is_new.then_some(CACHE_MIB))?;
        let accounts = if is_new { users } else { 0 };
        let (people, staff_token) = fill(&app, accounts, signed_in)?;
        Ok(Self {
            database,
            users,
            people,
            staff_token,
            _dir: dir,
        })
    }

    /// Fills a new database on PostgreSQL, the URL of which is given.
    pub(crate) fn on_postgres(
        url: &str,
        users: u64,
        signed_in: usize,
        mails: &Path,
    ) -> Result<Self, Box<dyn Error>> {
        let app = open(url, mails)?;
        let (people, staff_token) = fill(&app, users, signed_in)?;
        Ok(Self {
            database: PathBuf::from(url),
            users,
            people,
            staff_token,
            _dir: None,
        })
    }

    /// Size of the database file and its log in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let log = format!("{}-wal", self.database.display());
        let size = |path: &Path| path.metadata().map_or(0, |data| data.len());
        size(&self.database) + size(Path::new(&log))
    }
}

/// Imports accounts, if a number is given, and signs the first ones in; the very first is staff.
fn fill(
    app: &App,
    users: u64,
    signed_in: usize,
) -> Result<(Vec<SignedIn>, String), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let hash = app.passwords.hash(PASSWORD.into(), [7; 16]).await?;
        if users > 0 {
            let source = People {
                next: 1,
                last: users,
                password_hash: hash,
            };
            app.store
                .import_users(
                    Box::new(source),
                    Box::new(|_, _| None),
                    1,
                    RequestContext::default(),
                    SystemClock.now(),
                )
                .await?;
        }
        let mut people = sign_in(app, 1..=UserId::try_from(signed_in)?).await?;
        let staff_token = people
            .first()
            .map(|first| first.token.clone())
            .unwrap_or_default();
        people.remove(0);
        Ok((people, staff_token))
    })
}

/// Opens the application on a file, without a server.
pub(crate) fn open_file(database: &Path) -> Result<Arc<App>, Box<dyn Error>> {
    open(
        &database.display().to_string(),
        &database.with_extension("mail"),
    )
}

/// Opens the application on a database, without a server; mails go into a folder.
pub(crate) fn open(database: &str, mails: &Path) -> Result<Arc<App>, Box<dyn Error>> {
    open_with_cache(database, mails, None)
}

fn open_with_cache(
    database: &str,
    mails: &Path,
    cache_mib: Option<u32>,
) -> Result<Arc<App>, Box<dyn Error>> {
    let mut config = Config::defaults(false);
    database.clone_into(&mut config.database.path);
    config.mail.transport = Some(MailTransportKind::File);
    config.mail.dir = mails.display().to_string();
    config.rate_limits.enabled = false;
    config.database.cache_mib = cache_mib.unwrap_or(config.database.cache_mib);
    // Tokens are valid longer than any run.
    config.tokens.access_minutes = 24 * 60;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let app = runtime.block_on(open_app(config, Arc::new(SystemClock), 8000))?;
    Ok(Arc::new(app))
}

async fn sign_in(
    app: &App,
    ids: impl Iterator<Item = UserId>,
) -> Result<Vec<SignedIn>, Box<dyn Error>> {
    let now = SystemClock.now();
    let expires_at = now.plus(app.keys.refresh_life());
    let mut people = Vec::new();
    // Concurrent, so that they share commits.
    let ids: Vec<UserId> = ids.collect();
    for some in ids.chunks(500) {
        let sessions = some.iter().map(|id| async move {
            let session_id = format!(
                "{:032x}",
                mix(u64::try_from(*id).unwrap_or(0), now.unix_millis())
            );
            let person = app
                .store
                .list_users_after(id - 1, 1)
                .await?
                .pop()
                .ok_or("an account is missing")?;
            let session = NewSession {
                id: session_id.clone(),
                refresh_id: format!("r{session_id}"),
                now,
                authentication: Authentication::by(AuthMethod::Password, now),
                expires_at,
                lifetimes: SessionLifetimes::default(),
                access_lifetime: Duration::from_mins(5),
                ip: "127.0.0.1".into(),
                network: "127.0.0.1".into(),
                user_agent: "load".into(),
                secret_hash: None,
            };
            let sign_in = SignIn {
                user_id: *id,
                password_hash: person.password_hash,
                tried: PasswordTry {
                    account: Vec::new(),
                    user_id: None,
                    source: TrySource::Network("127.0.0.1".into()),
                    now,
                    limits: None,
                    context: RequestContext::default(),
                },
                notice: None,
                session,
                factor: None,
                ticket: NewTicket {
                    method: AuthMethod::Password,
                    token_hash: Vec::new(),
                    expires_at,
                },
            };
            let SignInOutcome::Started { user, .. } = app.store.create_session(sign_in).await?
            else {
                return Err("an account could not be signed in".into());
            };
            let subject = TokenSubject {
                user: &user,
                session_id: &session_id,
                authentication: &Authentication::by(AuthMethod::Password, now),
                session_end: None,
            };
            let refresh_id = format!("r{session_id}");
            let pair = app.keys.tokens().issue(subject, "a", &refresh_id, now)?;
            Ok::<_, Box<dyn Error>>(SignedIn {
                id: *id,
                email: user.email,
                token: pair.access,
                refresh: pair.refresh,
                session_id,
            })
        });
        for person in futures_util::future::join_all(sessions).await {
            people.push(person?);
        }
    }
    Ok(people)
}

fn mix(number: u64, salt: i64) -> u128 {
    let mut dice = Dice(Dice(salt.unsigned_abs()).roll().wrapping_add(number));
    (u128::from(dice.roll()) << 64) | u128::from(dice.roll())
}

/// A reproducible pseudo-random generator (`SplitMix64`).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let index = self.below(from.len() as u64);
        from[usize::try_from(index).unwrap_or(0)]
    }
}

const ONSETS: &[&str] = &[
    "b", "br", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v", "w",
];
const VOWELS: &[&str] = &["a", "e", "i", "o", "u", "ei"];
const ENDS: &[&str] = &["n", "r", "ll", "ck", "s", "t", "m", "nd"];

/// A name of one or two syllables.
fn name(dice: &mut Dice, syllables: u64) -> String {
    let mut name = String::new();
    for _ in 0..syllables {
        name.push_str(dice.pick(ONSETS));
        name.push_str(dice.pick(VOWELS));
    }
    name.push_str(dice.pick(ENDS));
    name[..1].make_ascii_uppercase();
    name
}

struct People {
    next: u64,
    last: u64,
    password_hash: String,
}

/// The account with a number.
pub(crate) fn person(number: u64, password_hash: &str) -> Option<ImportedUser> {
    const YEAR: u64 = 365 * 86_400_000;
    // 2024-01-01T00:00:00Z
    const START: u64 = 1_704_067_200_000;
    let mut dice = Dice(number);
    // Accounts with a session are verified and active.
    let is_ordinary = number <= 20_000;
    let first_name = name(&mut dice, 1);
    let last_name = name(&mut dice, 2);
    let created = START + dice.below(YEAR);
    let at = |millis: u64| Timestamp::from_unix_millis(i64::try_from(millis).unwrap_or(0));
    let email = format!(
        "{}.{}{number}@example.com",
        first_name.to_lowercase(),
        last_name.to_lowercase()
    );
    Some(ImportedUser {
        id: None,
        email: EmailAddress::parse(&email).ok()?,
        password_hash: password_hash.to_owned(),
        profile: Profile {
            first_name,
            last_name,
            phone: format!("+49{}", 1_500_000_000 + dice.below(90_000_000)),
            address: format!("{} Street {}", name(&mut dice, 2), dice.below(200)),
            gender: dice.pick(&["M", "F", "O"]).to_owned(),
            country: dice.pick(&["DE", "US", "FR", "IN"]).to_owned(),
            birthday: BirthDate::parse(&format!(
                "{}-{:02}-{:02}",
                1950 + dice.below(55),
                1 + dice.below(12),
                1 + dice.below(28)
            ))
            .ok(),
        },
        is_active: is_ordinary || dice.below(50) > 0,
        is_staff: number == 1,
        verified_at: (is_ordinary || dice.below(30) > 0).then(|| at(created + 60_000)),
        last_login_at: (dice.below(10) < 7).then(|| at(created + dice.below(YEAR))),
        created_at: at(created),
        updated_at: at(created + dice.below(YEAR)),
        language: String::new(),
        external_id: None,
        totp: None,
        passkeys: None,
        identities: Vec::new(),
    })
}

impl ImportSource for People {
    fn next_user(&mut self) -> Option<ImportedUser> {
        let number = self.next;
        self.next += 1;
        (number <= self.last)
            .then(|| person(number, &self.password_hash))
            .flatten()
    }

    fn imported(&mut self, outcome: Result<UserId, ImportRefusal>) {
        assert!(
            outcome.is_ok(),
            "a generated account was refused: {outcome:?}"
        );
    }

    fn notifies_webhooks(&self) -> bool {
        true
    }

    fn keep(&mut self) -> bool {
        true
    }
}
