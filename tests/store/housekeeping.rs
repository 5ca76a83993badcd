//! Housekeeping: what has expired is deleted.

use crate::support::*;

on_every_engine![
    expired_sessions_are_deleted_and_accounts_stay,
    everything_that_expires_is_deleted,
    audit_log_is_cut,
    never_verified_accounts_are_deleted,
    account_with_a_live_code_stays,
    staff_and_imported_accounts_stay,
    photo_of_a_deleted_account_is_noted,
    new_database_has_not_moved,
    raised_ids_are_skipped,
];

async fn tidy(store: &dyn Store, now: Timestamp) -> usize {
    store.delete_expired(now, None, None).await.unwrap()
}

async fn expired_sessions_are_deleted_and_accounts_stay(store: &dyn Store) {
    let id = verified(store, "late@example.com", at(0)).await;
    tidy(store, at(0)).await;
    assert!(is_signed_in(store, id, "late@example.com").await);
    assert!(tidy(store, at(86_400)).await > 0);
    assert!(!is_signed_in(store, id, "late@example.com").await);
    assert!(store.find_user(id).await.unwrap().is_some());
    assert_eq!(tidy(store, at(86_400)).await, 0);
}

async fn everything_that_expires_is_deleted(store: &dyn Store) {
    let id = with_clients(store).await;
    issue(store, code(id, "code", "openid")).await;
    let request = NewAuthorizationRequest {
        id_hash: b"request".to_vec(),
        parameters: String::new(),
        expires_at: at(60),
    };
    store.create_authorization_request(request).await.unwrap();
    let challenge = challenge("challenge", ChallengePurpose::SignIn);
    store.create_challenge(challenge, at(0)).await.unwrap();
    let mut reset = ResetRequest {
        email_key: "ann@example.com".into(),
        otp: otp("ann@example.com", "reset", at(0)),
        now: at(0),
        limits: LIMITLESS,
        context: RequestContext::default(),
    };
    reset.otp.token_hash = Some(b"link".to_vec());
    store.create_password_reset(reset).await.unwrap().unwrap();
    assert_eq!(tidy(store, at(0)).await, 0);
    // The code of the client, its request, the challenge, the reset and its link.
    assert_eq!(tidy(store, at(600)).await, 5);
    let day = at(90_000).plus(DAY);
    // The session and what was counted of the mail.
    assert_eq!(tidy(store, day).await, 2);
    assert_eq!(tidy(store, day).await, 0);
}

async fn audit_log_is_cut(store: &dyn Store) {
    let id = account(store, "ann@example.com").await;
    for now in [10, 20, 30] {
        let event = NewEvent {
            kind: EventKind::UserPromoted,
            user_id: Some(id),
            context: RequestContext::default(),
            detail: now.to_string(),
            now: at(now),
        };
        store.record_event(event).await.unwrap();
    }
    let deleted = store.delete_expired(at(40), Some(at(20)), None).await;
    assert_eq!(deleted.unwrap(), 2, "the creation and one more");
    let left = events(store, id).await.into_iter();
    let left: Vec<_> = left.map(|(_, detail)| detail).collect();
    assert_eq!(left, ["20", "30"]);
    let deleted = store.delete_expired(at(40), Some(at(99)), None).await;
    assert_eq!(deleted.unwrap(), 2);
}

async fn unverified(store: &dyn Store, email: &str) -> UserId {
    created(
        store
            .create_sign_up(sign_up(email, "hash", "code", at(0)))
            .await
            .unwrap(),
    )
}

async fn tidy_unverified(store: &dyn Store, now: Timestamp, before: Timestamp) {
    store.delete_expired(now, None, Some(before)).await.unwrap();
}

async fn never_verified_accounts_are_deleted(store: &dyn Store) {
    let id = unverified(store, "new@example.com").await;
    let other = account(store, "ann@example.com").await;
    tidy_unverified(store, at(700), at(-1)).await;
    assert!(store.find_user(id).await.unwrap().is_some(), "too young");
    tidy_unverified(store, at(700), at(0)).await;
    assert_eq!(store.find_user(id).await.unwrap(), None);
    assert!(store.find_user(other).await.unwrap().is_some());
    let deleted = events(store, id).await.pop();
    assert_eq!(
        deleted,
        Some((EventKind::UserDeleted, "never verified".into()))
    );
}

async fn account_with_a_live_code_stays(store: &dyn Store) {
    let id = unverified(store, "new@example.com").await;
    tidy_unverified(store, at(599), at(100)).await;
    assert!(store.find_user(id).await.unwrap().is_some());
    tidy_unverified(store, at(600), at(100)).await;
    assert_eq!(store.find_user(id).await.unwrap(), None);
}

async fn staff_and_imported_accounts_stay(store: &dyn Store) {
    let mut imported = crate::imports::imported("imported@example.com");
    imported.verified_at = None;
    let outcomes = crate::imports::import(store, vec![imported]).await;
    tidy_unverified(store, at(10_000), at(10_000)).await;
    let id = outcomes[0].unwrap();
    assert!(store.find_user(id).await.unwrap().is_some());
}

async fn photo_of_a_deleted_account_is_noted(store: &dyn Store) {
    let id = unverified(store, "new@example.com").await;
    let changes = UserChanges {
        photo: Some(Some("face.jpg".into())),
        ..UserChanges::default()
    };
    apply_update(store, update(id, changes, "", at(1))).await;
    tidy_unverified(store, at(700), at(100)).await;
    let unused = store.list_unused_photos(at(701)).await.unwrap();
    assert_eq!(unused, ["face.jpg"]);
}

async fn new_database_has_not_moved(store: &dyn Store) {
    assert_eq!(store.find_moved().await.unwrap(), None);
}

async fn raised_ids_are_skipped(store: &dyn Store) {
    let first = verified(store, "first@example.com", at(0)).await;
    let event = NewEvent {
        kind: EventKind::IdsRaised,
        user_id: None,
        context: RequestContext::default(),
        detail: "1000".into(),
        now: at(1),
    };
    let raised = store.raise_ids(1000, event).await.unwrap();
    let last = raised.iter().find(|(table, _)| table == "users").unwrap().1;
    assert!(last >= first + 1000);
    let next = verified(store, "next@example.com", at(1)).await;
    assert_eq!(next, last + 1);
    let found = store.find_user(first).await.unwrap();
    assert_eq!(found.unwrap().email, "first@example.com");
}
