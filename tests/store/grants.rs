//! What users allowed OAuth clients.

use crate::support::*;

on_every_engine![
    grants_are_listed_most_recently_used_first,
    client_without_consent_is_listed_while_it_has_a_session,
    expired_sessions_are_not_counted,
    revoked_grant_ends_the_sessions_of_the_client,
    nothing_is_revoked_twice,
    revocation_needs_the_account_or_staff,
];

fn revocation() -> RequestContext {
    RequestContext::default()
}

/// Starts a session of the client that asks for no consent.
async fn own_session(store: &dyn Store, id: UserId) -> ClientSession {
    let unasked = IssueCode {
        client_id: "own".into(),
        consent: Consent::NotRequired,
        ..code(id, "own", "openid")
    };
    issue(store, unasked).await;
    let redemption = RedeemCode {
        client_id: "own".into(),
        now: at(25),
        ..redemption("own")
    };
    started_for_client(store.redeem_code(redemption).await.unwrap())
}

async fn clients(store: &dyn Store, id: UserId, now: Timestamp) -> Vec<(String, String, u32)> {
    let grants = store.list_grants(id, now).await.unwrap().into_iter();
    grants
        .map(|grant| (grant.client_id, grant.scopes.to_string(), grant.sessions))
        .collect()
}

async fn grants_are_listed_most_recently_used_first(store: &dyn Store) {
    let id = with_clients(store).await;
    let other = account(store, "bob@example.com").await;
    client_session(store, id, "c", "openid email").await;
    own_session(store, id).await;
    let own = ("own".to_owned(), "openid".to_owned(), 1);
    let app = ("app".to_owned(), "openid email".to_owned(), 1);
    assert_eq!(clients(store, id, at(30)).await, [own, app]);
    assert_eq!(clients(store, other, at(30)).await, []);
    let grants = store.list_grants(id, at(30)).await.unwrap();
    let expected = Grant {
        client_id: "app".into(),
        client_name: "app".into(),
        redirect_uris: vec!["https://app.example/cb".into()],
        scopes: Scopes::parse_known("openid email"),
        created_at: at(10),
        last_used_at: at(10),
        sessions: 1,
    };
    assert_eq!(grants[1], expected);
}

async fn client_without_consent_is_listed_while_it_has_a_session(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = own_session(store, id).await;
    assert_eq!(clients(store, id, at(30)).await.len(), 1);
    let context = RequestContext::default();
    let ended = store.delete_client_session(&session.id, "own", context, at(30));
    assert!(ended.await.unwrap());
    assert_eq!(clients(store, id, at(30)).await, []);
}

async fn expired_sessions_are_not_counted(store: &dyn Store) {
    let id = with_clients(store).await;
    client_session(store, id, "c", "openid").await;
    let later = at(0).plus(DAY * 30);
    let app = ("app".to_owned(), "openid".to_owned(), 0);
    assert_eq!(clients(store, id, later).await, [app]);
}

async fn revoked_grant_ends_the_sessions_of_the_client(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    issue(store, code(id, "waiting", "openid")).await;
    let own = own_session(store, id).await;
    let revoked = store.revoke_grant(id, "app", revocation(), at(30)).await;
    assert!(revoked.unwrap());
    assert_eq!(find_client(store, &session.id, at(30)).await, None);
    assert_eq!(redeem(store, "waiting").await, RedeemOutcome::Invalid);
    assert_eq!(store.find_allowed_scopes(id, "app").await.unwrap(), None);
    assert!(find_client(store, &own.id, at(30)).await.is_some());
    assert!(is_signed_in(store, id, "browser").await);
    let event = (EventKind::ConsentRevoked, "app".to_owned());
    assert!(events(store, id).await.contains(&event));
}

async fn nothing_is_revoked_twice(store: &dyn Store) {
    let id = with_clients(store).await;
    client_session(store, id, "c", "openid").await;
    own_session(store, id).await;
    for client in ["app", "own"] {
        for is_there in [true, false] {
            let revoked = store.revoke_grant(id, client, revocation(), at(30)).await;
            assert_eq!(revoked.unwrap(), is_there, "{client}");
        }
    }
    let unknown = store
        .revoke_grant(id, "unknown", revocation(), at(30))
        .await;
    assert!(!unknown.unwrap());
}

async fn revocation_needs_the_account_or_staff(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    for (context, reason) in outsiders(store).await {
        let revoked = store.revoke_grant(id, "app", context, at(30)).await;
        assert_refused(revoked, reason);
    }
    assert!(find_client(store, &session.id, at(30)).await.is_some());
    let own = store
        .revoke_grant(id, "app", by(id, "browser"), at(30))
        .await;
    assert!(own.unwrap());
}
