//! Sessions of OAuth clients: started by a code, ended with their browser session or by themselves.

use crate::support::*;

on_every_engine![
    code_starts_a_session_of_the_client,
    session_of_a_client_is_one_of_the_account,
    code_that_comes_twice_ends_its_session,
    of_many_at_once_one_redeems_a_code,
    code_is_bound_to_client_uri_verifier_and_time,
    deactivated_account_gets_no_session,
    client_for_staff_gets_no_session_of_others,
    client_that_wants_a_factor_gets_no_session_without,
    revoked_consent_voids_the_code,
    ended_browser_session_voids_the_code,
    session_ends_with_its_browser_session_unless_offline,
    offline_session_ends_with_all_of_the_account,
    surplus_sessions_of_a_client_are_evicted,
    client_ends_its_own_sessions_alone,
    deactivation_ends_sessions_of_clients,
    used_code_is_known_until_its_session_ends,
];

async fn code_starts_a_session_of_the_client(store: &dyn Store) {
    let id = with_clients(store).await;
    issue(store, code(id, "c", "openid")).await;
    let outcome = redeem(store, "c").await;
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
    let found = find_client(store, &session.id, at(30)).await;
    assert_eq!(found.as_ref(), Some(&*session));
    assert_eq!(count_events(store, id, EventKind::ClientSignedIn).await, 1);
}

async fn session_of_a_client_is_one_of_the_account(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    // The account API does not know it.
    assert!(!is_signed_in(store, id, &session.id).await);
    let sessions = store.list_sessions(id, at(30)).await.unwrap();
    let names: Vec<_> = sessions
        .iter()
        .map(|session| session.client_name.as_deref())
        .collect();
    assert_eq!(names, [Some("app"), None]);
}

async fn code_that_comes_twice_ends_its_session(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    let other = client_session(store, id, "other", "openid").await;
    for _ in 0..2 {
        assert_eq!(redeem(store, "c").await, RedeemOutcome::Reused);
        assert_eq!(find_client(store, &session.id, at(20)).await, None);
        let reused = (EventKind::TokenReused, "app".to_owned());
        let found = events(store, id).await;
        let reused = found.iter().filter(|event| **event == reused);
        assert_eq!(reused.count(), 1, "reported once");
    }
    assert!(find_client(store, &other.id, at(20)).await.is_some());
    assert!(is_signed_in(store, id, "browser").await);
}

async fn of_many_at_once_one_redeems_a_code(store: &dyn Store) {
    let id = with_clients(store).await;
    issue(store, code(id, "c", "openid")).await;
    let all = join_all((0..16).map(|number| {
        let request = RedeemCode {
            refresh_id: number.to_string(),
            ..redemption("c")
        };
        store.redeem_code(request)
    }))
    .await;
    let started = |outcome: &&RedeemOutcome| matches!(outcome, RedeemOutcome::Started { .. });
    let outcomes: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!(outcomes.iter().filter(started).count(), 1);
}

async fn code_is_bound_to_client_uri_verifier_and_time(store: &dyn Store) {
    let id = with_clients(store).await;
    issue(store, code(id, "c", "openid")).await;
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
    started_for_client(redeem(store, "c").await);
}

async fn deactivated_account_gets_no_session(store: &dyn Store) {
    let id = with_clients(store).await;
    issue(store, code(id, "c", "openid")).await;
    for is_active in [false, true] {
        set_active(store, id, is_active).await;
        assert_eq!(redeem(store, "c").await, RedeemOutcome::Invalid);
    }
}

/// Redeems a code while the client has other settings, and again when it has the former ones.
async fn with_settings(store: &dyn Store, settings: ClientSettings) {
    let id = with_clients(store).await;
    issue(store, code(id, "c", "openid")).await;
    set_client(store, "app", settings).await;
    assert_eq!(redeem(store, "c").await, RedeemOutcome::Invalid);
    set_client(store, "app", client_settings()).await;
    started_for_client(redeem(store, "c").await);
}

async fn client_for_staff_gets_no_session_of_others(store: &dyn Store) {
    let settings = ClientSettings {
        is_staff_only: true,
        ..client_settings()
    };
    with_settings(store, settings).await;
}

async fn client_that_wants_a_factor_gets_no_session_without(store: &dyn Store) {
    let settings = ClientSettings {
        requires_mfa: true,
        ..client_settings()
    };
    with_settings(store, settings).await;
}

async fn revoked_consent_voids_the_code(store: &dyn Store) {
    let id = with_clients(store).await;
    issue(store, code(id, "c", "openid")).await;
    let revoked = store.revoke_grant(id, "app", RequestContext::default(), at(15));
    assert!(revoked.await.unwrap());
    assert_eq!(redeem(store, "c").await, RedeemOutcome::Invalid);
    // Consent to something else does not bring it back.
    issue(store, code(id, "d", "email")).await;
    assert_eq!(redeem(store, "c").await, RedeemOutcome::Invalid);
}

async fn ended_browser_session_voids_the_code(store: &dyn Store) {
    let id = with_clients(store).await;
    issue(store, code(id, "c", "openid")).await;
    end_session(store, "browser").await;
    assert_eq!(redeem(store, "c").await, RedeemOutcome::Invalid);
}

async fn session_ends_with_its_browser_session_unless_offline(store: &dyn Store) {
    let id = with_clients(store).await;
    let online = client_session(store, id, "online", "openid").await;
    let offline = client_session(store, id, "offline", "openid offline_access").await;
    assert_eq!(offline.end(DAY * 365, lifetimes()), at(20).plus(DAY * 365));
    // A browser session past its age takes those that depend on it along.
    let later = at(0).plus(DAY * 30);
    assert_eq!(find_client(store, &online.id, later).await, None);
    let later = at(20).plus(DAY * 29);
    assert!(find_client(store, &offline.id, later).await.is_some());
    end_session(store, "browser").await;
    assert_eq!(find_client(store, &online.id, at(30)).await, None);
    assert!(find_client(store, &offline.id, at(30)).await.is_some());
}

async fn offline_session_ends_with_all_of_the_account(store: &dyn Store) {
    let id = with_clients(store).await;
    let offline = client_session(store, id, "offline", "openid offline_access").await;
    let ended = store.delete_other_sessions(id, "browser", RequestContext::default(), at(40));
    assert_eq!(ended.await.unwrap(), 1);
    assert_eq!(find_client(store, &offline.id, at(40)).await, None);
}

async fn surplus_sessions_of_a_client_are_evicted(store: &dyn Store) {
    let id = with_clients(store).await;
    let mut ids = Vec::new();
    for number in 0..21 {
        let text = format!("c{number:02}");
        issue(store, code(id, &text, "openid")).await;
        let request = RedeemCode {
            now: at(20 + number),
            ..redemption(&text)
        };
        ids.push(started_for_client(store.redeem_code(request).await.unwrap()).id);
    }
    assert_eq!(find_client(store, &ids[0], at(50)).await, None);
    for id in &ids[1..] {
        assert!(find_client(store, id, at(50)).await.is_some(), "{id}");
    }
    // A hundred sessions of the account have room beside them.
    for number in 0..99 {
        begin(store, sign_in(id, "hash", &format!("s{number}"), at(60))).await;
    }
    let sessions = store.list_sessions(id, at(60)).await.unwrap();
    assert_eq!(sessions.len(), 100 + 20);
}

async fn client_ends_its_own_sessions_alone(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    let end = async |session: &str, client: &str| {
        let context = RequestContext::default();
        let ended = store.delete_client_session(session, client, context, at(30));
        ended.await.unwrap()
    };
    assert!(!end(&session.id, "own").await);
    assert!(!end("browser", "app").await);
    assert!(find_client(store, &session.id, at(30)).await.is_some());
    assert!(end(&session.id, "app").await);
    assert!(!end(&session.id, "app").await);
    assert!(is_signed_in(store, id, "browser").await);
    assert_eq!(count_events(store, id, EventKind::SignOut).await, 1);
}

async fn deactivation_ends_sessions_of_clients(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid offline_access").await;
    for is_active in [false, true] {
        set_active(store, id, is_active).await;
        assert_eq!(find_client(store, &session.id, at(30)).await, None);
    }
}

async fn used_code_is_known_until_its_session_ends(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "used", "openid offline_access").await;
    issue(store, code(id, "unused", "openid")).await;
    let deleted = async |now| store.delete_expired(now, None, None).await.unwrap();
    assert_eq!(deleted(at(100)).await, 1, "the unused code");
    let context = RequestContext::default();
    let ended = store.delete_client_session(&session.id, "app", context, at(100));
    assert!(ended.await.unwrap());
    assert_eq!(deleted(at(101)).await, 1, "the used code");
    assert_eq!(deleted(at(102)).await, 0);
}
