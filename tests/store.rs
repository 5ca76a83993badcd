//! Tests of every store through its traits alone, and of what only the SQLite store guarantees.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it should be"
)]

#[path = "store/client_sessions.rs"]
mod client_sessions;
#[path = "store/list.rs"]
mod list;
#[path = "store/races.rs"]
mod races;
#[path = "store/same.rs"]
mod same;
#[path = "support/test_schema.rs"]
mod test_schema;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use accounts_server::domain::{
    AuthMethod, Authentication, ClientNetwork, EmailAddress, MailState, OtpPurpose, Profile,
    SessionLifetimes, SessionRef, StoredKey, StoredSecret, Timestamp, User, UserChanges, UserId,
};
use accounts_server::store::postgres::{PostgresOptions, PostgresStore, PostgresUrl};
use accounts_server::store::sqlite::{SqliteOptions, SqliteStore, add_functions};
use accounts_server::store::{
    AccountOtp, ClaimedMails, ConfirmSignUp, DeleteUser, EmailChange, FirstStaff,
    FirstStaffOutcome, GiveUpMail, MailChange, MailClaim, MailEntry, MailLimits, MailQuery,
    MailQueue, MailSubject, NewEmailUndo, NewMail, NewOtp, NewSession, NewSignUp, NewTicket,
    NewUser, OtpAttempt, OtpCandidates, Page, PageRequest, PasswordTry, PasswordTryLimits,
    PostponeMail, ReissueOtp, ReplacePassword, RequestContext, RetryOutcome, RotateRefreshToken,
    Rotation, SetupState, SharedStore, SignIn, SignInOutcome, SignUpOutcome, Store, StoreError,
    TryLimits, TrySource, UpdateOutcome, UserSnapshot, UserUpdate,
};
use futures_util::future::join_all;
use rusqlite::Connection;
use tempfile::TempDir;
use test_schema::TestSchema;

const LIMITLESS: MailLimits = MailLimits {
    pause: Duration::ZERO,
    per_hour: 0,
};
const STRICT: MailLimits = MailLimits {
    pause: Duration::from_mins(1),
    per_hour: 10,
};
const GRACE: Duration = Duration::from_secs(10);

/// A session as a token names it, before its first use.
fn named(id: &str, user_id: UserId) -> SessionRef {
    SessionRef::new(id.to_owned(), user_id)
}

/// A time, in seconds since the start of the test.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_millis(1_733_227_200_000 + seconds * 1000)
}

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

fn network() -> ClientNetwork {
    std::net::IpAddr::from([203, 0, 113, 7]).into()
}

/// A code that expires after ten minutes; only its hash matters here.
fn otp(email: &str, code: &str, now: Timestamp) -> NewOtp {
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
fn mail(content: &str, expires_at: Timestamp) -> NewMail {
    static MAILS: AtomicU64 = AtomicU64::new(0);
    let number = MAILS.fetch_add(1, Ordering::Relaxed);
    NewMail {
        message_id: u128::from(number).to_be_bytes(),
        kind: "sign_up",
        content: content.as_bytes().to_vec(),
        expires_at,
    }
}

fn sign_up(email: &str, password_hash: &str, code: &str, now: Timestamp) -> NewSignUp {
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
fn confirmation(attempt: OtpAttempt, session: NewSession) -> ConfirmSignUp {
    let reset = otp(&attempt.email_key, "reset", attempt.now);
    ConfirmSignUp {
        attempt,
        session,
        identity: None,
        proven_hash: None,
        reset,
    }
}

fn session(id: &str, now: Timestamp) -> NewSession {
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
        user_agent: "story".into(),
        secret_hash: None,
    }
}

/// A password attempt from a network, under the usual limits.
fn try_from(network: &str, account: &str, user_id: Option<UserId>, now: Timestamp) -> PasswordTry {
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

fn sign_in(user_id: UserId, password_hash: &str, session_id: &str, now: Timestamp) -> SignIn {
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
fn started(outcome: SignInOutcome) -> User {
    match outcome {
        SignInOutcome::Started { user, .. } => *user,
        other => panic!("{other:?}"),
    }
}

async fn begin(store: &dyn Store, sign_in: SignIn) -> User {
    started(store.create_session(sign_in).await.unwrap())
}

fn attempt(email: &str, code: &str, now: Timestamp) -> OtpAttempt {
    attempt_from("203.0.113.7", email, code, now)
}

fn attempt_from(network: &str, email: &str, code: &str, now: Timestamp) -> OtpAttempt {
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

fn rotation(session: &str, from: &str, to: &str, now: Timestamp) -> RotateRefreshToken {
    RotateRefreshToken {
        session_id: session.into(),
        refresh_id: from.into(),
        new_refresh_id: to.into(),
        new_expires_at: now.plus(Duration::from_hours(24)),
        now,
        grace: GRACE,
        lifetimes: SessionLifetimes::default(),
        ip: "203.0.113.8".into(),
        user_agent: "story".into(),
    }
}

fn update(user_id: UserId, changes: UserChanges, code: &str, now: Timestamp) -> UserUpdate {
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

fn renamed(first_name: &str) -> UserChanges {
    UserChanges {
        first_name: Some(first_name.into()),
        ..UserChanges::default()
    }
}

fn moved(email: &str) -> UserChanges {
    UserChanges {
        email: Some(address(email)),
        ..UserChanges::default()
    }
}

#[track_caller]
fn created(outcome: SignUpOutcome) -> UserId {
    match outcome {
        SignUpOutcome::Created(id) => id,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn updated(outcome: UpdateOutcome) -> (User, Option<OtpPurpose>) {
    match outcome {
        UpdateOutcome::Updated { user, mail, .. } => (*user, mail),
        other => panic!("{other:?}"),
    }
}

/// Signs an account up and confirms it; its session has the name of the account.
async fn verified(store: &dyn Store, email: &str, now: Timestamp) -> UserId {
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
fn on_file() -> (TempDir, SharedStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir, Duration::from_secs(5));
    (dir, store)
}

fn open(dir: &TempDir, busy_timeout: Duration) -> SharedStore {
    let options = SqliteOptions {
        durable: true,
        path: path(dir),
        busy_timeout,
        read_connections: 2,
        writes_per_commit: 128,
        cache_mib: 2,
    };
    SqliteStore::open(&options).unwrap().into()
}

fn path(dir: &TempDir) -> String {
    dir.path().join("users.db").to_str().unwrap().to_owned()
}

fn in_memory() -> SharedStore {
    let options = SqliteOptions {
        durable: true,
        path: ":memory:".into(),
        busy_timeout: Duration::from_secs(5),
        read_connections: 2,
        writes_per_commit: 128,
        cache_mib: 2,
    };
    SqliteStore::open(&options).unwrap().into()
}

/// A PostgreSQL store in its own schema, where `ACCOUNTS_TEST_POSTGRES` names a database.
async fn on_postgres() -> Option<(TestSchema, SharedStore)> {
    let schema = TestSchema::new()?;
    let store = open_postgres(&schema).await;
    Some((schema, store))
}

/// Another store in the same schema, as another server has it.
async fn open_postgres(schema: &TestSchema) -> SharedStore {
    static SERVERS: AtomicU64 = AtomicU64::new(0);
    let number = SERVERS.fetch_add(1, Ordering::Relaxed);
    let options = PostgresOptions {
        url: PostgresUrl::parse(&schema.url(), None).unwrap(),
        tls: None,
        connections: 4,
        server_id: u128::from(number).to_be_bytes(),
    };
    let opened = tokio::task::spawn_blocking(|| PostgresStore::open(options));
    opened.await.unwrap().unwrap().into()
}

fn count(connection: &Connection, query: &str) -> i64 {
    connection.query_row(query, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn the_story_on_a_file() {
    let (_dir, store) = on_file();
    story(&*store).await;
}

#[tokio::test]
async fn the_story_on_postgres() {
    if let Some((_schema, store)) = on_postgres().await {
        story(&*store).await;
    }
}

#[tokio::test]
async fn the_story_in_memory() {
    story(&*in_memory()).await;
}

/// The link that makes the first staff account, on a store without any.
async fn first_staff(store: &dyn Store) {
    let state = |has_accounts, has_staff| SetupState {
        has_accounts,
        has_staff,
    };
    assert_eq!(store.find_setup_state().await.unwrap(), state(false, false));
    for (token, expires_at) in [(b"former", at(100)), (b"latest", at(200))] {
        assert!(store.replace_setup_link(token, expires_at).await.unwrap());
    }
    for (token, now, is_valid) in [
        (b"former", at(1), false),
        (b"latest", at(1), true),
        (b"latest", at(200), false),
    ] {
        let found = store.is_setup_link_valid(token, now).await.unwrap();
        assert_eq!(found, is_valid, "{token:?}");
    }
    let use_of = |token: &[u8], email: &str, now| FirstStaff {
        token_hash: token.to_vec(),
        user: NewUser {
            context: RequestContext::default(),
            email: address(email),
            password_hash: "hash".into(),
            profile: Profile::default(),
            is_staff: true,
            now,
        },
        session: session(email, now),
    };
    verified(store, "taken@example.com", at(1)).await;
    for (request, outcome) in [
        (
            use_of(b"former", "root@example.com", at(1)),
            FirstStaffOutcome::InvalidLink,
        ),
        (
            use_of(b"latest", "root@example.com", at(200)),
            FirstStaffOutcome::InvalidLink,
        ),
        (
            use_of(b"latest", "taken@example.com", at(1)),
            FirstStaffOutcome::EmailTaken,
        ),
    ] {
        assert_eq!(store.create_first_staff(request).await.unwrap(), outcome);
    }
    assert_eq!(store.find_setup_state().await.unwrap(), state(true, false));
    // Of several that use it at once, one wins.
    let uses = ["a@example.com", "b@example.com", "c@example.com"]
        .map(|email| store.create_first_staff(use_of(b"latest", email, at(2))));
    let outcomes = join_all(uses).await;
    let won = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome.unwrap() {
            FirstStaffOutcome::Created(user) => Some(user),
            _ => None,
        });
    let won: Vec<_> = won.collect();
    assert_eq!(won.len(), 1);
    assert!(won[0].is_staff && won[0].is_verified());
    assert_eq!(won[0].last_login_at, Some(at(2)));
    assert_eq!(store.find_setup_state().await.unwrap(), state(true, true));
    assert!(!store.replace_setup_link(b"another", at(300)).await.unwrap());
    assert!(!store.is_setup_link_valid(b"latest", at(3)).await.unwrap());
    // What happened is counted by day.
    let day = at(0).unix_days();
    let overview = store.read_overview(day - 1, day).await.unwrap();
    let numbers = (overview.accounts, overview.confirmed, overview.staff);
    assert_eq!(numbers, (2, 2, 1));
    let days: Vec<_> = overview
        .days
        .iter()
        .map(|day| (day.day, day.sign_ups, day.confirmed, day.sign_ins))
        .collect();
    assert_eq!(days, [(day - 1, 0, 0, 0), (day, 1, 1, 0)]);
}

#[tokio::test]
async fn first_staff_account_on_a_file() {
    let (_dir, store) = on_file();
    first_staff(&*store).await;
}

#[tokio::test]
async fn first_staff_account_on_postgres() {
    if let Some((_schema, store)) = on_postgres().await {
        first_staff(&*store).await;
    }
}

#[tokio::test]
async fn first_staff_account_in_memory() {
    first_staff(&*in_memory()).await;
}

async fn story(store: &dyn Store) {
    keys_and_secrets(store).await;
    let id = sign_ups_side_by_side(store).await;
    sessions_and_rotation(store, id).await;
    updates(store, id).await;
    addresses(store).await;
    wrong_codes(store).await;
    wrong_passwords(store).await;
    limits_on_mails(store).await;
    the_queue_of_mails(store).await;
    mails_for_staff(store).await;
    mails_that_nobody_needs_any_more(store).await;
    accounts_without_confirmation(store).await;
    what_has_expired_goes(store).await;
}

/// A secret that is stored unencrypted.
async fn secret(store: &dyn Store, name: &str, value: Vec<u8>) -> Vec<u8> {
    let fresh = StoredSecret {
        value,
        is_sealed: false,
    };
    let secret = store.find_or_create_secret(name, fresh).await.unwrap();
    assert!(!secret.is_sealed);
    secret.value
}

async fn keys_and_secrets(store: &dyn Store) {
    let key = |kid: &str, now| StoredKey {
        kid: kid.into(),
        algorithm: "EdDSA".into(),
        private_key: vec![1, 2],
        is_sealed: false,
        public_key: vec![3, 4],
        created_at: now,
        retired_at: None,
        is_for_clients: false,
    };
    assert!(store.list_signing_keys().await.unwrap().is_empty());
    for kid in ["first", "second"] {
        let keys = store
            .create_first_signing_key(key(kid, at(0)))
            .await
            .unwrap();
        assert!(
            keys == [key("first", at(0))],
            "the first caller creates the key"
        );
    }
    assert!(store.list_signing_keys().await.unwrap() == [key("first", at(0))]);
    for fresh in [vec![1; 32], vec![2; 32]] {
        assert_eq!(secret(store, "name", fresh).await, [1; 32]);
    }
    assert_eq!(secret(store, "other", vec![3]).await, [3]);
}

#[expect(clippy::too_many_lines, reason = "it is one story")]
async fn sign_ups_side_by_side(store: &dyn Store) -> UserId {
    let now = at(0);
    let id = created(
        store
            .create_sign_up(sign_up("ann@example.com", "first", "1", now))
            .await
            .unwrap(),
    );
    let again = created(
        store
            .create_sign_up(sign_up("Ann@example.com", "second", "2", at(1)))
            .await
            .unwrap(),
    );
    assert_eq!(again, id, "one address, one account");
    let found = store
        .find_credentials("ann@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.user_id, &*found.password_hash, found.is_verified),
        (id, "second", false)
    );
    assert!(
        !store
            .is_email_taken("ann@example.com", None, at(599))
            .await
            .unwrap()
    );
    assert!(
        store
            .create_session(sign_in(id, "second", "early", now))
            .await
            .unwrap()
            == SignInOutcome::Changed
    );

    for (code, when) in [("3", at(2)), ("1", at(600))] {
        let outcome = store
            .confirm_sign_up(confirmation(
                attempt("ann@example.com", code, when),
                session("no", when),
            ))
            .await
            .unwrap();
        assert_eq!(outcome, None, "code {code}");
    }
    let user = store
        .confirm_sign_up(ConfirmSignUp {
            // The address is contested: without its password the sign-up would lose it.
            proven_hash: Some("first".into()),
            ..confirmation(
                attempt("ann@example.com", "1", at(599)),
                session("ann", at(599)),
            )
        })
        .await
        .unwrap();
    let user = user.unwrap().user;
    assert_eq!(
        (user.id, &*user.email, &*user.profile.first_name),
        (id, "ann@example.com", "first")
    );
    assert_eq!((user.verified_at, user.created_at), (Some(at(599)), at(0)));
    let found = store
        .find_credentials("ann@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&*found.password_hash, found.is_verified), ("first", true));
    for code in ["1", "2"] {
        let outcome = store
            .confirm_sign_up(confirmation(
                attempt("ann@example.com", code, at(599)),
                session("no", at(599)),
            ))
            .await
            .unwrap();
        assert_eq!(outcome, None, "code {code} is dead");
    }
    assert!(
        store
            .is_email_taken("ann@example.com", None, at(599))
            .await
            .unwrap()
    );
    assert!(
        !store
            .is_email_taken("ann@example.com", Some(id), at(599))
            .await
            .unwrap()
    );
    let outcome = store
        .create_sign_up(sign_up("ann@example.com", "third", "3", at(600)))
        .await
        .unwrap();
    assert_eq!(outcome, SignUpOutcome::EmailTaken);
    assert_eq!(
        store.find_session_user(&named("ann", id)).await.unwrap(),
        Some(Arc::new(UserSnapshot::new(user)))
    );
    id
}

async fn sessions_and_rotation(store: &dyn Store, id: UserId) {
    assert!(
        store
            .create_session(sign_in(id, "another", "wrong", at(0)))
            .await
            .unwrap()
            == SignInOutcome::Changed
    );
    assert!(
        store
            .create_session(sign_in(id + 100, "first", "nobody", at(0)))
            .await
            .unwrap()
            == SignInOutcome::Changed
    );
    let user = begin(store, sign_in(id, "first", "s", at(1000))).await;
    assert_eq!(user.last_login_at, Some(at(1000)));
    let found = async |session| store.find_session_user(&session).await.unwrap();
    let snapshot = Arc::new(UserSnapshot::new(user.clone()));
    assert_eq!(found(named("s", id)).await, Some(snapshot));
    assert_eq!(found(named("s", id + 1)).await, None, "another account");
    assert_eq!(found(named("unknown", id)).await, None);

    let live = async |token: &str, now| {
        store
            .is_refresh_token_live("s", token, now, GRACE, SessionLifetimes::default())
            .await
            .unwrap()
    };
    assert!(live("s-0", at(1000)).await && !live("s-1", at(1000)).await);
    let outcome = store
        .rotate_refresh_token(rotation("s", "s-0", "s-1", at(1001)))
        .await
        .unwrap();
    let rotated = Rotation::Rotated {
        user: Box::new(user.clone()),
        created_at: at(1000),
        authentication: Authentication::by(AuthMethod::Password, at(1000)),
        refresh_id: "s-1".into(),
    };
    assert_eq!(outcome, rotated);
    assert!(live("s-0", at(1010)).await && live("s-1", at(1010)).await);
    assert!(!live("s-0", at(1012)).await && live("s-1", at(1012)).await);
    let outcome = store
        .rotate_refresh_token(rotation("s", "s-0", "s-2", at(1010)))
        .await
        .unwrap();
    assert_eq!(outcome, rotated, "the same successor within the grace");

    let other = begin(store, sign_in(id, "first", "other", at(1000))).await;
    let outcome = store
        .rotate_refresh_token(rotation("s", "s-0", "s-3", at(1012)))
        .await
        .unwrap();
    assert_eq!(outcome, Rotation::Reused);
    assert_eq!(
        store.find_session_user(&named("s", id)).await.unwrap(),
        None,
        "the whole session has ended"
    );
    let outcome = store
        .rotate_refresh_token(rotation("s", "s-1", "s-4", at(1012)))
        .await
        .unwrap();
    assert_eq!(outcome, Rotation::Invalid);
    assert_eq!(
        store.find_session_user(&named("other", id)).await.unwrap(),
        Some(Arc::new(UserSnapshot::new(other)))
    );

    let outcome = store
        .rotate_refresh_token(rotation("other", "unknown", "o-1", at(1012)))
        .await
        .unwrap();
    assert_eq!(
        outcome,
        Rotation::Reused,
        "what is not known any more counts as used"
    );
    assert!(
        !store
            .delete_session("other", RequestContext::default(), at(0))
            .await
            .unwrap()
    );
    begin(store, sign_in(id, "first", "last", at(1000))).await;
    assert!(
        store
            .delete_session("last", RequestContext::default(), at(0))
            .await
            .unwrap()
    );
    assert_eq!(
        store.find_session_user(&named("last", id)).await.unwrap(),
        None
    );
}

async fn updates(store: &dyn Store, id: UserId) {
    let before = store.find_user(id).await.unwrap().unwrap();
    assert_eq!(store.find_user(id + 100).await.unwrap(), None);
    let outcome = store
        .update_user(update(id + 100, renamed("x"), "", at(2000)))
        .await
        .unwrap();
    assert_eq!(outcome, UpdateOutcome::NotFound);

    let (same, mail) = updated(
        store
            .update_user(update(id, renamed("first"), "", at(2000)))
            .await
            .unwrap(),
    );
    assert_eq!(
        (&same, mail),
        (&before, None),
        "nothing changed, so the time stays"
    );
    let changes = UserChanges {
        last_name: Some("Doe".into()),
        phone: Some("+1234567890".into()),
        photo: Some(Some("photo.jpg".into())),
        ..renamed("Ann")
    };
    let (after, mail) = updated(
        store
            .update_user(update(id, changes, "", at(2001)))
            .await
            .unwrap(),
    );
    let expected = User {
        profile: Profile {
            first_name: "Ann".into(),
            last_name: "Doe".into(),
            phone: "+1234567890".into(),
            ..before.profile.clone()
        },
        photo: Some("photo.jpg".into()),
        updated_at: at(2001),
        ..before
    };
    assert_eq!((&after, mail), (&expected, None));
    assert_eq!(store.find_user(id).await.unwrap(), Some(expected));

    // Revoked sessions stay revoked when the account is activated again.
    begin(store, sign_in(id, "first", "active", at(2000))).await;
    for is_active in [false, true] {
        let changes = UserChanges {
            is_active: Some(is_active),
            ..UserChanges::default()
        };
        store
            .update_user(update(id, changes, "", at(2002)))
            .await
            .unwrap();
        assert_eq!(
            store.find_session_user(&named("active", id)).await.unwrap(),
            None
        );
    }
}

async fn addresses(store: &dyn Store) {
    let now = at(3000);
    let bob = verified(store, "bob@example.com", now).await;
    let eve = verified(store, "eve@example.com", now).await;
    let stranger = created(
        store
            .create_sign_up(sign_up("new@example.com", "hash", "s", now))
            .await
            .unwrap(),
    );
    let taken = store
        .update_user(update(bob, moved("Eve@example.com"), "b", now))
        .await
        .unwrap();
    assert_eq!(taken, UpdateOutcome::EmailTaken);

    let (user, mail) = updated(
        store
            .update_user(update(bob, moved("new@example.com"), "b", now))
            .await
            .unwrap(),
    );
    assert_eq!(
        (&*user.email, user.new_email.as_deref()),
        ("bob@example.com", Some("new@example.com"))
    );
    assert_eq!(mail, Some(OtpPurpose::EmailChange));
    assert_eq!(
        store.find_user(stranger).await.unwrap(),
        None,
        "a never-verified account gives way"
    );
    for email in ["bob@example.com", "new@example.com"] {
        assert_eq!(
            store
                .find_credentials(email)
                .await
                .unwrap()
                .unwrap()
                .user_id,
            bob,
            "{email}"
        );
    }
    let by = |user_id, code| AccountOtp {
        user_id,
        attempt: attempt("new@example.com", code, now),
        notices: Vec::new(),
    };
    assert_eq!(
        store.confirm_email_change(by(eve, "b")).await.unwrap(),
        None
    );
    assert_eq!(
        store.confirm_email_change(by(bob, "s")).await.unwrap(),
        None
    );
    let sign_up_code = store
        .confirm_sign_up(confirmation(
            attempt("new@example.com", "b", now),
            session("no", now),
        ))
        .await
        .unwrap();
    assert_eq!(sign_up_code, None, "a code counts for its own purpose only");
    let user = store
        .confirm_email_change(by(bob, "b"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&*user.email, user.new_email), ("new@example.com", None));
    assert!(
        store
            .find_credentials("bob@example.com")
            .await
            .unwrap()
            .is_none()
    );

    // A sign-up for a pending address makes the account fall back to its confirmed one.
    store
        .update_user(update(bob, moved("third@example.com"), "t", now))
        .await
        .unwrap();
    let next = created(
        store
            .create_sign_up(sign_up("third@example.com", "hash", "n", at(3001)))
            .await
            .unwrap(),
    );
    assert!(next > stranger, "an id is never used twice");
    let user = store.find_user(bob).await.unwrap().unwrap();
    assert_eq!((&*user.email, user.new_email), ("new@example.com", None));
}

async fn wrong_codes(store: &dyn Store) {
    let now = at(4000);
    let reissue = |code: &str| ReissueOtp {
        email_key: "wrong@example.com".into(),
        network: "203.0.113.7".into(),
        codes: OtpCandidates {
            sign_up: otp("wrong@example.com", code, now),
            email_change: otp("wrong@example.com", "change", now),
        },
        now,
        limits: LIMITLESS,
    };
    assert_eq!(
        store.reissue_otp(reissue("1")).await.unwrap(),
        None,
        "nothing to confirm"
    );
    created(
        store
            .create_sign_up(sign_up("Wrong@example.com", "hash", "right", now))
            .await
            .unwrap(),
    );
    let confirm = async |network: &str, code: &str| {
        let attempt = attempt_from(network, "wrong@example.com", code, now);
        store
            .confirm_sign_up(confirmation(attempt, session("wrong", now)))
            .await
            .unwrap()
    };
    for _ in 0..5 {
        assert_eq!(confirm("a", "wrong").await, None);
    }
    assert_eq!(confirm("a", "right").await, None, "dead for this network");
    let reissued = store.reissue_otp(reissue("second")).await.unwrap().unwrap();
    assert_eq!(
        (reissued.purpose, reissued.email.as_str()),
        (OtpPurpose::SignUp, "Wrong@example.com")
    );
    assert_eq!(confirm("b", "right").await, None, "replaced");
    for network in ["b", "c", "d", "e", "f"] {
        for _ in 0..5 {
            assert_eq!(confirm(network, "wrong").await, None);
        }
    }
    assert_eq!(confirm("g", "second").await, None, "dead for all");
    store.reissue_otp(reissue("third")).await.unwrap().unwrap();
    assert!(confirm("a", "third").await.is_some());
}

async fn wrong_passwords(store: &dyn Store) {
    let id = verified(store, "zoe@example.com", at(0)).await;
    // The account was confirmed from 203.0.113.7, which is a known network.
    for (network, longest) in [("203.0.113.7", 60), ("198.51.100.1", 900)] {
        let mut now = at(20_000);
        let mut pauses = Vec::new();
        for _ in 0..18 {
            let tried = try_from(network, "zoe", Some(id), now);
            assert_eq!(store.find_password_pause(&tried).await.unwrap(), None);
            let counted = store.count_failed_password(tried.clone()).await.unwrap();
            assert_eq!(counted, None);
            let pause = store.find_password_pause(&tried).await.unwrap();
            let again = store.count_failed_password(tried).await.unwrap();
            if let Some(until) = pause {
                assert_eq!(again, Some(until), "too early, and not counted");
                pauses.push(until.since(now).as_secs());
                now = until;
            } else {
                assert_eq!(again, None, "the free ones need no pause");
            }
        }
        assert!(pauses.starts_with(&[1, 2, 4, 8, 16, 32]), "{pauses:?}");
        assert_eq!(pauses.iter().max(), Some(&longest), "{network}: {pauses:?}");
    }
    // Other networks and other accounts are not delayed. Failures expire after a day.
    let now = at(20_001);
    for (network, account) in [("198.51.100.2", "zoe"), ("198.51.100.1", "other")] {
        let tried = try_from(network, account, Some(id), now);
        assert_eq!(store.find_password_pause(&tried).await.unwrap(), None);
    }
    let tomorrow = at(20_000 + 3 * 86_400);
    store.delete_expired(tomorrow, None, None).await.unwrap();
    let tried = try_from("198.51.100.1", "zoe", Some(id), tomorrow);
    assert_eq!(store.find_password_pause(&tried).await.unwrap(), None);

    // After too many failures in an hour only known networks are allowed. Unknown addresses are
    // treated like known ones.
    let now = at(20_000 + 4 * 86_400);
    for account in ["zoe", "nobody"] {
        for number in 0..100 {
            let network = format!("198.51.100.{number}");
            let tried = try_from(&network, account, None, now);
            assert_eq!(store.count_failed_password(tried).await.unwrap(), None);
        }
        let stranger = try_from("198.51.100.200", account, Some(id), now);
        let until = store.find_password_pause(&stranger).await.unwrap();
        assert_eq!(until, Some(now.plus(Duration::from_hours(1))), "{account}");
    }
    let known = try_from("203.0.113.7", "zoe", Some(id), now);
    assert_eq!(store.find_password_pause(&known).await.unwrap(), None);
    let late = SignIn {
        tried: try_from("198.51.100.200", "zoe", Some(id), now),
        ..sign_in(id, "hash", "late", now)
    };
    assert!(matches!(
        store.create_session(late).await.unwrap(),
        SignInOutcome::Throttled { .. }
    ));
    let owner = SignIn {
        tried: known,
        ..sign_in(id, "hash", "owner", now)
    };
    started(store.create_session(owner).await.unwrap());
}

async fn limits_on_mails(store: &dyn Store) {
    let strict = |code: &str, now| NewSignUp {
        limits: STRICT,
        ..sign_up("often@example.com", "hash", code, now)
    };
    let pause = async |now| {
        store
            .find_mail_pause(
                b"often@example.com",
                b"often@example.com",
                OtpPurpose::SignUp,
                network(),
                now,
                STRICT,
            )
            .await
            .unwrap()
    };
    assert_eq!(pause(at(5000)).await, None);
    created(store.create_sign_up(strict("1", at(5000))).await.unwrap());
    let outcome = store.create_sign_up(strict("2", at(5018))).await.unwrap();
    assert_eq!(outcome, SignUpOutcome::Throttled { until: at(5060) });
    assert_eq!(
        (pause(at(5018)).await, pause(at(5060)).await),
        (Some(at(5060)), None)
    );
    for n in 1..10 {
        created(
            store
                .create_sign_up(strict(&format!("next {n}"), at(5000 + 60 * n)))
                .await
                .unwrap(),
        );
    }
    let outcome = store.create_sign_up(strict("last", at(5600))).await;
    let until = at(8600);
    assert_eq!(
        outcome.unwrap(),
        SignUpOutcome::Throttled { until },
        "ten an hour"
    );
}

/// The mails of a claim: content, recipient, language and number of attempts.
fn contents(claimed: &ClaimedMails) -> Vec<(&str, &str, &str, u32)> {
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

/// How long a claim lasts.
const LEASE: Duration = Duration::from_mins(5);

async fn claim(store: &dyn Store, now: Timestamp, limit: u32, retries: u32) -> ClaimedMails {
    let claim = MailClaim {
        now,
        until: now.plus(LEASE),
        limit,
        retries,
    };
    store.claim_mails(claim).await.unwrap()
}

async fn the_queue_of_mails(store: &dyn Store) {
    let claim = async |now, limit, retries| claim(store, now, limit, retries).await;
    // Remove the mails of the earlier parts of this test.
    for mail in store.list_mails().await.unwrap() {
        store.delete_mail(mail.id).await.unwrap();
    }
    assert_eq!(store.find_mail_queue().await.unwrap(), MailQueue::default());
    assert_eq!(store.find_next_mail().await.unwrap(), None);

    // A mail is queued together with its cause, and only one claim at a time has it.
    let start = at(90_000);
    let ids: Vec<UserId> = {
        let mut ids = Vec::new();
        for (email, code) in [("q1@Example.com", "c1"), ("q2@example.com", "c2")] {
            let outcome = store
                .create_sign_up(sign_up(email, "hash", code, start))
                .await;
            ids.push(created(outcome.unwrap()));
        }
        ids
    };
    assert_eq!(store.find_next_mail().await.unwrap(), Some(start));
    let both = claim(start, 10, 10).await;
    assert_eq!(
        contents(&both),
        [
            ("c1", "q1@example.com", "de", 1),
            ("c2", "q2@example.com", "de", 1)
        ]
    );
    assert_eq!(
        (both.mails[0].subject, both.mails[1].subject),
        (MailSubject::User(ids[0]), MailSubject::User(ids[1]))
    );
    assert_eq!(contents(&claim(start, 10, 10).await), []);
    let queue = store.find_mail_queue().await.unwrap();
    assert_eq!((queue.waiting, queue.oldest_at), (2, Some(start)));

    // A postponed mail is due at its time; an attempt that does not count leaves the number
    // unchanged.
    let (first, second) = (both.mails[0].id, both.mails[1].id);
    let later = start.plus(Duration::from_secs(30));
    for (id, next_try_at, counts) in [(first, later, true), (second, start, false)] {
        let postponed = PostponeMail {
            id,
            next_try_at,
            counts,
            problem: "greylisted".into(),
        };
        store.postpone_mail(postponed).await.unwrap();
    }
    assert_eq!(
        contents(&claim(start, 10, 10).await),
        [("c2", "q2@example.com", "de", 1)]
    );
    assert_eq!(
        contents(&claim(later, 10, 10).await),
        [("c1", "q1@example.com", "de", 2)]
    );

    // An unfinished claim expires after its time or when the server restarts.
    let over = start.plus(LEASE);
    assert_eq!(
        contents(&claim(over, 10, 10).await),
        [("c2", "q2@example.com", "de", 2)]
    );
    // Where several servers share the store, leases may belong to others, and only end by time.
    let is_shared = store.keeps_photos();
    let released = if is_shared { 0 } else { 2 };
    assert_eq!(store.release_mails(over).await.unwrap(), released);
    assert_eq!(store.release_mails(over).await.unwrap(), 0);
    if is_shared {
        for id in [first, second] {
            let postponed = PostponeMail {
                id,
                next_try_at: over,
                counts: true,
                problem: "greylisted".into(),
            };
            store.postpone_mail(postponed).await.unwrap();
        }
    }

    // New mails come before retries, and the number of retries is limited.
    let outcome = store
        .create_sign_up(sign_up("q3@example.com", "hash", "c3", over))
        .await;
    created(outcome.unwrap());
    let claimed = claim(over, 10, 1).await;
    assert_eq!(
        contents(&claimed),
        [
            ("c3", "q3@example.com", "de", 1),
            ("c1", "q1@example.com", "de", 3)
        ]
    );
    assert_eq!(
        contents(&claim(over, 1, 10).await),
        [("c2", "q2@example.com", "de", 3)]
    );
    for mail in &claimed.mails {
        store.delete_mail(mail.id).await.unwrap();
    }

    store.delete_mail(second).await.unwrap();
    assert_eq!(store.find_mail_queue().await.unwrap().waiting, 0);
}

/// Recipients and states of all mails that are listed, newest first.
async fn states(store: &dyn Store) -> Vec<(String, MailState)> {
    let page = list_mails(store, None).await;
    let mails = page.items.into_iter();
    mails.map(|mail| (mail.email, mail.state)).collect()
}

async fn list_mails(store: &dyn Store, state: Option<MailState>) -> Page<MailEntry> {
    let query = MailQuery {
        state,
        user_id: None,
        search: String::new(),
        page: PageRequest::Number(1),
        page_size: 100,
    };
    store.list_mail_entries(query).await.unwrap().unwrap()
}

async fn mails_for_staff(store: &dyn Store) {
    let start = at(93_000);
    // Remove what the earlier parts of this test have left.
    for mail in list_mails(store, None).await.items {
        store.delete_mail(mail.id).await.unwrap();
    }
    for (email, code) in [("s1@example.com", "m1"), ("s2@example.com", "m2")] {
        let outcome = store
            .create_sign_up(sign_up(email, "hash", code, start))
            .await;
        created(outcome.unwrap());
    }
    let claimed = claim(store, start, 10, 10).await;
    let (first, second) = (claimed.mails[0].id, claimed.mails[1].id);
    let sending = list_mails(store, Some(MailState::Sending)).await;
    assert_eq!((sending.count, sending.items[0].id), (2, second));
    let change = |id, seconds| MailChange {
        id,
        now: start.plus(Duration::from_secs(seconds)),
        context: RequestContext::default(),
    };

    // A refused mail is kept with the reason, and can be retried while it is valid.
    let give_up = GiveUpMail {
        id: first,
        problem: "no such user".into(),
        now: start,
    };
    store.give_up_mail(give_up.clone()).await.unwrap();
    let failed = list_mails(store, Some(MailState::Failed)).await.items;
    assert_eq!(
        (
            failed[0].id,
            &*failed[0].problem,
            failed[0].tries,
            failed[0].next_try_at
        ),
        (first, "no such user", 1, None)
    );
    assert_eq!(contents(&claim(store, start, 10, 10).await), []);
    let retried = store.retry_mail(change(first, 5)).await.unwrap();
    assert!(
        matches!(&retried, RetryOutcome::Due(mail) if mail.state == MailState::Waiting),
        "{retried:?}"
    );
    let again = claim(store, at(93_005), 10, 10).await;
    assert_eq!(contents(&again), [("m1", "s1@example.com", "de", 2)]);
    // One in delivery is due already.
    let retried = store.retry_mail(change(first, 5)).await.unwrap();
    assert!(
        matches!(&retried, RetryOutcome::Due(mail) if mail.state == MailState::Sending),
        "{retried:?}"
    );

    // Without its content it is past help; after a week it is gone.
    store.give_up_mail(give_up).await.unwrap();
    let expired = claim(store, at(93_600), 10, 10).await.expired;
    assert_eq!(
        expired.len(),
        1,
        "only the second expires, the first was given up"
    );
    let listed = list_mails(store, None).await.items;
    assert_eq!(
        (listed[0].state, listed[1].state),
        (MailState::Expired, MailState::Failed)
    );
    assert_eq!(
        store.retry_mail(change(first, 600)).await.unwrap(),
        RetryOutcome::Expired
    );
    assert!(store.discard_mail(change(second, 600)).await.unwrap());
    assert!(!store.discard_mail(change(second, 600)).await.unwrap());
    assert_eq!(
        store.retry_mail(change(second, 600)).await.unwrap(),
        RetryOutcome::NotFound
    );
    let week = start.plus(Duration::from_hours(7 * 24));
    store.delete_expired(week, None, None).await.unwrap();
    assert_eq!(list_mails(store, None).await.items, []);
}

async fn mails_that_nobody_needs_any_more(store: &dyn Store) {
    let claim = async |now, limit, retries| claim(store, now, limit, retries).await;
    let over = at(95_000);
    let outcome = store
        .create_sign_up(sign_up("q4@example.com", "hash", "c3", over))
        .await;
    let id = created(outcome.unwrap());

    // A code that was used or replaced is not mailed.
    let reissue = |code: &str| ReissueOtp {
        email_key: "q4@example.com".into(),
        network: "203.0.113.7".into(),
        codes: OtpCandidates {
            sign_up: otp("q4@example.com", code, over),
            email_change: otp("q4@example.com", code, over),
        },
        now: over,
        limits: LIMITLESS,
    };
    store.reissue_otp(reissue("c4")).await.unwrap().unwrap();
    assert_eq!(
        contents(&claim(over, 10, 10).await),
        [("c4", "q4@example.com", "de", 1)]
    );
    let user = store
        .confirm_sign_up(confirmation(
            attempt("q4@example.com", "c4", over),
            session("q4", over),
        ))
        .await
        .unwrap();
    assert_eq!(user.map(|confirmed| confirmed.user.id), Some(id));
    assert_eq!(store.find_mail_queue().await.unwrap().waiting, 0);

    // The owner is notified of a new password, at the confirmed address and in the account's
    // language.
    let replaced = ReplacePassword {
        context: RequestContext::default(),
        user_id: id,
        old_hash: None,
        new_hash: "other".into(),
        session: None,
        now: over,
        notices: vec![mail("new password", over.plus(LEASE))],
    };
    assert!(store.replace_password(replaced).await.unwrap().is_some());
    let notice = claim(over, 10, 10).await;
    assert_eq!(
        contents(&notice),
        [("new password", "q4@example.com", "de", 1)]
    );

    // The owner is notified once of a sign-in from a network that is new to the account.
    let in_doubt = |session_id: &str, network: &str| {
        let mut sign_in = sign_in(id, "other", session_id, over);
        sign_in.session.network = network.into();
        sign_in.notice = Some(mail("new place", over.plus(LEASE)));
        sign_in
    };
    begin(store, in_doubt("q5", "203.0.113.7")).await;
    assert_eq!(contents(&claim(over, 10, 10).await), []);
    begin(store, in_doubt("q6", "198.51.100.1")).await;
    begin(store, in_doubt("q7", "198.51.100.1")).await;
    let notices = claim(over, 10, 10).await;
    assert_eq!(
        contents(&notices),
        [("new place", "q4@example.com", "de", 1)]
    );
    store.delete_mail(notices.mails[0].id).await.unwrap();

    mails_past_their_time(store, id, over).await;
}

/// `id` is a confirmed account with a notice that is not yet expired at `over`.
async fn mails_past_their_time(store: &dyn Store, id: UserId, over: Timestamp) {
    let claim = async |now, limit, retries| claim(store, now, limit, retries).await;
    // Expired mails are closed instead of claimed. The mails of a deleted account are deleted.
    let claimed = claim(over.plus(LEASE), 10, 10).await;
    assert_eq!(contents(&claimed), []);
    assert_eq!(claimed.expired, [MailSubject::User(id)]);
    assert_eq!(
        states(store).await,
        [("q4@example.com".to_owned(), MailState::Expired)]
    );
    let outcome = store
        .create_sign_up(sign_up("q5@example.com", "hash", "c5", over))
        .await;
    let gone = DeleteUser {
        context: RequestContext::default(),
        user_id: created(outcome.unwrap()),
        address_hash: Vec::new(),
        needs_staff: false,
        keep_last_staff: false,
        notices: vec![mail("gone", over)],
        now: over,
    };
    store.delete_user(gone).await.unwrap();
    assert_eq!(store.find_next_mail().await.unwrap(), None);

    // The notice of a deletion outlives the account; the address of this one was confirmed.
    let gone = DeleteUser {
        context: RequestContext::default(),
        user_id: id,
        address_hash: Vec::new(),
        needs_staff: false,
        keep_last_staff: false,
        notices: vec![
            mail("gone", over.plus(LEASE)),
            mail("gone too", over.plus(LEASE)),
        ],
        now: over,
    };
    store.delete_user(gone).await.unwrap();
    let claimed = claim(over, 10, 10).await;
    assert_eq!(contents(&claimed), [("gone", "q4@example.com", "de", 1)]);
    assert_eq!(claimed.mails[0].subject, MailSubject::DeletedUser);
    let claimed = claim(over.plus(LEASE), 10, 10).await;
    assert_eq!(claimed.expired, [MailSubject::DeletedUser]);
    assert!(
        states(store).await.is_empty(),
        "not even the address is kept"
    );
}

async fn accounts_without_confirmation(store: &dyn Store) {
    let new = |email: &str| NewUser {
        context: RequestContext::default(),
        email: address(email),
        password_hash: "hash".into(),
        profile: Profile::default(),
        is_staff: true,
        now: at(6000),
    };
    let id = store
        .create_verified_user(new("staff@example.com"))
        .await
        .unwrap()
        .unwrap();
    let user = store.find_user(id).await.unwrap().unwrap();
    assert!(user.is_staff && user.is_active && user.is_verified());
    assert_eq!(
        store
            .create_verified_user(new("STAFF@example.com"))
            .await
            .unwrap(),
        None
    );
    let pending = created(
        store
            .create_sign_up(sign_up("pending@example.com", "old", "p", at(6000)))
            .await
            .unwrap(),
    );
    assert_eq!(
        store
            .create_verified_user(new("pending@example.com"))
            .await
            .unwrap(),
        Some(pending)
    );
    let outcome = store
        .confirm_sign_up(confirmation(
            attempt("pending@example.com", "p", at(6000)),
            session("p", at(6000)),
        ))
        .await
        .unwrap();
    assert_eq!(outcome, None);
    let found = store
        .find_credentials("pending@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&*found.password_hash, found.is_verified), ("hash", true));
}

async fn what_has_expired_goes(store: &dyn Store) {
    let id = verified(store, "late@example.com", at(7000)).await;
    let day = 86_400;
    store.delete_expired(at(7000), None, None).await.unwrap();
    assert!(
        store
            .find_session_user(&named("late@example.com", id))
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        store
            .delete_expired(at(7000 + day), None, None)
            .await
            .unwrap()
            > 0
    );
    assert!(
        store
            .find_session_user(&named("late@example.com", id))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store.find_user(id).await.unwrap().is_some(),
        "accounts stay"
    );
    assert_eq!(
        store
            .delete_expired(at(7000 + day), None, None)
            .await
            .unwrap(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_writes_at_once_are_all_durable() {
    let (dir, store) = on_file();
    let tasks = (0..200).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let email = format!("user{n}@example.com");
            created(
                store
                    .create_sign_up(sign_up(&email, "hash", "code", at(n)))
                    .await
                    .unwrap(),
            )
        })
    });
    let mut ids: Vec<UserId> = join_all(tasks)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    // Read by another connection while the store runs: operations are answered after their commit.
    let connection = Connection::open(path(&dir)).unwrap();
    assert_eq!(count(&connection, "SELECT count(*) FROM users"), 200);
    assert_eq!(count(&connection, "SELECT count(*) FROM otps"), 200);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    drop(store);
    let store = open(&dir, Duration::from_secs(5));
    for n in 0..200 {
        let found = store
            .find_credentials(&format!("user{n}@example.com"))
            .await
            .unwrap();
        assert!(found.is_some(), "{n}");
    }
}

#[tokio::test]
async fn what_fails_leaves_nothing_and_disturbs_nobody() {
    for store in [on_file().1, in_memory()] {
        let id = created(
            store
                .create_sign_up(sign_up("ann@example.com", "first", "same", at(0)))
                .await
                .unwrap(),
        );
        // All of these are queued together, so they share a transaction; every third one requests a
        // code that is in use.
        let outcomes = join_all((0..60).map(|n| {
            let store = &store;
            async move {
                if n % 3 == 0 {
                    let failing = sign_up("ann@example.com", "second", "same", at(1));
                    store.create_sign_up(failing).await
                } else {
                    store
                        .create_sign_up(sign_up(
                            &format!("user{n}@example.com"),
                            "hash",
                            "code",
                            at(1),
                        ))
                        .await
                }
            }
        }))
        .await;
        for (n, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Err(StoreError::Taken(_)) => assert_eq!(n % 3, 0, "{n}"),
                Ok(SignUpOutcome::Created(_)) => assert_ne!(n % 3, 0, "{n}"),
                other => panic!("{n}: {other:?}"),
            }
        }
        for n in (0..60).filter(|n| n % 3 != 0) {
            let email = format!("user{n}@example.com");
            assert!(
                store.find_credentials(&email).await.unwrap().is_some(),
                "{email}"
            );
        }
        // The failing operations changed the account before they failed; their mails do not count.
        let found = store
            .find_credentials("ann@example.com")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&*found.password_hash, "first");
        let user = store.find_user(id).await.unwrap().unwrap();
        assert_eq!(
            (&*user.profile.first_name, user.created_at),
            ("first", at(0))
        );
        let pause = store
            .find_mail_pause(
                b"ann@example.com",
                b"ann@example.com",
                OtpPurpose::SignUp,
                network(),
                at(1),
                STRICT,
            )
            .await
            .unwrap();
        assert_eq!(pause, Some(at(60)), "counted from the first one");
        let user = store
            .confirm_sign_up(confirmation(
                attempt("ann@example.com", "same", at(2)),
                session("s", at(2)),
            ))
            .await
            .unwrap();
        assert_eq!(user.map(|confirmed| confirmed.user.id), Some(id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_another_process_and_reads_go_on() {
    let (dir, store) = on_file();
    let id = verified(&*store, "ann@example.com", at(0)).await;
    let other = Connection::open(path(&dir)).unwrap();
    add_functions(&other).unwrap();
    other
        .execute_batch("BEGIN IMMEDIATE; UPDATE users SET last_name = 'Other'")
        .unwrap();
    let mut write = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store
                .update_user(update(id, renamed("Ann"), "", at(1)))
                .await
        })
    };
    let early = tokio::time::timeout(Duration::from_millis(100), &mut write).await;
    assert!(early.is_err(), "the write did not wait: {early:?}");
    assert_eq!(
        store
            .find_user(id)
            .await
            .unwrap()
            .unwrap()
            .profile
            .last_name,
        "",
        "a read does not wait"
    );
    other.execute_batch("COMMIT").unwrap();
    let (user, _) = updated(write.await.unwrap().unwrap());
    assert_eq!(
        (&*user.profile.first_name, &*user.profile.last_name),
        ("Ann", "Other")
    );
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_reported() {
    let (dir, store) = on_file();
    let id = verified(&*store, "ann@example.com", at(0)).await;
    drop(store);
    let store = open(&dir, Duration::from_millis(20));
    let other = Connection::open(path(&dir)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcome = store
        .update_user(update(id, renamed("Ann"), "", at(1)))
        .await;
    assert!(matches!(outcome, Err(StoreError::Busy(_))), "{outcome:?}");
    other.execute_batch("COMMIT").unwrap();
    let (user, _) = updated(
        store
            .update_user(update(id, renamed("Ann"), "", at(1)))
            .await
            .unwrap(),
    );
    assert_eq!(
        user.profile.first_name, "Ann",
        "and it works again afterwards"
    );
}

#[tokio::test]
async fn what_is_remembered_of_a_session_ends_with_any_write_of_anybody() {
    let (dir, server) = on_file();
    let other = open(&dir, Duration::from_secs(5));
    let id = verified(&*server, "ann@example.com", at(0)).await;
    let kept = named("s", id);
    let name = async || {
        let user = server.find_session_user(&kept).await.unwrap();
        user.map(|user| user.profile.first_name.clone())
    };
    for (round, store) in [&server, &other, &server, &other].into_iter().enumerate() {
        for name in ["s", "t"] {
            begin(&**store, sign_in(id, "hash", name, at(1))).await;
        }
        // Called twice: the second answer comes from the cache.
        assert!(name().await.is_some());
        assert!(name().await.is_some());
        let new_name = format!("Ann {round}");
        let update = update(id, renamed(&new_name), "", at(2));
        updated(store.update_user(update).await.unwrap());
        assert_eq!(name().await, Some(new_name.clone()));
        // A write to another session does not affect this one.
        assert!(
            store
                .delete_session("t", RequestContext::default(), at(2))
                .await
                .unwrap()
        );
        assert_eq!(name().await, Some(new_name));
        assert!(
            store
                .delete_session("s", RequestContext::default(), at(2))
                .await
                .unwrap()
        );
        assert_eq!(name().await, None);
        assert_eq!(name().await, None);
    }
}

#[tokio::test]
async fn two_stores_on_one_file_see_each_other() {
    let (dir, first) = on_file();
    let second = open(&dir, Duration::from_secs(5));
    let id = verified(&*first, "ann@example.com", at(0)).await;
    assert_eq!(
        second.find_user(id).await.unwrap().unwrap().email,
        "ann@example.com"
    );
    updated(
        second
            .update_user(update(id, renamed("Ann"), "", at(1)))
            .await
            .unwrap(),
    );
    assert_eq!(
        first
            .find_user(id)
            .await
            .unwrap()
            .unwrap()
            .profile
            .first_name,
        "Ann"
    );
    let secrets = [
        secret(&*first, "name", vec![1]).await,
        secret(&*second, "name", vec![2]).await,
    ];
    assert_eq!(secrets[0], secrets[1]);
}

/// Requests are authorized before their body is read; operations check again in their transaction.
#[tokio::test]
async fn ended_sessions_and_lost_rights_stop_operations() {
    let store = in_memory();
    let store: &dyn Store = store.as_ref();
    let id = verified(store, "a@example.com", at(0)).await;
    let other = verified(store, "b@example.com", at(0)).await;
    let hash = store.find_password_hash(id).await.unwrap().unwrap();
    begin(store, sign_in(id, &hash, "s", at(1))).await;
    let hash = store.find_password_hash(other).await.unwrap().unwrap();
    begin(store, sign_in(other, &hash, "t", at(1))).await;
    let context = |actor, session: &str| RequestContext {
        actor_id: Some(actor),
        session_id: Some(session.into()),
        ..RequestContext::default()
    };
    let rename = async |context| {
        let update = UserUpdate {
            context,
            ..update(id, renamed("Ann"), "000001", at(2))
        };
        store.update_user(update).await
    };
    assert!(rename(context(id, "s")).await.is_ok());
    let outcome = rename(context(other, "t")).await;
    assert!(
        matches!(outcome, Err(StoreError::Forbidden)),
        "no staff: {outcome:?}"
    );
    let outcome = rename(context(id, "t")).await;
    assert!(
        matches!(outcome, Err(StoreError::SessionEnded)),
        "another account's session: {outcome:?}"
    );
    let ended = store.delete_session("s", RequestContext::default(), at(3));
    assert!(ended.await.unwrap());
    let outcome = rename(context(id, "s")).await;
    assert!(
        matches!(outcome, Err(StoreError::SessionEnded)),
        "{outcome:?}"
    );
    let deletion = DeleteUser {
        user_id: id,
        address_hash: Vec::new(),
        keep_last_staff: true,
        needs_staff: false,
        notices: Vec::new(),
        now: at(4),
        context: context(id, "s"),
    };
    let outcome = store.delete_user(deletion).await;
    assert!(
        matches!(outcome, Err(StoreError::SessionEnded)),
        "{outcome:?}"
    );
    let ended = store.delete_other_sessions(id, "s", context(id, "s"), at(4));
    assert!(matches!(ended.await, Err(StoreError::SessionEnded)));
    assert!(store.find_user(id).await.unwrap().is_some());
}
