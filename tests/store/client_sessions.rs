//! Authorization codes, the sessions of clients that they start, and what users allowed.

use accounts_server::domain::{Scopes, SessionRef};
use accounts_server::store::{
    ClientSession, Consent, IssueCode, IssueOutcome, NewAuthorizationRequest, RedeemCode,
    RedeemOutcome,
};

use super::*;

const DAY: Duration = Duration::from_hours(24);

fn lifetimes() -> SessionLifetimes {
    SessionLifetimes {
        user: Some(DAY * 30),
        staff: Some(Duration::from_hours(12)),
    }
}

/// A store with an account that is signed in by the browser session `browser`, and two clients:
/// `app` asks for consent, `own` does not.
async fn prepared() -> (TempDir, SharedStore, UserId) {
    let (dir, store) = on_file();
    let id = verified(&*store, "ann@example.com", at(0)).await;
    browse(&*store, id, "browser").await;
    let connection = Connection::open(path(&dir)).unwrap();
    add_functions(&connection).unwrap();
    for (client, requires_consent) in [("app", 1), ("own", 0)] {
        connection
            .execute(
                "INSERT INTO oauth_clients VALUES (?1, ?1, NULL, 'https://app.example/cb', '', \
                 'openid email offline_access', ?2, 'ES256', 5, 30, 365, 0, 0, 0, 0, 0)",
                (client, requires_consent),
            )
            .unwrap();
    }
    (dir, store, id)
}

async fn browse(store: &dyn Store, id: UserId, session_id: &str) {
    let mut sign_in = sign_in(id, "hash", session_id, at(0));
    sign_in.session.secret_hash = Some(session_id.as_bytes().to_vec());
    begin(store, sign_in).await;
}

fn execute(dir: &TempDir, statement: &str) {
    let connection = Connection::open(path(dir)).unwrap();
    add_functions(&connection).unwrap();
    connection.execute_batch(statement).unwrap();
}

/// A code of this text for the client `app`, with consent.
fn code(id: UserId, text: &str, scopes: &str) -> IssueCode {
    IssueCode {
        request_hash: None,
        code_hash: text.as_bytes().to_vec(),
        client_id: "app".into(),
        session: SessionRef::new("browser".into(), id),
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

async fn issue(store: &dyn Store, code: IssueCode) -> IssueOutcome {
    store.issue_code(code).await.unwrap()
}

fn redemption(text: &str) -> RedeemCode {
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

async fn redeem(store: &dyn Store, text: &str) -> RedeemOutcome {
    store.redeem_code(redemption(text)).await.unwrap()
}

#[track_caller]
fn started_for_client(outcome: RedeemOutcome) -> ClientSession {
    match outcome {
        RedeemOutcome::Started { session, .. } => *session,
        other => panic!("{other:?}"),
    }
}

async fn find(store: &dyn Store, session_id: &str, now: Timestamp) -> Option<ClientSession> {
    store
        .find_client_session(session_id, lifetimes(), now)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_code_starts_a_session_of_the_client() {
    let (_dir, store, id) = prepared().await;
    assert_eq!(
        issue(&*store, code(id, "c", "openid")).await,
        IssueOutcome::Issued
    );
    let outcome = redeem(&*store, "c").await;
    let RedeemOutcome::Started {
        session,
        nonce,
        refresh_expires_at,
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(nonce.as_deref(), Some("nonce"));
    assert_eq!(session.scopes.to_string(), "openid");
    assert_eq!(session.authentication.at, at(0));
    // The browser session ends 30 days after its start, and so does that of the client.
    assert_eq!(session.end(DAY * 365, lifetimes()), at(0).plus(DAY * 30));
    assert_eq!(refresh_expires_at, at(0).plus(DAY * 30));
    assert_eq!(
        find(&*store, &session.id, at(30)).await.as_ref(),
        Some(&*session)
    );
    // The account API does not know it.
    let named = SessionRef::new(session.id.clone(), id);
    assert_eq!(store.find_session_user(&named).await.unwrap(), None);
    // It is one of the sessions of the account.
    let sessions = store.list_sessions(id, at(30)).await.unwrap();
    let names: Vec<_> = sessions
        .iter()
        .map(|session| session.client_name.as_deref())
        .collect();
    assert!(
        names.contains(&Some("app")) && names.contains(&None),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_code_that_comes_twice_ends_its_session() {
    let (dir, store, id) = prepared().await;
    issue(&*store, code(id, "c", "openid")).await;
    let session = started_for_client(redeem(&*store, "c").await);
    assert_eq!(redeem(&*store, "c").await, RedeemOutcome::Reused);
    assert_eq!(find(&*store, &session.id, at(20)).await, None);
    let connection = Connection::open(path(&dir)).unwrap();
    let entries = "SELECT count(*) FROM events WHERE event = 'token_reused' AND detail = 'app'";
    assert_eq!(count(&connection, entries), 1);
    assert_eq!(redeem(&*store, "c").await, RedeemOutcome::Reused);
    assert_eq!(count(&connection, entries), 1);
}

#[tokio::test]
async fn of_many_at_once_one_redeems_a_code() {
    let (_dir, store, id) = prepared().await;
    issue(&*store, code(id, "c", "openid")).await;
    let all = join_all((0..16).map(|number| {
        let store = &store;
        async move {
            let refresh_id = number.to_string();
            let request = RedeemCode {
                refresh_id,
                ..redemption("c")
            };
            store.redeem_code(request).await.unwrap()
        }
    }))
    .await;
    let winners = all
        .iter()
        .filter(|outcome| matches!(outcome, RedeemOutcome::Started { .. }));
    assert_eq!(winners.count(), 1);
}

#[tokio::test]
async fn a_code_is_bound_to_client_uri_verifier_and_time() {
    let (_dir, store, id) = prepared().await;
    issue(&*store, code(id, "c", "openid")).await;
    for wrong in [
        RedeemCode {
            client_id: "own".into(),
            ..redemption("c")
        },
        RedeemCode {
            redirect_uri: "https://app.example/cb/".into(),
            ..redemption("c")
        },
        RedeemCode {
            code_challenge: "another".into(),
            ..redemption("c")
        },
        RedeemCode {
            now: at(70),
            ..redemption("c")
        },
        redemption("unknown"),
    ] {
        let outcome = store.redeem_code(wrong.clone()).await.unwrap();
        assert_eq!(outcome, RedeemOutcome::Invalid, "{wrong:?}");
    }
    started_for_client(redeem(&*store, "c").await);
}

#[tokio::test]
async fn what_changes_between_issue_and_redemption_counts() {
    for (change, reversal) in [
        (
            "UPDATE users SET is_active = 0",
            "UPDATE users SET is_active = 1",
        ),
        (
            "UPDATE oauth_clients SET is_staff_only = 1",
            "UPDATE oauth_clients SET is_staff_only = 0",
        ),
        (
            "UPDATE oauth_clients SET requires_mfa = 1",
            "UPDATE oauth_clients SET requires_mfa = 0",
        ),
        (
            "UPDATE oauth_grants SET scopes = 'email'",
            "UPDATE oauth_grants SET scopes = 'openid'",
        ),
    ] {
        let (dir, store, id) = prepared().await;
        issue(&*store, code(id, "c", "openid")).await;
        execute(&dir, change);
        assert_eq!(
            redeem(&*store, "c").await,
            RedeemOutcome::Invalid,
            "{change}"
        );
        execute(&dir, reversal);
        started_for_client(redeem(&*store, "c").await);
    }
    let (_dir, store, id) = prepared().await;
    issue(&*store, code(id, "c", "openid")).await;
    let context = RequestContext::default();
    assert!(
        store
            .delete_session("browser", context, at(15))
            .await
            .unwrap()
    );
    assert_eq!(redeem(&*store, "c").await, RedeemOutcome::Invalid);
}

#[tokio::test]
async fn codes_are_issued_under_the_conditions_of_the_client() {
    let (dir, store, id) = prepared().await;
    let with = |consent, scopes| IssueCode {
        consent,
        ..code(id, scopes, scopes)
    };
    // Nothing is remembered yet, and the client wants consent.
    for consent in [Consent::Remembered, Consent::NotRequired] {
        let outcome = issue(&*store, with(consent, "openid")).await;
        assert_eq!(outcome, IssueOutcome::ConsentRequired);
    }
    let own = IssueCode {
        client_id: "own".into(),
        ..with(Consent::NotRequired, "openid")
    };
    assert_eq!(issue(&*store, own).await, IssueOutcome::Issued);
    let given = with(Consent::Given, "openid email");
    assert_eq!(issue(&*store, given).await, IssueOutcome::Issued);
    let subset = with(Consent::Remembered, "email");
    assert_eq!(issue(&*store, subset).await, IssueOutcome::Issued);
    let more = with(Consent::Remembered, "email offline_access");
    assert_eq!(issue(&*store, more).await, IssueOutcome::ConsentRequired);
    // More is added to what was allowed.
    let more = with(Consent::Given, "offline_access");
    assert_eq!(issue(&*store, more).await, IssueOutcome::Issued);
    let allowed = store.find_allowed_scopes(id, "app").await.unwrap().unwrap();
    assert_eq!(allowed.to_string(), "openid email offline_access");

    for (setting, expected) in [
        ("is_staff_only", IssueOutcome::NotStaff),
        ("requires_mfa", IssueOutcome::FactorRequired),
    ] {
        execute(&dir, &format!("UPDATE oauth_clients SET {setting} = 1"));
        let outcome = issue(&*store, code(id, setting, "openid")).await;
        assert_eq!(outcome, expected, "{setting}");
        execute(&dir, &format!("UPDATE oauth_clients SET {setting} = 0"));
    }
    let needs_factor = IssueCode {
        needs_factor: true,
        ..code(id, "f", "openid")
    };
    assert_eq!(
        issue(&*store, needs_factor).await,
        IssueOutcome::FactorRequired
    );
    let another = IssueCode {
        session: SessionRef::new("browser".into(), id + 1),
        ..code(id, "a", "openid")
    };
    assert_eq!(issue(&*store, another).await, IssueOutcome::SessionEnded);
    execute(&dir, "DELETE FROM oauth_clients WHERE id = 'app'");
    assert_eq!(
        issue(&*store, code(id, "n", "openid")).await,
        IssueOutcome::NoClient
    );
}

#[tokio::test]
async fn a_session_of_a_client_ends_with_its_browser_session_unless_offline() {
    let (_dir, store, id) = prepared().await;
    issue(&*store, code(id, "online", "openid")).await;
    issue(&*store, code(id, "offline", "openid offline_access")).await;
    let online = started_for_client(redeem(&*store, "online").await);
    let offline = started_for_client(redeem(&*store, "offline").await);
    assert_eq!(offline.end(DAY * 365, lifetimes()), at(20).plus(DAY * 365));
    // A browser session past its age takes those that depend on it along.
    let later = at(0).plus(DAY * 30);
    assert_eq!(find(&*store, &online.id, later).await, None);
    assert!(
        find(&*store, &offline.id, at(20).plus(DAY * 29))
            .await
            .is_some()
    );
    let context = RequestContext::default();
    assert!(
        store
            .delete_session("browser", context, at(30))
            .await
            .unwrap()
    );
    assert_eq!(find(&*store, &online.id, at(30)).await, None);
    assert!(find(&*store, &offline.id, at(30)).await.is_some());
    // It ends as all sessions of the account do.
    let ended = store
        .delete_other_sessions(id, "ann@example.com", RequestContext::default(), at(40))
        .await
        .unwrap();
    assert_eq!(ended, 1);
    assert_eq!(find(&*store, &offline.id, at(40)).await, None);
}

#[tokio::test]
async fn surplus_sessions_of_a_client_are_evicted_and_those_of_the_account_are_not() {
    let (_dir, store, id) = prepared().await;
    let mut ids = Vec::new();
    for number in 0..21 {
        let text = format!("c{number:02}");
        issue(&*store, code(id, &text, "openid")).await;
        let request = RedeemCode {
            now: at(20 + number),
            ..redemption(&text)
        };
        ids.push(started_for_client(store.redeem_code(request).await.unwrap()).id);
    }
    assert_eq!(find(&*store, &ids[0], at(50)).await, None);
    for id in &ids[1..] {
        assert!(find(&*store, id, at(50)).await.is_some(), "{id}");
    }
    // A hundred sessions of the account have room beside them.
    for number in 0..98 {
        begin(&*store, sign_in(id, "hash", &format!("s{number}"), at(60))).await;
    }
    let sessions = store.list_sessions(id, at(60)).await.unwrap();
    assert_eq!(sessions.len(), 100 + 20);
}

#[tokio::test]
async fn revoking_a_grant_ends_the_sessions_of_the_client() {
    let (_dir, store, id) = prepared().await;
    issue(&*store, code(id, "c", "openid email")).await;
    issue(&*store, code(id, "waiting", "openid")).await;
    let own = IssueCode {
        client_id: "own".into(),
        consent: Consent::NotRequired,
        ..code(id, "own", "openid")
    };
    issue(&*store, own).await;
    let session = started_for_client(redeem(&*store, "c").await);
    let own = RedeemCode {
        client_id: "own".into(),
        ..redemption("own")
    };
    started_for_client(store.redeem_code(own).await.unwrap());
    let grants = store.list_grants(id, at(30)).await.unwrap();
    let grants: Vec<_> = grants
        .iter()
        .map(|grant| (&*grant.client_id, grant.scopes.to_string(), grant.sessions))
        .collect();
    assert_eq!(
        grants,
        [
            ("own", "openid".to_owned(), 1),
            ("app", "openid email".to_owned(), 1)
        ]
    );
    let revoke = async |client| {
        let context = RequestContext::default();
        store
            .revoke_grant(id, client, context, at(30))
            .await
            .unwrap()
    };
    assert!(revoke("app").await);
    assert!(!revoke("app").await);
    assert_eq!(find(&*store, &session.id, at(30)).await, None);
    assert_eq!(redeem(&*store, "waiting").await, RedeemOutcome::Invalid);
    assert_eq!(store.list_grants(id, at(30)).await.unwrap().len(), 1);
    assert!(revoke("own").await);
}

#[tokio::test]
async fn requests_wait_until_they_expire() {
    let (dir, store, id) = prepared().await;
    let request = NewAuthorizationRequest {
        id_hash: vec![7; 32],
        parameters: "client_id=app".into(),
        expires_at: at(60),
    };
    store.create_authorization_request(request).await.unwrap();
    let found = async |now| {
        store
            .find_authorization_request(&[7; 32], now)
            .await
            .unwrap()
    };
    assert_eq!(found(at(59)).await.as_deref(), Some("client_id=app"));
    assert_eq!(found(at(60)).await, None);
    issue(&*store, code(id, "used", "openid offline_access")).await;
    issue(&*store, code(id, "unused", "openid")).await;
    let session = started_for_client(redeem(&*store, "used").await);
    let rows = || {
        let connection = Connection::open(path(&dir)).unwrap();
        let rows = |table| count(&connection, &format!("SELECT count(*) FROM {table}"));
        (rows("authorization_requests"), rows("authorization_codes"))
    };
    assert_eq!(rows(), (1, 2));
    store.delete_expired(at(100), None, None).await.unwrap();
    // A used code is known until its session has ended.
    assert_eq!(rows(), (0, 1));
    let context = RequestContext::default();
    let ended = store.delete_client_session(&session.id, "own", context.clone(), at(100));
    assert!(!ended.await.unwrap(), "a session of another client");
    let ended = store.delete_client_session(&session.id, "app", context, at(100));
    assert!(ended.await.unwrap());
    store.delete_expired(at(101), None, None).await.unwrap();
    assert_eq!(rows(), (0, 0));
}
