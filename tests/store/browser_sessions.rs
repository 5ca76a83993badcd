//! Sessions of browsers, by the hash of the secret in their cookie.

use crate::support::*;

on_every_engine![
    session_is_found_by_its_secret,
    session_with_tokens_is_no_browser_session,
    session_of_an_inactive_account_is_not_found,
    expired_session_is_not_found,
    use_extends_the_session,
    use_never_shortens_the_session,
    ended_session_is_not_found,
    browser_session_has_no_refresh_token,
];

async fn find(store: &dyn Store, secret: &str, now: Timestamp) -> Option<BrowserSessionRecord> {
    store
        .find_browser_session(secret.as_bytes(), now)
        .await
        .unwrap()
}

async fn browsing(store: &dyn Store) -> UserId {
    let id = account(store, "ann@example.com").await;
    browse(store, id, "browser").await;
    id
}

async fn session_is_found_by_its_secret(store: &dyn Store) {
    let id = browsing(store).await;
    let found = find(store, "browser", at(1)).await.unwrap();
    assert_eq!(found.session_id, "browser");
    assert_eq!(found.user, user(store, id).await);
    assert_eq!((found.created_at, found.last_used_at), (at(0), at(0)));
    let authentication = Authentication::by(AuthMethod::Password, at(0));
    assert_eq!(found.authentication, authentication);
    assert_eq!(found.language, "");
    assert!(find(store, "another", at(1)).await.is_none());
}

async fn session_with_tokens_is_no_browser_session(store: &dyn Store) {
    let id = account(store, "ann@example.com").await;
    session_of(store, id, "app").await;
    assert!(find(store, "app", at(1)).await.is_none());
    assert!(find(store, "", at(1)).await.is_none());
}

async fn session_of_an_inactive_account_is_not_found(store: &dyn Store) {
    let id = browsing(store).await;
    for is_active in [false, true] {
        set_active(store, id, is_active).await;
        // What was revoked does not come back.
        assert!(find(store, "browser", at(2)).await.is_none());
    }
}

async fn expired_session_is_not_found(store: &dyn Store) {
    browsing(store).await;
    assert!(find(store, "browser", at(86_399)).await.is_some());
    assert!(find(store, "browser", at(86_400)).await.is_none());
}

async fn use_extends_the_session(store: &dyn Store) {
    let id = browsing(store).await;
    let touched = store.touch_browser_session("browser", at(100), at(90_000), "192.0.2.1");
    touched.await.unwrap();
    let found = find(store, "browser", at(89_999)).await.unwrap();
    assert_eq!((found.created_at, found.last_used_at), (at(0), at(100)));
    assert!(find(store, "browser", at(90_000)).await.is_none());
    let sessions = store.list_sessions(id, at(100)).await.unwrap();
    assert_eq!(sessions[0].ip, "192.0.2.1");
}

async fn use_never_shortens_the_session(store: &dyn Store) {
    let id = browsing(store).await;
    session_of(store, id, "app").await;
    for session in ["browser", "app", "unknown"] {
        let touched = store.touch_browser_session(session, at(-5), at(10), "192.0.2.1");
        touched.await.unwrap();
    }
    let found = find(store, "browser", at(86_399)).await.unwrap();
    assert_eq!(found.last_used_at, at(0));
    let sessions = store.list_sessions(id, at(20)).await.unwrap();
    let app = sessions.iter().find(|session| session.id == "app").unwrap();
    assert_eq!(app.ip, "203.0.113.7", "that of an app is left alone");
}

async fn ended_session_is_not_found(store: &dyn Store) {
    browsing(store).await;
    end_session(store, "browser").await;
    assert!(find(store, "browser", at(1)).await.is_none());
}

async fn browser_session_has_no_refresh_token(store: &dyn Store) {
    browsing(store).await;
    let live = store.is_refresh_token_live(
        "browser",
        "browser-0",
        at(1),
        GRACE,
        SessionLifetimes::default(),
    );
    assert!(!live.await.unwrap());
    let rotated = store.rotate_refresh_token(rotation("browser", "browser-0", "new", at(1)));
    assert_eq!(rotated.await.unwrap(), Rotation::Reused);
}
