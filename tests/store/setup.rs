//! The first staff account.

use crate::support::*;

on_every_engine![
    setup_begins_with_the_first_account,
    latest_link_is_valid_until_it_expires,
    link_makes_a_staff_account_that_is_signed_in,
    former_expired_and_unknown_links_are_refused,
    taken_address_is_refused_and_leaves_the_link,
    pending_sign_up_becomes_the_staff_account,
    of_several_uses_at_once_one_wins,
    any_staff_account_deletes_the_link,
    link_is_not_replaced_once_there_is_staff,
];

async fn state(store: &dyn Store) -> (bool, bool) {
    let state = store.find_setup_state().await.unwrap();
    (state.has_accounts, state.has_staff)
}

async fn link(store: &dyn Store, token: &[u8], expires_at: Timestamp) -> bool {
    store.replace_setup_link(token, expires_at).await.unwrap()
}

async fn is_valid(store: &dyn Store, token: &[u8], now: Timestamp) -> bool {
    store.is_setup_link_valid(token, now).await.unwrap()
}

/// The use of a link; the session has the name of the account.
fn use_of(token: &[u8], email: &str, now: Timestamp) -> FirstStaff {
    FirstStaff {
        token_hash: token.to_vec(),
        user: NewUser {
            is_staff: true,
            now,
            ..new_user(email)
        },
        session: session(email, now),
    }
}

async fn setup_begins_with_the_first_account(store: &dyn Store) {
    assert_eq!(state(store).await, (false, false));
    let signed_up = sign_up("ann@example.com", "hash", "code", at(0));
    created(store.create_sign_up(signed_up).await.unwrap());
    assert_eq!(state(store).await, (true, false));
    staff(store, "root@example.com").await;
    assert_eq!(state(store).await, (true, true));
}

async fn latest_link_is_valid_until_it_expires(store: &dyn Store) {
    assert!(!is_valid(store, b"former", at(1)).await);
    assert!(link(store, b"former", at(100)).await);
    assert!(is_valid(store, b"former", at(1)).await);
    assert!(link(store, b"latest", at(200)).await);
    assert!(!is_valid(store, b"former", at(1)).await);
    assert!(is_valid(store, b"latest", at(199)).await);
    assert!(!is_valid(store, b"latest", at(200)).await);
}

async fn link_makes_a_staff_account_that_is_signed_in(store: &dyn Store) {
    link(store, b"link", at(100)).await;
    let request = use_of(b"link", "root@example.com", at(2));
    let outcome = store.create_first_staff(request).await.unwrap();
    let FirstStaffOutcome::Created(user) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(user.is_staff && user.is_active);
    assert_eq!(
        (user.verified_at, user.last_login_at),
        (Some(at(2)), Some(at(2)))
    );
    assert!(is_signed_in(store, user.id, "root@example.com").await);
    assert_eq!(state(store).await, (true, true));
    assert!(!is_valid(store, b"link", at(3)).await);
    let noted = [(EventKind::UserCreated, "staff".to_owned())];
    assert_eq!(events(store, user.id).await, noted);
}

async fn former_expired_and_unknown_links_are_refused(store: &dyn Store) {
    link(store, b"former", at(100)).await;
    link(store, b"latest", at(100)).await;
    for (token, now) in [(b"former", at(1)), (b"latest", at(100)), (b"absent", at(1))] {
        let request = use_of(token, "root@example.com", now);
        let outcome = store.create_first_staff(request).await.unwrap();
        assert_eq!(outcome, FirstStaffOutcome::InvalidLink, "{token:?}");
    }
    assert_eq!(state(store).await, (false, false));
}

async fn taken_address_is_refused_and_leaves_the_link(store: &dyn Store) {
    let id = account(store, "taken@example.com").await;
    link(store, b"link", at(100)).await;
    let request = use_of(b"link", "TAKEN@example.com", at(1));
    let outcome = store.create_first_staff(request).await.unwrap();
    assert_eq!(outcome, FirstStaffOutcome::EmailTaken);
    assert!(!user(store, id).await.is_staff);
    assert_eq!(state(store).await, (true, false));
    assert!(is_valid(store, b"link", at(1)).await);
}

async fn pending_sign_up_becomes_the_staff_account(store: &dyn Store) {
    let signed_up = sign_up("root@example.com", "stranger", "code", at(0));
    let pending = created(store.create_sign_up(signed_up).await.unwrap());
    link(store, b"link", at(100)).await;
    let request = use_of(b"link", "root@example.com", at(1));
    let outcome = store.create_first_staff(request).await.unwrap();
    assert!(matches!(outcome, FirstStaffOutcome::Created(user) if user.id == pending));
    let hash = store.find_password_hash(pending).await.unwrap();
    assert_eq!(hash.as_deref(), Some("hash"));
    let late = attempt("root@example.com", "code", at(2));
    let late = store.confirm_sign_up(confirmation(late, session("late", at(2))));
    assert_eq!(late.await.unwrap(), None);
}

async fn of_several_uses_at_once_one_wins(store: &dyn Store) {
    link(store, b"link", at(100)).await;
    let uses = ["a@example.com", "b@example.com", "c@example.com"]
        .map(|email| store.create_first_staff(use_of(b"link", email, at(2))));
    let outcomes: Vec<_> = join_all(uses)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let won = |outcome: &&FirstStaffOutcome| matches!(outcome, FirstStaffOutcome::Created(_));
    assert_eq!(outcomes.iter().filter(won).count(), 1);
    let lost = outcomes
        .iter()
        .filter(|outcome| **outcome == FirstStaffOutcome::InvalidLink);
    assert_eq!(lost.count(), 2);
    let overview = store.read_overview(0, 0).await.unwrap();
    assert_eq!((overview.accounts, overview.staff), (1, 1));
}

async fn any_staff_account_deletes_the_link(store: &dyn Store) {
    link(store, b"link", at(100)).await;
    let id = account(store, "ann@example.com").await;
    let promote = async |is_staff| {
        let changes = UserChanges {
            is_staff: Some(is_staff),
            ..UserChanges::default()
        };
        apply_update(store, update(id, changes, "", at(1))).await;
    };
    assert!(is_valid(store, b"link", at(1)).await);
    promote(true).await;
    assert!(!is_valid(store, b"link", at(1)).await);
    // It is gone for good.
    promote(false).await;
    assert!(!is_valid(store, b"link", at(1)).await);
}

async fn link_is_not_replaced_once_there_is_staff(store: &dyn Store) {
    let id = staff(store, "root@example.com").await;
    assert!(!link(store, b"link", at(100)).await);
    store.delete_user(deletion(id)).await.unwrap();
    assert!(!is_valid(store, b"link", at(1)).await);
    assert!(link(store, b"link", at(100)).await);
}
