//! Refresh tokens of OAuth clients.

use crate::support::*;

on_every_engine![
    token_is_exchanged_for_its_successor,
    repeat_within_the_grace_has_the_same_successor,
    reuse_after_the_grace_ends_the_session,
    token_of_another_client_is_invalid,
    token_of_an_ended_session_is_invalid,
    client_session_has_a_maximum_age,
    removed_scopes_are_dropped,
    client_that_lost_offline_access_is_refused,
    refusal_leaves_the_token,
    token_needs_consent,
    token_needs_a_factor_where_the_settings_want_it,
];

fn exchange(session: &ClientSession, from: &str, to: &str, now: Timestamp) -> RotateClientToken {
    RotateClientToken {
        rotation: RotateRefreshToken {
            lifetimes: lifetimes(),
            ..rotation(&session.id, from, to, now)
        },
        client_id: "app".into(),
        session_lifetime: DAY * 365,
        needs_factor: false,
    }
}

async fn rotate(store: &dyn Store, exchange: RotateClientToken) -> ClientRotation {
    store.rotate_client_token(exchange).await.unwrap()
}

#[track_caller]
fn rotated(outcome: ClientRotation) -> (ClientSession, String) {
    match outcome {
        ClientRotation::Rotated {
            session,
            refresh_id,
        } => (*session, refresh_id),
        other => panic!("{other:?}"),
    }
}

async fn is_live(store: &dyn Store, session: &ClientSession, token: &str, now: Timestamp) -> bool {
    store
        .is_client_token_live(&session.id, token, now, GRACE)
        .await
        .unwrap()
}

async fn token_is_exchanged_for_its_successor(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid email").await;
    assert!(is_live(store, &session, "refresh of c", at(30)).await);
    assert!(!is_live(store, &session, "r1", at(30)).await);
    let outcome = rotate(store, exchange(&session, "refresh of c", "r1", at(30))).await;
    assert_eq!(rotated(outcome), (session.clone(), "r1".to_owned()));
    assert!(is_live(store, &session, "r1", at(30)).await);
    assert!(
        is_live(store, &session, "refresh of c", at(39)).await,
        "grace"
    );
    assert!(!is_live(store, &session, "refresh of c", at(41)).await);
    let sessions = store.list_sessions(id, at(30)).await.unwrap();
    let listed = sessions.iter().find(|one| one.id == session.id).unwrap();
    assert_eq!(listed.last_used_at, at(30));
    assert_eq!(listed.ip, "203.0.113.7", "that of the browser");
}

async fn repeat_within_the_grace_has_the_same_successor(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    for to in ["r1", "r2"] {
        let outcome = rotate(store, exchange(&session, "refresh of c", to, at(30))).await;
        assert_eq!(rotated(outcome).1, "r1");
    }
}

async fn reuse_after_the_grace_ends_the_session(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    let other = client_session(store, id, "other", "openid").await;
    rotate(store, exchange(&session, "refresh of c", "r1", at(30))).await;
    let outcome = rotate(store, exchange(&session, "refresh of c", "r2", at(41))).await;
    assert_eq!(outcome, ClientRotation::Reused);
    assert_eq!(find_client(store, &session.id, at(41)).await, None);
    assert!(find_client(store, &other.id, at(41)).await.is_some());
    assert!(is_signed_in(store, id, "browser").await);
    let outcome = rotate(store, exchange(&session, "r1", "r2", at(41))).await;
    assert_eq!(outcome, ClientRotation::Invalid);
    assert_eq!(count_events(store, id, EventKind::TokenReused).await, 1);
}

async fn token_of_another_client_is_invalid(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    let stolen = RotateClientToken {
        client_id: "own".into(),
        ..exchange(&session, "refresh of c", "r1", at(30))
    };
    assert_eq!(rotate(store, stolen).await, ClientRotation::Invalid);
    assert!(is_live(store, &session, "refresh of c", at(30)).await);
    // Nor does the account API exchange it.
    let own = rotation(&session.id, "refresh of c", "r1", at(30));
    let outcome = store.rotate_refresh_token(own).await.unwrap();
    assert_eq!(outcome, Rotation::Invalid);
    assert!(find_client(store, &session.id, at(30)).await.is_some());
}

async fn token_of_an_ended_session_is_invalid(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    end_session(store, "browser").await;
    assert!(!is_live(store, &session, "refresh of c", at(30)).await);
    let outcome = rotate(store, exchange(&session, "refresh of c", "r1", at(30))).await;
    assert_eq!(outcome, ClientRotation::Invalid);
}

async fn client_session_has_a_maximum_age(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid offline_access").await;
    let within = |to, now| RotateClientToken {
        session_lifetime: Duration::from_secs(100),
        ..exchange(
            &session,
            if to == "r1" { "refresh of c" } else { "r1" },
            to,
            now,
        )
    };
    rotated(rotate(store, within("r1", at(119))).await);
    let outcome = rotate(store, within("r2", at(120))).await;
    assert_eq!(outcome, ClientRotation::Invalid);
    assert_eq!(find_client(store, &session.id, at(120)).await, None);
}

async fn removed_scopes_are_dropped(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid email").await;
    let settings = ClientSettings {
        scopes: Scopes::parse_known("openid"),
        ..client_settings()
    };
    set_client(store, "app", settings).await;
    let outcome = rotate(store, exchange(&session, "refresh of c", "r1", at(30))).await;
    assert_eq!(rotated(outcome).0.scopes.to_string(), "openid");
}

async fn client_that_lost_offline_access_is_refused(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid offline_access").await;
    let settings = ClientSettings {
        scopes: Scopes::parse_known("openid"),
        ..client_settings()
    };
    set_client(store, "app", settings).await;
    let outcome = rotate(store, exchange(&session, "refresh of c", "r1", at(30))).await;
    assert_eq!(outcome, ClientRotation::Invalid);
}

async fn refusal_leaves_the_token(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    for settings in [
        ClientSettings {
            is_staff_only: true,
            ..client_settings()
        },
        ClientSettings {
            requires_mfa: true,
            ..client_settings()
        },
    ] {
        set_client(store, "app", settings).await;
        let outcome = rotate(store, exchange(&session, "refresh of c", "r1", at(30))).await;
        assert_eq!(outcome, ClientRotation::Invalid);
    }
    set_client(store, "app", client_settings()).await;
    rotated(rotate(store, exchange(&session, "refresh of c", "r1", at(30))).await);
}

async fn token_needs_consent(store: &dyn Store) {
    let id = with_clients(store).await;
    let unasked = IssueCode {
        client_id: "own".into(),
        consent: Consent::NotRequired,
        ..code(id, "c", "openid")
    };
    issue(store, unasked).await;
    let redemption = RedeemCode {
        client_id: "own".into(),
        ..redemption("c")
    };
    let session = started_for_client(store.redeem_code(redemption).await.unwrap());
    let own = |to, from| RotateClientToken {
        client_id: "own".into(),
        ..exchange(&session, from, to, at(30))
    };
    rotated(rotate(store, own("r1", "refresh of c")).await);
    set_client(store, "own", client_settings()).await;
    let outcome = rotate(store, own("r2", "r1")).await;
    assert_eq!(outcome, ClientRotation::Invalid);
}

async fn token_needs_a_factor_where_the_settings_want_it(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    let strict = || RotateClientToken {
        needs_factor: true,
        ..exchange(&session, "refresh of c", "r1", at(30))
    };
    assert_eq!(rotate(store, strict()).await, ClientRotation::Invalid);
    assert!(is_live(store, &session, "refresh of c", at(30)).await);
}
