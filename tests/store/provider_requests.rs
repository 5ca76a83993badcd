//! Requests to providers, and what they are answered with.

use crate::support::*;

on_every_engine![
    request_is_found_by_its_state_and_provider,
    request_expires,
    request_names_the_account_of_its_session,
    request_is_answered_once,
    answer_is_released_once_under_a_code,
    only_answers_are_released,
    code_is_used_once,
    code_expires_at_its_own_time,
    browser_uses_its_own_request_once,
    request_without_an_answer_is_not_used,
    request_of_a_browser_is_not_used_without_its_cookie,
    new_request_deletes_expired_ones,
];

fn of_an_app() -> ProviderClient {
    ProviderClient::App {
        redirect_uri: "app://callback".into(),
        state: Some("state of the app".into()),
        code_challenge: "challenge".into(),
    }
}

fn of_a_browser() -> ProviderClient {
    ProviderClient::Browser {
        cookie_hash: b"cookie".to_vec(),
        next_path: "/account/".into(),
    }
}

/// A request that is made at 10 and expires at 100.
fn request(state: &str, purpose: ProviderPurpose, client: ProviderClient) -> NewProviderRequest {
    NewProviderRequest {
        state_hash: state.as_bytes().to_vec(),
        provider: "google".into(),
        purpose,
        client,
        created_at: at(10),
        expires_at: at(100),
    }
}

async fn create(store: &dyn Store, request: NewProviderRequest) {
    store.create_provider_request(request).await.unwrap();
}

async fn find(store: &dyn Store, state: &str, now: Timestamp) -> Option<ProviderRequest> {
    store
        .find_provider_request(state.as_bytes(), "google", now)
        .await
        .unwrap()
}

async fn answer(store: &dyn Store, state: &str, answer: &str, now: Timestamp) -> bool {
    store
        .answer_provider_request(state.as_bytes(), answer.as_bytes().to_vec(), now)
        .await
        .unwrap()
}

/// Releases an answer at a time, under a code that expires a minute later.
async fn release(store: &dyn Store, state: &str, code: &str, now: Timestamp) -> bool {
    let release = ReleaseAnswer {
        state_hash: state.as_bytes().to_vec(),
        code_hash: code.as_bytes().to_vec(),
        answer: b"for the app".to_vec(),
        expires_at: now.plus(Duration::from_mins(1)),
        now,
    };
    store.release_provider_answer(release).await.unwrap()
}

async fn use_code(store: &dyn Store, code: &str, now: Timestamp) -> Option<ProviderRequest> {
    store.use_provider_code(code.as_bytes(), now).await.unwrap()
}

async fn use_request(
    store: &dyn Store,
    state: &str,
    cookie: Option<&str>,
    now: Timestamp,
) -> Option<ProviderRequest> {
    store
        .use_provider_request(state.as_bytes(), cookie.map(str::as_bytes), now)
        .await
        .unwrap()
}

async fn request_is_found_by_its_state_and_provider(store: &dyn Store) {
    for (state, client) in [("a", of_an_app()), ("b", of_a_browser())] {
        create(
            store,
            request(state, ProviderPurpose::SignIn, client.clone()),
        )
        .await;
        let expected = ProviderRequest {
            provider: "google".into(),
            purpose: ProviderPurpose::SignIn,
            user_id: None,
            client,
            answer: None,
            created_at: at(10),
        };
        assert_eq!(find(store, state, at(11)).await, Some(expected));
    }
    assert_eq!(find(store, "unknown", at(11)).await, None);
    let other = store.find_provider_request(b"a", "other", at(11)).await;
    assert_eq!(other.unwrap(), None);
}

async fn request_expires(store: &dyn Store) {
    create(store, request("a", ProviderPurpose::SignIn, of_an_app())).await;
    assert!(find(store, "a", at(99)).await.is_some());
    assert_eq!(find(store, "a", at(100)).await, None);
    assert!(!answer(store, "a", "late", at(100)).await);
    assert_eq!(find(store, "a", at(99)).await.unwrap().answer, None);
}

async fn request_names_the_account_of_its_session(store: &dyn Store) {
    let id = account(store, "ann@example.com").await;
    session_of(store, id, "s").await;
    for purpose in [
        ProviderPurpose::Connection("s".into()),
        ProviderPurpose::Reauthentication("s".into()),
    ] {
        create(
            store,
            request(purpose.as_str(), purpose.clone(), of_an_app()),
        )
        .await;
        let found = find(store, purpose.as_str(), at(11)).await.unwrap();
        assert_eq!((found.purpose, found.user_id), (purpose, Some(id)));
    }
    end_session(store, "s").await;
    let left = find(store, "connection", at(11)).await;
    assert_eq!(left.and_then(|request| request.user_id), None);
}

async fn request_is_answered_once(store: &dyn Store) {
    create(store, request("a", ProviderPurpose::SignIn, of_an_app())).await;
    assert!(answer(store, "a", "first", at(20)).await);
    assert!(!answer(store, "a", "second", at(20)).await);
    assert!(!answer(store, "unknown", "first", at(20)).await);
    let found = find(store, "a", at(20)).await.unwrap();
    assert_eq!(found.answer.as_deref(), Some(&b"first"[..]));
}

async fn answer_is_released_once_under_a_code(store: &dyn Store) {
    create(store, request("a", ProviderPurpose::SignIn, of_an_app())).await;
    answer(store, "a", "answer", at(20)).await;
    assert!(release(store, "a", "code", at(30)).await);
    assert!(!release(store, "a", "other", at(30)).await);
    assert_eq!(use_code(store, "other", at(31)).await, None);
    let used = use_code(store, "code", at(31)).await.unwrap();
    assert_eq!(used.answer.as_deref(), Some(&b"for the app"[..]));
    assert_eq!(used.client, of_an_app());
}

async fn only_answers_are_released(store: &dyn Store) {
    create(store, request("a", ProviderPurpose::SignIn, of_an_app())).await;
    assert!(!release(store, "a", "code", at(30)).await, "not answered");
    answer(store, "a", "answer", at(30)).await;
    assert!(!release(store, "unknown", "code", at(30)).await);
    assert!(!release(store, "a", "code", at(100)).await, "expired");
    assert_eq!(use_code(store, "code", at(31)).await, None);
}

async fn code_is_used_once(store: &dyn Store) {
    create(store, request("a", ProviderPurpose::SignIn, of_an_app())).await;
    answer(store, "a", "answer", at(20)).await;
    release(store, "a", "code", at(30)).await;
    let uses = join_all((0..4).map(|_| use_code(store, "code", at(31)))).await;
    assert_eq!(uses.iter().flatten().count(), 1);
    assert_eq!(
        find(store, "a", at(31)).await,
        None,
        "the request is used up"
    );
}

async fn code_expires_at_its_own_time(store: &dyn Store) {
    create(store, request("a", ProviderPurpose::SignIn, of_an_app())).await;
    answer(store, "a", "answer", at(20)).await;
    release(store, "a", "code", at(90)).await;
    assert_eq!(use_code(store, "code", at(150)).await, None);
    assert!(use_code(store, "code", at(149)).await.is_some());
}

async fn browser_uses_its_own_request_once(store: &dyn Store) {
    create(store, request("a", ProviderPurpose::SignIn, of_a_browser())).await;
    answer(store, "a", "answer", at(20)).await;
    assert_eq!(use_request(store, "a", Some("other"), at(30)).await, None);
    assert_eq!(use_request(store, "a", Some("cookie"), at(100)).await, None);
    let used = use_request(store, "a", Some("cookie"), at(30))
        .await
        .unwrap();
    assert_eq!(used.answer.as_deref(), Some(&b"answer"[..]));
    assert_eq!(use_request(store, "a", Some("cookie"), at(30)).await, None);
}

async fn request_without_an_answer_is_not_used(store: &dyn Store) {
    create(store, request("a", ProviderPurpose::SignIn, of_a_browser())).await;
    assert_eq!(use_request(store, "a", Some("cookie"), at(30)).await, None);
    assert!(find(store, "a", at(30)).await.is_some());
}

async fn request_of_a_browser_is_not_used_without_its_cookie(store: &dyn Store) {
    for (state, client) in [("app", of_an_app()), ("browser", of_a_browser())] {
        create(store, request(state, ProviderPurpose::SignIn, client)).await;
        answer(store, state, "answer", at(20)).await;
    }
    assert_eq!(use_request(store, "browser", None, at(30)).await, None);
    assert!(use_request(store, "app", None, at(30)).await.is_some());
}

async fn new_request_deletes_expired_ones(store: &dyn Store) {
    create(store, request("a", ProviderPurpose::SignIn, of_an_app())).await;
    let later = NewProviderRequest {
        created_at: at(100),
        expires_at: at(200),
        ..request("b", ProviderPurpose::SignIn, of_an_app())
    };
    create(store, later).await;
    assert_eq!(find(store, "a", at(50)).await, None);
    assert!(find(store, "b", at(50)).await.is_some());
}
