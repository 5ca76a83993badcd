//! Authorization requests and the codes that answer them.

use crate::support::*;

on_every_engine![
    request_waits_until_it_expires,
    code_is_issued,
    consent_is_needed_where_the_client_wants_it,
    remembered_consent_is_checked_for_every_client,
    consent_is_added_to_what_was_allowed,
    request_is_answered_once,
    expired_request_is_not_answered,
    refused_code_leaves_its_request,
    code_needs_a_live_session_of_the_account,
    code_needs_a_client,
    code_needs_staff_where_the_client_wants_it,
    code_needs_a_factor_where_client_or_settings_want_it,
];

fn request(expires_at: Timestamp) -> NewAuthorizationRequest {
    NewAuthorizationRequest {
        id_hash: vec![7; 32],
        parameters: "client_id=app".into(),
        expires_at,
    }
}

fn with(consent: Consent, code: IssueCode) -> IssueCode {
    IssueCode { consent, ..code }
}

async fn allowed(store: &dyn Store, id: UserId, client: &str) -> Option<String> {
    let scopes = store.find_allowed_scopes(id, client).await.unwrap();
    scopes.map(|scopes| scopes.to_string())
}

async fn request_waits_until_it_expires(store: &dyn Store) {
    store
        .create_authorization_request(request(at(60)))
        .await
        .unwrap();
    let found = async |hash: u8, now| {
        store
            .find_authorization_request(&[hash; 32], now)
            .await
            .unwrap()
    };
    assert_eq!(found(7, at(59)).await.as_deref(), Some("client_id=app"));
    assert_eq!(found(7, at(60)).await, None);
    assert_eq!(found(8, at(59)).await, None);
}

async fn code_is_issued(store: &dyn Store) {
    let id = with_clients(store).await;
    assert_eq!(allowed(store, id, "app").await, None);
    let outcome = issue(store, code(id, "c", "openid")).await;
    assert_eq!(outcome, IssueOutcome::Issued);
    assert_eq!(allowed(store, id, "app").await.as_deref(), Some("openid"));
    assert_eq!(allowed(store, id, "own").await, None);
    assert_eq!(count_events(store, id, EventKind::ConsentGranted).await, 1);
}

async fn consent_is_needed_where_the_client_wants_it(store: &dyn Store) {
    let id = with_clients(store).await;
    for consent in [Consent::Remembered, Consent::NotRequired] {
        let outcome = issue(store, with(consent, code(id, "c", "openid"))).await;
        assert_eq!(outcome, IssueOutcome::ConsentRequired, "{consent:?}");
    }
    assert_eq!(allowed(store, id, "app").await, None);
    let own = IssueCode {
        client_id: "own".into(),
        ..with(Consent::NotRequired, code(id, "own", "openid"))
    };
    assert_eq!(issue(store, own).await, IssueOutcome::Issued);
}

async fn remembered_consent_is_checked_for_every_client(store: &dyn Store) {
    let id = with_clients(store).await;
    let own = IssueCode {
        client_id: "own".into(),
        ..with(Consent::Remembered, code(id, "own", "openid"))
    };
    assert_eq!(issue(store, own).await, IssueOutcome::ConsentRequired);
}

async fn consent_is_added_to_what_was_allowed(store: &dyn Store) {
    let id = with_clients(store).await;
    issue(store, code(id, "first", "openid email")).await;
    let subset = with(Consent::Remembered, code(id, "subset", "email"));
    assert_eq!(issue(store, subset).await, IssueOutcome::Issued);
    let more = "email offline_access";
    let remembered = with(Consent::Remembered, code(id, "more", more));
    assert_eq!(
        issue(store, remembered).await,
        IssueOutcome::ConsentRequired
    );
    issue(store, code(id, "given", "offline_access")).await;
    let all = allowed(store, id, "app").await;
    assert_eq!(all.as_deref(), Some("openid email offline_access"));
    let remembered = with(Consent::Remembered, code(id, "more", more));
    assert_eq!(issue(store, remembered).await, IssueOutcome::Issued);
}

async fn request_is_answered_once(store: &dyn Store) {
    let id = with_clients(store).await;
    store
        .create_authorization_request(request(at(60)))
        .await
        .unwrap();
    let answer = |text| IssueCode {
        request_hash: Some(vec![7; 32]),
        ..code(id, text, "openid")
    };
    assert_eq!(issue(store, answer("one")).await, IssueOutcome::Issued);
    assert_eq!(issue(store, answer("two")).await, IssueOutcome::RequestUsed);
    let found = store.find_authorization_request(&[7; 32], at(10)).await;
    assert_eq!(found.unwrap(), None);
    assert_eq!(redeem(store, "two").await, RedeemOutcome::Invalid);
    started_for_client(redeem(store, "one").await);
}

async fn expired_request_is_not_answered(store: &dyn Store) {
    let id = with_clients(store).await;
    store
        .create_authorization_request(request(at(10)))
        .await
        .unwrap();
    let answer = IssueCode {
        request_hash: Some(vec![7; 32]),
        ..code(id, "c", "openid")
    };
    assert_eq!(issue(store, answer).await, IssueOutcome::RequestUsed);
    assert_eq!(
        allowed(store, id, "app").await,
        None,
        "nothing is remembered"
    );
}

async fn refused_code_leaves_its_request(store: &dyn Store) {
    let id = with_clients(store).await;
    store
        .create_authorization_request(request(at(60)))
        .await
        .unwrap();
    let refused = IssueCode {
        request_hash: Some(vec![7; 32]),
        ..with(Consent::Remembered, code(id, "c", "openid"))
    };
    assert_eq!(issue(store, refused).await, IssueOutcome::ConsentRequired);
    let found = store.find_authorization_request(&[7; 32], at(10)).await;
    assert!(found.unwrap().is_some());
}

async fn code_needs_a_live_session_of_the_account(store: &dyn Store) {
    let id = with_clients(store).await;
    let another = account(store, "bob@example.com").await;
    for session in [named("browser", another), named("unknown", id)] {
        let code = IssueCode {
            session,
            ..code(id, "c", "openid")
        };
        assert_eq!(issue(store, code).await, IssueOutcome::SessionEnded);
    }
    // A session of a client is none of its owner.
    let session = client_session(store, id, "first", "openid").await;
    let code = IssueCode {
        session: named(&session.id, id),
        ..code(id, "c", "openid")
    };
    assert_eq!(issue(store, code).await, IssueOutcome::SessionEnded);
}

async fn code_needs_a_client(store: &dyn Store) {
    let id = with_clients(store).await;
    remove_client(store, "app").await;
    let outcome = issue(store, code(id, "c", "openid")).await;
    assert_eq!(outcome, IssueOutcome::NoClient);
}

async fn code_needs_staff_where_the_client_wants_it(store: &dyn Store) {
    let id = with_clients(store).await;
    let settings = ClientSettings {
        is_staff_only: true,
        ..client_settings()
    };
    set_client(store, "app", settings).await;
    let outcome = issue(store, code(id, "c", "openid")).await;
    assert_eq!(outcome, IssueOutcome::NotStaff);
    let staff = staff(store, "staff@example.com").await;
    browse(store, staff, "of staff").await;
    let code = IssueCode {
        session: named("of staff", staff),
        ..code(staff, "c", "openid")
    };
    assert_eq!(issue(store, code).await, IssueOutcome::Issued);
}

async fn code_needs_a_factor_where_client_or_settings_want_it(store: &dyn Store) {
    let id = with_clients(store).await;
    let by_settings = |text| IssueCode {
        needs_factor: true,
        ..code(id, text, "openid")
    };
    let outcome = issue(store, by_settings("s")).await;
    assert_eq!(outcome, IssueOutcome::FactorRequired);
    let settings = ClientSettings {
        requires_mfa: true,
        ..client_settings()
    };
    set_client(store, "app", settings).await;
    let outcome = issue(store, code(id, "c", "openid")).await;
    assert_eq!(outcome, IssueOutcome::FactorRequired);
    // The session that enrolls a factor counts as authenticated with it.
    activate(store, id, "browser").await;
    let outcome = issue(store, code(id, "c", "openid")).await;
    assert_eq!(outcome, IssueOutcome::Issued);
    assert_eq!(issue(store, by_settings("s")).await, IssueOutcome::Issued);
}
