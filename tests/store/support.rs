//! What the tests of the store share: stores on every engine, and requests to change where a test
//! wants something else.

use std::sync::atomic::{AtomicU64, Ordering};

use accounts_server::store::postgres::{PostgresOptions, PostgresStore, PostgresUrl};
use accounts_server::store::sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

pub(crate) use std::sync::Arc;
pub(crate) use std::time::Duration;

pub(crate) use accounts_server::domain::*;
pub(crate) use accounts_server::store::*;
pub(crate) use futures_util::future::join_all;

use crate::test_schema::TestSchema;

/// Runs tests, each a function of a store, on every engine: on a SQLite file, in memory and, where
/// `ACCOUNTS_TEST_POSTGRES` names a database, on PostgreSQL.
macro_rules! on_every_engine {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            use crate::support;

            #[tokio::test]
            async fn on_a_file() {
                let (_dir, store) = support::on_a_file();
                super::$test(&*store).await;
            }

            #[tokio::test]
            async fn in_memory() {
                super::$test(&*support::in_memory()).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                if let Some((_schema, store)) = support::on_postgres().await {
                    super::$test(&*store).await;
                }
            }
        }
    )+ };
}
pub(crate) use on_every_engine;

pub(crate) const LIMITLESS: MailLimits = MailLimits {
    pause: Duration::ZERO,
    per_hour: 0,
};
pub(crate) const STRICT: MailLimits = MailLimits {
    pause: Duration::from_mins(1),
    per_hour: 10,
};
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// A session as a token names it, before its first use.
pub(crate) fn named(id: &str, user_id: UserId) -> SessionRef {
    SessionRef::new(id.to_owned(), user_id)
}

/// A time, in seconds since the start of the test.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_733_227_200_000 + seconds * 1000)
}

pub(crate) fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

pub(crate) fn network() -> ClientNetwork {
    std::net::IpAddr::from([203, 0, 113, 7]).into()
}

/// A code that expires after ten minutes; only its hash matters here.
pub(crate) fn otp(email: &str, code: &str, now: Timestamp) -> NewOtp {
    let expires_at = now.plus(Duration::from_mins(10));
    NewOtp {
        code_hash: code.as_bytes().to_vec(),
        address_hash: email.to_lowercase().into_bytes(),
        mailbox_hash: email.to_lowercase().into_bytes(),
        token_hash: None,
        requester: None,
        expires_at,
        mail: mail(code, expires_at),
        replaces_equal: false,
    }
}

/// A mail with this content and a unique name.
pub(crate) fn mail(content: &str, expires_at: Timestamp) -> NewMail {
    static MAILS: AtomicU64 = AtomicU64::new(0);
    let number = MAILS.fetch_add(1, Ordering::Relaxed);
    NewMail {
        message_id: u128::from(number).to_be_bytes(),
        kind: "sign_up",
        content: content.as_bytes().to_vec(),
        expires_at,
    }
}

pub(crate) fn sign_up(email: &str, password_hash: &str, code: &str, now: Timestamp) -> NewSignUp {
    NewSignUp {
        email: address(email),
        password_hash: password_hash.into(),
        profile: Profile {
            first_name: password_hash.into(),
            ..Profile::default()
        },
        language: "de".into(),
        otp: otp(email, code, now),
        expires_at: now.plus(Duration::from_hours(7 * 24)),
        network: "203.0.113.7".into(),
        now,
        limits: LIMITLESS,
        context: RequestContext::default(),
    }
}

/// A confirmation by a sign-up code, without a password.
pub(crate) fn confirmation(attempt: OtpAttempt, session: NewSession) -> ConfirmSignUp {
    let reset = otp(&attempt.email_key, "reset", attempt.now);
    ConfirmSignUp {
        attempt,
        session,
        identity: None,
        proven_hash: None,
        reset,
    }
}

pub(crate) fn session(id: &str, now: Timestamp) -> NewSession {
    NewSession {
        id: id.into(),
        refresh_id: format!("{id}-0"),
        now,
        authentication: Authentication::by(AuthMethod::Password, now),
        expires_at: now.plus(Duration::from_hours(24)),
        lifetimes: SessionLifetimes::default(),
        access_lifetime: Duration::from_mins(5),
        ip: "203.0.113.7".into(),
        network: "203.0.113.7".into(),
        user_agent: "browser".into(),
        secret_hash: None,
    }
}

/// A password attempt from a network, under the usual limits.
pub(crate) fn try_from(
    network: &str,
    account: &str,
    user_id: Option<UserId>,
    now: Timestamp,
) -> PasswordTry {
    PasswordTry {
        account: account.as_bytes().to_vec(),
        user_id,
        source: TrySource::Network(network.into()),
        now,
        limits: Some(PasswordTryLimits {
            free: 5,
            first_pause: Duration::from_secs(1),
            max_pause: Duration::from_mins(15),
            max_pause_if_known: Duration::from_mins(1),
            an_hour: 100,
        }),
        context: RequestContext::default(),
    }
}

pub(crate) fn sign_in(
    user_id: UserId,
    password_hash: &str,
    session_id: &str,
    now: Timestamp,
) -> SignIn {
    SignIn {
        user_id,
        password_hash: password_hash.into(),
        tried: try_from("203.0.113.7", "account", Some(user_id), now),
        session: session(session_id, now),
        notice: None,
        factor: None,
        ticket: NewTicket {
            method: AuthMethod::Password,
            token_hash: vec![1; 32],
            expires_at: Timestamp::from_unix_millis(i64::MAX / 2),
        },
    }
}

#[track_caller]
pub(crate) fn started(outcome: SignInOutcome) -> User {
    match outcome {
        SignInOutcome::Started { user, .. } => *user,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn begin(store: &dyn Store, sign_in: SignIn) -> User {
    started(store.create_session(sign_in).await.unwrap())
}

pub(crate) fn attempt(email: &str, code: &str, now: Timestamp) -> OtpAttempt {
    attempt_from("203.0.113.7", email, code, now)
}

pub(crate) fn attempt_from(network: &str, email: &str, code: &str, now: Timestamp) -> OtpAttempt {
    OtpAttempt {
        email_key: email.into(),
        address_hash: email.as_bytes().to_vec(),
        code_hash: Some(code.as_bytes().to_vec()),
        token_hash: None,
        network: network.into(),
        now,
        limits: TryLimits::DEFAULT,
        context: RequestContext::default(),
    }
}

pub(crate) fn rotation(session: &str, from: &str, to: &str, now: Timestamp) -> RotateRefreshToken {
    RotateRefreshToken {
        session_id: session.into(),
        refresh_id: from.into(),
        new_refresh_id: to.into(),
        new_expires_at: now.plus(Duration::from_hours(24)),
        now,
        grace: GRACE,
        lifetimes: SessionLifetimes::default(),
        ip: "203.0.113.8".into(),
        user_agent: "browser".into(),
    }
}

pub(crate) fn update(
    user_id: UserId,
    changes: UserChanges,
    code: &str,
    now: Timestamp,
) -> UserUpdate {
    let email_change = changes.email.as_ref().map(|email| EmailChange {
        notices: Vec::new(),
        change_otp: otp(email.key(), code, now),
        sign_up_otp: otp(email.key(), code, now),
        undo: NewEmailUndo {
            token_hash: format!("undo {user_id} {code}").into_bytes(),
            expires_at: now.plus(Duration::from_hours(168)),
            mail: mail("undo", now.plus(Duration::from_hours(168))),
        },
        limits: LIMITLESS,
    });
    UserUpdate {
        user_id,
        changes,
        email_change,
        promotion_notice: None,
        keep_last_staff: false,
        now,
        context: RequestContext::default(),
    }
}

pub(crate) fn renamed(first_name: &str) -> UserChanges {
    UserChanges {
        first_name: Some(first_name.into()),
        ..UserChanges::default()
    }
}

pub(crate) fn moved(email: &str) -> UserChanges {
    UserChanges {
        email: Some(address(email)),
        ..UserChanges::default()
    }
}

#[track_caller]
pub(crate) fn created(outcome: SignUpOutcome) -> UserId {
    match outcome {
        SignUpOutcome::Created(id) => id,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn updated(outcome: UpdateOutcome) -> (User, Option<OtpPurpose>) {
    match outcome {
        UpdateOutcome::Updated { user, mail, .. } => (*user, mail),
        other => panic!("{other:?}"),
    }
}

/// Signs an account up and confirms it; its session has the name of the account.
pub(crate) async fn verified(store: &dyn Store, email: &str, now: Timestamp) -> UserId {
    let id = created(
        store
            .create_sign_up(sign_up(email, "hash", "code", now))
            .await
            .unwrap(),
    );
    let user = store
        .confirm_sign_up(confirmation(
            attempt(email, "code", now),
            session(email, now),
        ))
        .await
        .unwrap();
    assert_eq!(user.map(|confirmed| confirmed.user.id), Some(id), "{email}");
    id
}

/// A SQLite store on its own file, which is deleted when the folder is dropped.
pub(crate) fn on_a_file() -> (TempDir, SharedStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, Duration::from_secs(5));
    (dir, store)
}

/// Another store on the same file, as another process has it.
pub(crate) fn open(dir: &TempDir, busy_timeout: Duration) -> SharedStore {
    SqliteStore::open(&sqlite(path(dir), busy_timeout))
        .unwrap()
        .into()
}

/// The path of the file in its folder.
pub(crate) fn path(dir: &TempDir) -> String {
    dir.path().join("users.db").to_str().unwrap().to_owned()
}

pub(crate) fn in_memory() -> SharedStore {
    SqliteStore::open(&sqlite(":memory:".into(), Duration::from_secs(5)))
        .unwrap()
        .into()
}

/// Options of a SQLite store at a path.
pub(crate) fn sqlite(path: String, busy_timeout: Duration) -> SqliteOptions {
    SqliteOptions {
        durable: true,
        path,
        busy_timeout,
        read_connections: 2,
        writes_per_commit: 128,
        cache_mib: 2,
    }
}

/// An empty PostgreSQL store, where `ACCOUNTS_TEST_POSTGRES` names a database.
pub(crate) async fn on_postgres() -> Option<(TestSchema, SharedStore)> {
    let schema = TestSchema::reused()?;
    let store = open_postgres(&schema).await.into();
    Some((schema, store))
}

/// Another store in the same schema, as another server has it.
pub(crate) async fn open_postgres(schema: &TestSchema) -> PostgresStore {
    static SERVERS: AtomicU64 = AtomicU64::new(0);
    let number = SERVERS.fetch_add(1, Ordering::Relaxed);
    let options = PostgresOptions {
        url: PostgresUrl::parse(&schema.url(), None).unwrap(),
        tls: None,
        connections: 4,
        server_id: u128::from(number).to_be_bytes(),
    };
    let opened = tokio::task::spawn_blocking(|| PostgresStore::open(options));
    opened.await.unwrap().unwrap()
}

/// A verified account with the password hash `hash` and no session.
pub(crate) async fn account(store: &dyn Store, email: &str) -> UserId {
    create(store, email, false).await
}

/// A verified staff account without a session.
pub(crate) async fn staff(store: &dyn Store, email: &str) -> UserId {
    create(store, email, true).await
}

async fn create(store: &dyn Store, email: &str, is_staff: bool) -> UserId {
    let user = NewUser {
        is_staff,
        ..new_user(email)
    };
    store.create_verified_user(user).await.unwrap().unwrap()
}

/// An account as an administrator creates it.
pub(crate) fn new_user(email: &str) -> NewUser {
    NewUser {
        email: address(email),
        password_hash: "hash".into(),
        profile: Profile::default(),
        is_staff: false,
        now: at(0),
        context: RequestContext::default(),
    }
}

pub(crate) async fn user(store: &dyn Store, id: UserId) -> User {
    store.find_user(id).await.unwrap().unwrap()
}

/// Signs in by password; the session is that of an app with tokens.
pub(crate) async fn session_of(store: &dyn Store, id: UserId, session_id: &str) {
    begin(store, sign_in(id, "hash", session_id, at(0))).await;
}

/// Signs in by password on the pages; the hash of the cookie is the id of the session.
pub(crate) async fn browse(store: &dyn Store, id: UserId, session_id: &str) {
    let mut sign_in = sign_in(id, "hash", session_id, at(0));
    sign_in.session.secret_hash = Some(session_id.as_bytes().to_vec());
    begin(store, sign_in).await;
}

pub(crate) async fn is_signed_in(store: &dyn Store, id: UserId, session_id: &str) -> bool {
    let session = named(session_id, id);
    store.find_session_user(&session).await.unwrap().is_some()
}

pub(crate) async fn end_session(store: &dyn Store, session_id: &str) {
    let ended = store.delete_session(session_id, RequestContext::default(), at(1));
    assert!(ended.await.unwrap(), "{session_id}");
}

/// A request of an account in a session.
pub(crate) fn by(actor: UserId, session_id: &str) -> RequestContext {
    RequestContext {
        actor_id: Some(actor),
        session_id: Some(session_id.into()),
        ..RequestContext::default()
    }
}

/// Contexts that may not change what is the staff's, with the reason: an account that is not staff, and
/// a session that has ended.
pub(crate) async fn outsiders(store: &dyn Store) -> [(RequestContext, &'static str); 2] {
    let id = account(store, "outsider@example.com").await;
    session_of(store, id, "outsider").await;
    [
        (by(id, "outsider"), "Forbidden"),
        (by(id, "ended"), "SessionEnded"),
    ]
}

/// Asserts that a request was refused for a reason.
#[track_caller]
pub(crate) fn assert_refused<T>(result: StoreResult<T>, reason: &str) {
    match (result, reason) {
        (Err(StoreError::Forbidden), "Forbidden")
        | (Err(StoreError::SessionEnded), "SessionEnded") => {}
        (Err(error), _) => panic!("{error:?} instead of {reason}"),
        (Ok(_), _) => panic!("done instead of {reason}"),
    }
}

/// Updates an account. Returns it, and the purpose of the code that was mailed.
pub(crate) async fn apply_update(
    store: &dyn Store,
    update: UserUpdate,
) -> (User, Option<OtpPurpose>) {
    updated(store.update_user(update).await.unwrap())
}

pub(crate) async fn set_active(store: &dyn Store, id: UserId, is_active: bool) {
    let changes = UserChanges {
        is_active: Some(is_active),
        ..UserChanges::default()
    };
    apply_update(store, update(id, changes, "", at(1))).await;
}

/// Deletes an account.
pub(crate) fn deletion(user_id: UserId) -> DeleteUser {
    DeleteUser {
        user_id,
        address_hash: Vec::new(),
        keep_last_staff: false,
        needs_staff: false,
        notices: Vec::new(),
        now: at(0),
        context: RequestContext::default(),
    }
}

/// What happened to an account: kinds and details, oldest first.
pub(crate) async fn events(store: &dyn Store, id: UserId) -> Vec<(EventKind, String)> {
    let query = EventQuery {
        filter: EventFilter {
            user_id: Some(id),
            ..EventFilter::default()
        },
        limit: 1000,
        ..EventQuery::default()
    };
    let events = store.list_events(query).await.unwrap();
    let events = events.into_iter();
    events.map(|event| (event.kind, event.detail)).collect()
}

/// How often something happened to an account.
pub(crate) async fn count_events(store: &dyn Store, id: UserId, kind: EventKind) -> usize {
    let events = events(store, id).await;
    events.iter().filter(|(found, _)| *found == kind).count()
}

/// The mails that wait, in the order of arrival: recipient and content.
pub(crate) async fn mails(store: &dyn Store) -> Vec<(String, String)> {
    let mails = store.list_mails().await.unwrap().into_iter();
    let text = |content| String::from_utf8(content).unwrap();
    mails.map(|mail| (mail.email, text(mail.content))).collect()
}

/// What mails contain whose recipients do not matter.
pub(crate) async fn mail_contents(store: &dyn Store) -> Vec<String> {
    let mails = mails(store).await.into_iter();
    mails.map(|(_, content)| content).collect()
}

/// Deletes the mails that wait.
pub(crate) async fn empty_queue(store: &dyn Store) {
    for mail in store.list_mails().await.unwrap() {
        store.delete_mail(mail.id).await.unwrap();
    }
}

/// A notice that is valid for a day.
pub(crate) fn notice(content: &str) -> NewMail {
    mail(content, at(86_400))
}

/// An undo link, by the text of its token, which is the content of its mail too.
pub(crate) fn undo(token: &str, now: Timestamp) -> NewEmailUndo {
    let expires_at = now.plus(UNDO_LIFETIME);
    NewEmailUndo {
        token_hash: token.as_bytes().to_vec(),
        expires_at,
        mail: mail(token, expires_at),
    }
}

/// How long a claim of mails or events lasts.
pub(crate) const LEASE: Duration = Duration::from_mins(5);

pub(crate) fn claim_of(now: Timestamp, limit: u32, retries: u32) -> MailClaim {
    MailClaim {
        now,
        until: now.plus(LEASE),
        limit,
        retries,
    }
}

pub(crate) async fn claim(
    store: &dyn Store,
    now: Timestamp,
    limit: u32,
    retries: u32,
) -> ClaimedMails {
    store
        .claim_mails(claim_of(now, limit, retries))
        .await
        .unwrap()
}

/// The mails of a claim: content, recipient, language and number of attempts.
pub(crate) fn contents(claimed: &ClaimedMails) -> Vec<(&str, &str, &str, u32)> {
    claimed
        .mails
        .iter()
        .map(|mail| {
            let content = std::str::from_utf8(&mail.content).unwrap();
            (
                content,
                mail.email.as_str(),
                mail.language.as_str(),
                mail.tries,
            )
        })
        .collect()
}

/// A secret that is stored unencrypted.
pub(crate) async fn secret(store: &dyn Store, name: &str, value: Vec<u8>) -> Vec<u8> {
    let fresh = StoredSecret {
        value,
        is_sealed: false,
    };
    let secret = store.find_or_create_secret(name, fresh).await.unwrap();
    assert!(!secret.is_sealed);
    secret.value
}

/// What goes with a new factor of an account that acts in a session.
pub(crate) fn enrolment(user_id: UserId, session_id: &str) -> FactorEnrolment {
    FactorEnrolment {
        session: named(session_id, user_id),
        recovery_codes: vec![
            format!("{user_id} one").into_bytes(),
            format!("{user_id} two").into_bytes(),
        ],
        notices: vec![notice("factor notice")],
        undo: undo(&format!("undo of {session_id}"), at(10)),
        context: by(user_id, session_id),
        now: at(10),
    }
}

/// Enrolls an authenticator app by a session; the first code is that of step 100.
pub(crate) async fn activate(store: &dyn Store, user_id: UserId, session_id: &str) {
    let activation = ActivateTotp {
        device: TotpDevice {
            id: format!("device of {user_id}"),
            secret: b"secret".to_vec(),
            created_at: at(10),
            last_used_at: None,
        },
        step: 100,
        enrolment: enrolment(user_id, session_id),
    };
    let outcome = store.activate_totp(activation).await.unwrap();
    assert!(matches!(outcome, ActivateOutcome::Activated { .. }));
}

/// A code of the app of an account.
pub(crate) fn totp(user_id: UserId, step: i64) -> FactorProof {
    FactorProof::Totp {
        device_id: format!("device of {user_id}"),
        step,
    }
}

/// A try at a factor from the network where the account has signed in.
pub(crate) fn factor_try(proof: FactorProof, now: Timestamp) -> FactorTry {
    FactorTry {
        proof,
        network: "203.0.113.7".into(),
        context: RequestContext::default(),
        now,
        limits: FactorLimits::DEFAULT,
    }
}

/// A passkey; its id is that of its authenticator too.
pub(crate) fn passkey(id: &str) -> StoredPasskey {
    StoredPasskey {
        passkey: Passkey {
            id: id.into(),
            name: format!("name of {id}"),
            credential_id: id.as_bytes().to_vec(),
            rp_id: "example.com".into(),
            transports: vec!["usb".into(), "nfc".into()],
            is_backed_up: false,
            created_at: at(10),
            last_used_at: None,
        },
        public_key: format!("key of {id}").into_bytes(),
        sign_count: 5,
        aaguid: [7; 16],
        is_backup_eligible: true,
    }
}

/// Gives an account a handle and adds a passkey by a session.
pub(crate) async fn add_passkey(
    store: &dyn Store,
    user_id: UserId,
    session_id: &str,
    id: &str,
) -> AddPasskeyOutcome {
    store
        .start_passkey(start_passkey(user_id, id))
        .await
        .unwrap();
    let mut enrolment = enrolment(user_id, session_id);
    enrolment.undo = undo(&format!("undo of {id}"), at(10));
    let addition = AddPasskey {
        passkey: passkey(id),
        max: 3,
        enrolment,
    };
    store.add_passkey(addition).await.unwrap()
}

/// The begin of a registration; the challenge is named after the passkey.
pub(crate) fn start_passkey(user_id: UserId, id: &str) -> StartPasskey {
    StartPasskey {
        user_id,
        new_handle: format!("handle of {user_id} for {id}").into_bytes(),
        challenge: challenge(id, ChallengePurpose::Registration),
        context: RequestContext::default(),
        now: at(10),
    }
}

/// A challenge that expires after five minutes.
pub(crate) fn challenge(text: &str, purpose: ChallengePurpose) -> NewChallenge {
    NewChallenge {
        challenge_hash: text.as_bytes().to_vec(),
        subject: ChallengeSubject {
            purpose,
            subject: b"subject".to_vec(),
        },
        expires_at: at(300),
    }
}

/// The use of a passkey with a signature counter.
pub(crate) fn passkey_use(id: &str, sign_count: u32) -> PasskeyUse {
    PasskeyUse {
        id: id.into(),
        sign_count,
        is_backed_up: true,
    }
}

/// What a provider says of a person with the address `<subject>@example.com`.
pub(crate) fn proven(subject: &str) -> ProvenIdentity {
    ProvenIdentity {
        provider: "google".into(),
        issuer: "https://issuer.example".into(),
        subject: subject.into(),
        email: format!("{subject}@example.com"),
        name: format!("name of {subject}"),
    }
}

/// The connection of an identity to an account, named after its subject.
pub(crate) fn connection(user_id: UserId, subject: &str) -> ConnectIdentity {
    ConnectIdentity {
        user_id,
        proven: proven(subject),
        new_id: format!("identity {subject}"),
        ticket_hash: None,
        max: 3,
        mails: connection_mails(subject),
        context: RequestContext::default(),
        now: at(10),
    }
}

pub(crate) fn connection_mails(subject: &str) -> ConnectionMails {
    ConnectionMails {
        notices: vec![notice("connection notice")],
        undo: undo(&format!("undo of {subject}"), at(10)),
    }
}

/// What signs in to the site: the passkeys of example.com and the provider of [`proven`].
pub(crate) fn ways() -> SiteWays {
    SiteWays {
        rp_id: "example.com".into(),
        providers: vec!["google".into()],
    }
}

/// The settings of a client that may ask for everything.
pub(crate) fn client_settings() -> ClientSettings {
    let uri = RedirectUri::parse("https://app.example/cb").unwrap();
    ClientSettings {
        scopes: Scopes::parse_known("openid email offline_access"),
        ..ClientSettings::new("App".into(), vec![uri])
    }
}

pub(crate) fn new_client(id: &str, settings: ClientSettings) -> NewOAuthClient {
    NewOAuthClient {
        id: id.into(),
        secret_hash: None,
        settings,
        is_from_file: false,
        now: at(0),
        context: RequestContext::default(),
    }
}

/// Changes what is registered about a client.
pub(crate) async fn set_client(store: &dyn Store, id: &str, settings: ClientSettings) {
    let update = OAuthClientUpdate {
        id: id.into(),
        settings,
        is_from_file: false,
        now: at(5),
        context: RequestContext::default(),
    };
    let outcome = store.update_oauth_client(update).await.unwrap();
    assert!(
        matches!(outcome, OAuthClientOutcome::Done(_)),
        "{outcome:?}"
    );
}

pub(crate) async fn remove_client(store: &dyn Store, id: &str) {
    let removal = DeleteOAuthClient {
        id: id.into(),
        is_from_file: false,
        now: at(5),
        context: RequestContext::default(),
    };
    let outcome = store.delete_oauth_client(removal).await.unwrap();
    assert!(
        matches!(outcome, OAuthClientOutcome::Done(_)),
        "{outcome:?}"
    );
}

/// An account that is signed in by the browser session `browser`, and two clients: `app` asks for
/// consent, `own` does not.
pub(crate) async fn with_clients(store: &dyn Store) -> UserId {
    let id = account(store, "ann@example.com").await;
    browse(store, id, "browser").await;
    for (client, requires_consent) in [("app", true), ("own", false)] {
        let settings = ClientSettings {
            name: client.into(),
            requires_consent,
            ..client_settings()
        };
        let outcome = store
            .create_oauth_client(new_client(client, settings))
            .await;
        assert!(matches!(outcome, Ok(OAuthClientOutcome::Done(_))));
    }
    id
}

/// A code of this text for the client `app`, with consent.
pub(crate) fn code(id: UserId, text: &str, scopes: &str) -> IssueCode {
    IssueCode {
        request_hash: None,
        code_hash: text.as_bytes().to_vec(),
        client_id: "app".into(),
        session: named("browser", id),
        client_session_id: format!("session of {text}"),
        redirect_uri: "https://app.example/cb".into(),
        code_challenge: "challenge".into(),
        nonce: Some("nonce".into()),
        scopes: Scopes::parse_known(scopes),
        consent: Consent::Given,
        needs_factor: false,
        now: at(10),
        expires_at: at(70),
        context: RequestContext::default(),
    }
}

pub(crate) async fn issue(store: &dyn Store, code: IssueCode) -> IssueOutcome {
    store.issue_code(code).await.unwrap()
}

/// The redemption of a code by the client `app`.
pub(crate) fn redemption(text: &str) -> RedeemCode {
    RedeemCode {
        code_hash: text.as_bytes().to_vec(),
        client_id: "app".into(),
        redirect_uri: "https://app.example/cb".into(),
        code_challenge: "challenge".into(),
        refresh_id: format!("refresh of {text}"),
        refresh_lifetime: DAY * 30,
        session_lifetime: DAY * 365,
        lifetimes: lifetimes(),
        now: at(20),
        context: RequestContext::default(),
    }
}

pub(crate) const DAY: Duration = Duration::from_hours(24);

/// Browser sessions last 30 days, those of staff twelve hours.
pub(crate) fn lifetimes() -> SessionLifetimes {
    SessionLifetimes {
        user: Some(DAY * 30),
        staff: Some(Duration::from_hours(12)),
    }
}

pub(crate) async fn redeem(store: &dyn Store, text: &str) -> RedeemOutcome {
    store.redeem_code(redemption(text)).await.unwrap()
}

#[track_caller]
pub(crate) fn started_for_client(outcome: RedeemOutcome) -> ClientSession {
    match outcome {
        RedeemOutcome::Started { session, .. } => *session,
        other => panic!("{other:?}"),
    }
}

/// A session of the client `app`: its code is issued and redeemed.
pub(crate) async fn client_session(
    store: &dyn Store,
    id: UserId,
    text: &str,
    scopes: &str,
) -> ClientSession {
    assert_eq!(
        issue(store, code(id, text, scopes)).await,
        IssueOutcome::Issued
    );
    started_for_client(redeem(store, text).await)
}

pub(crate) async fn find_client(
    store: &dyn Store,
    session_id: &str,
    now: Timestamp,
) -> Option<ClientSession> {
    store
        .find_client_session(session_id, lifetimes(), now)
        .await
        .unwrap()
}

/// Writes events as text: what happened, what it is about, and how much of it the endpoint gets.
#[derive(Default)]
pub(crate) struct PlainSealer {
    /// How often events were enqueued.
    pub(crate) enqueued: AtomicU64,
}

impl EventSealer for PlainSealer {
    fn seal(&self, event: &WebhookEvent<'_>, payload: WebhookPayload) -> SealedEvent {
        static EVENTS: AtomicU64 = AtomicU64::new(0);
        let number = EVENTS.fetch_add(1, Ordering::Relaxed);
        let subject = match event.subject {
            EventSubject::Account => "account".to_owned(),
            EventSubject::User(user) => user.email.clone(),
            EventSubject::Session(session) => format!("{} {}", session.id, session.amr),
            EventSubject::Identity { provider } => provider.to_owned(),
        };
        let content = format!("{} {subject} {}", event.event.as_str(), payload.as_str());
        SealedEvent {
            message_id: (u128::from(number) | 1 << 64).to_be_bytes(),
            content: content.into_bytes(),
        }
    }

    fn enqueued(&self) {
        self.enqueued.fetch_add(1, Ordering::Relaxed);
    }
}

/// An endpoint that gets events.
pub(crate) fn new_webhook(url: &str, events: &[&str]) -> NewWebhook {
    NewWebhook {
        url: url.into(),
        events: EventSelection::parse(events).unwrap(),
        description: format!("about {url}"),
        payload: WebhookPayload::Full,
        secrets: b"secrets".to_vec(),
        is_from_file: false,
        notices: Vec::new(),
        now: at(0),
        context: RequestContext::default(),
    }
}

/// Adds an endpoint that gets all events.
pub(crate) async fn with_webhook(store: &dyn Store) -> i64 {
    store.set_event_sealer(Arc::new(PlainSealer::default()));
    let webhook = new_webhook("https://hooks.example/", &["*"]);
    store.create_webhook(webhook).await.unwrap().id
}
