//! Changes of addresses, and the links that undo them.

use crate::support::*;

on_every_engine![
    new_address_is_pending_and_mailed,
    taken_address_is_refused,
    never_verified_account_gives_way,
    other_pending_claim_is_dropped,
    spelling_of_the_own_address_needs_no_code,
    change_back_drops_the_pending_address,
    latest_change_counts,
    change_is_throttled,
    same_digits_serve_another_address_or_purpose,
    unverified_account_moves_with_its_sign_up,
    undo_link_goes_to_the_former_address,
    earlier_addresses_are_notified,
    undo_link_is_found_until_it_expires,
    undo_restores_the_address,
    undo_of_a_pending_change_drops_it,
    undo_voids_what_came_after_the_link,
    undo_keeps_a_password_that_is_older,
    undone_address_rests,
    link_is_used_once,
    earlier_link_stays_after_a_later_undo,
    undo_to_a_taken_address_is_refused,
    undo_takes_the_address_from_an_unconfirmed_sign_up,
    undo_asks_for_a_factor_that_is_older,
];

const ANN: &str = "ann@example.com";
const NEW: &str = "new@example.com";

/// Asks for another address. The code is `b`, unless the address is confirmed at once.
async fn request(store: &dyn Store, id: UserId, email: &str, now: Timestamp) -> UpdateOutcome {
    store
        .update_user(update(id, moved(email), "b", now))
        .await
        .unwrap()
}

async fn confirm(store: &dyn Store, id: UserId, email: &str, now: Timestamp) -> Option<User> {
    let request = AccountOtp {
        user_id: id,
        attempt: attempt(email, "b", now),
        notices: Vec::new(),
    };
    store.confirm_email_change(request).await.unwrap()
}

/// An account whose address was changed by its owner or a thief: requested at 100, confirmed at 200.
async fn changed(store: &dyn Store) -> UserId {
    let id = verified(store, ANN, at(0)).await;
    updated(request(store, id, NEW, at(100)).await);
    assert!(confirm(store, id, NEW, at(200)).await.is_some());
    empty_queue(store).await;
    id
}

/// The token of the undo link of the change that [`request`] makes.
fn token(id: UserId) -> Vec<u8> {
    format!("undo {id} b").into_bytes()
}

fn undo_of(token: Vec<u8>, now: Timestamp) -> UndoEmailChange {
    UndoEmailChange {
        token_hash: token,
        reset: otp(ANN, "reset", now),
        notices: vec![notice("restored"), notice("restored too")],
        removed_notice: notice("removed"),
        factor: None,
        now,
        context: RequestContext::default(),
    }
}

async fn undo_by_link(store: &dyn Store, token: Vec<u8>, now: Timestamp) -> UndoOutcome {
    store.undo_email_change(undo_of(token, now)).await.unwrap()
}

#[track_caller]
fn undone(outcome: UndoOutcome) -> User {
    match outcome {
        UndoOutcome::Undone(user) => *user,
        other => panic!("{other:?}"),
    }
}

async fn new_address_is_pending_and_mailed(store: &dyn Store) {
    let id = account(store, ANN).await;
    let (user, purpose) = updated(request(store, id, "New@example.com", at(100)).await);
    assert_eq!(purpose, Some(OtpPurpose::EmailChange));
    assert_eq!(
        (&*user.email, user.new_email.as_deref()),
        (ANN, Some("New@example.com"))
    );
    assert_eq!(
        (user.shown_email(), user.updated_at),
        ("New@example.com", at(100))
    );
    for email in [ANN, NEW] {
        let found = store.find_credentials(email).await.unwrap().unwrap();
        assert_eq!((found.user_id, &*found.email_key), (id, ANN), "{email}");
        let found = store.find_user_by_email(email).await.unwrap().unwrap();
        assert_eq!(found.id, id, "{email}");
    }
    assert!(
        !store.is_email_taken(NEW, None, at(100)).await.unwrap(),
        "not confirmed"
    );
    let kinds: Vec<_> = events(store, id)
        .await
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    assert_eq!(kinds.last(), Some(&EventKind::EmailChangeRequested));
}

async fn taken_address_is_refused(store: &dyn Store) {
    let id = account(store, ANN).await;
    account(store, "eve@example.com").await;
    let changes = UserChanges {
        first_name: Some("Eve".into()),
        ..moved("Eve@example.com")
    };
    let outcome = store
        .update_user(update(id, changes, "b", at(100)))
        .await
        .unwrap();
    assert_eq!(outcome, UpdateOutcome::EmailTaken);
    let left = user(store, id).await;
    assert_eq!((&*left.profile.first_name, left.new_email), ("", None));
    assert!(mails(store).await.is_empty());
}

async fn never_verified_account_gives_way(store: &dyn Store) {
    let id = account(store, ANN).await;
    let pending = created(
        store
            .create_sign_up(sign_up(NEW, "hash", "s", at(1)))
            .await
            .unwrap(),
    );
    let changes = UserChanges {
        photo: Some(Some("stranger.jpg".into())),
        ..UserChanges::default()
    };
    apply_update(store, update(pending, changes, "", at(2))).await;
    updated(request(store, id, NEW, at(100)).await);
    assert_eq!(store.find_user(pending).await.unwrap(), None);
    let displaced = (EventKind::SignUpDisplaced, String::new());
    assert!(events(store, pending).await.contains(&displaced));
    assert_eq!(
        store.list_unused_photos(at(101)).await.unwrap(),
        ["stranger.jpg"]
    );
    assert!(confirm(store, id, NEW, at(101)).await.is_some());
    let next = account(store, "next@example.com").await;
    assert!(next > pending, "an id is never used twice");
}

async fn other_pending_claim_is_dropped(store: &dyn Store) {
    let id = account(store, ANN).await;
    let other = account(store, "bob@example.com").await;
    updated(request(store, other, NEW, at(50)).await);
    updated(request(store, id, NEW, at(100)).await);
    assert_eq!(user(store, other).await.new_email, None);
    assert_eq!(confirm(store, other, NEW, at(101)).await, None);
    assert!(confirm(store, id, NEW, at(101)).await.is_some());
}

async fn spelling_of_the_own_address_needs_no_code(store: &dyn Store) {
    let id = account(store, ANN).await;
    let (user, purpose) = updated(request(store, id, "Ann@Example.com", at(100)).await);
    assert_eq!(
        (&*user.email, user.new_email, purpose),
        ("Ann@example.com", None, None)
    );
    assert_eq!(user.updated_at, at(100));
    updated(request(store, id, NEW, at(101)).await);
    let (user, purpose) = updated(request(store, id, "NEW@example.com", at(102)).await);
    assert_eq!(
        (user.new_email.as_deref(), purpose),
        (Some("NEW@example.com"), None)
    );
    let (same, purpose) = updated(request(store, id, "NEW@example.com", at(103)).await);
    assert_eq!(
        (same.updated_at, purpose),
        (at(102), None),
        "nothing has changed"
    );
    assert!(
        confirm(store, id, NEW, at(104)).await.is_some(),
        "the code stays valid"
    );
}

async fn change_back_drops_the_pending_address(store: &dyn Store) {
    let id = account(store, ANN).await;
    updated(request(store, id, NEW, at(100)).await);
    let (user, purpose) = updated(request(store, id, ANN, at(101)).await);
    assert_eq!((&*user.email, user.new_email, purpose), (ANN, None, None));
    assert_eq!(confirm(store, id, NEW, at(102)).await, None);
}

async fn latest_change_counts(store: &dyn Store) {
    let id = account(store, ANN).await;
    updated(request(store, id, NEW, at(100)).await);
    let third = update(id, moved("third@example.com"), "c", at(101));
    updated(store.update_user(third).await.unwrap());
    assert_eq!(confirm(store, id, NEW, at(102)).await, None);
    assert!(store.find_credentials(NEW).await.unwrap().is_none());
    assert_eq!(
        user(store, id).await.new_email.as_deref(),
        Some("third@example.com")
    );
}

async fn change_is_throttled(store: &dyn Store) {
    let id = account(store, ANN).await;
    let strict = |email: &str, code: &str, now| {
        let mut update = update(id, moved(email), code, now);
        update.email_change.as_mut().unwrap().limits = STRICT;
        update
    };
    updated(store.update_user(strict(NEW, "b", at(100))).await.unwrap());
    updated(request(store, id, ANN, at(101)).await);
    let outcome = store.update_user(strict(NEW, "c", at(159))).await.unwrap();
    assert_eq!(outcome, UpdateOutcome::Throttled { until: at(160) });
    assert_eq!(user(store, id).await.new_email, None);
    updated(store.update_user(strict(NEW, "c", at(160))).await.unwrap());
    // Within the pause one undo link for the former address is enough.
    empty_queue(store).await;
    apply_update(store, strict("third@example.com", "d", at(161))).await;
    assert_eq!(
        mails(store).await,
        [("third@example.com".to_owned(), "d".to_owned())]
    );
}

async fn same_digits_serve_another_address_or_purpose(store: &dyn Store) {
    let id = account(store, ANN).await;
    let pending = created(
        store
            .create_sign_up(sign_up(NEW, "hash", "b", at(1)))
            .await
            .unwrap(),
    );
    let moving = update(pending, moved("third@example.com"), "b", at(2));
    updated(store.update_user(moving).await.unwrap());
    // Digits count for an address and a purpose.
    updated(request(store, id, NEW, at(3)).await);
    let mut again = update(id, moved("third@example.com"), "b", at(4));
    again.email_change.as_mut().unwrap().undo.token_hash = b"another link".to_vec();
    updated(store.update_user(again).await.unwrap());
    assert!(
        confirm(store, id, "third@example.com", at(5))
            .await
            .is_some()
    );
}

async fn unverified_account_moves_with_its_sign_up(store: &dyn Store) {
    let id = created(
        store
            .create_sign_up(sign_up(ANN, "first", "1", at(0)))
            .await
            .unwrap(),
    );
    created(
        store
            .create_sign_up(sign_up(ANN, "second", "2", at(1)))
            .await
            .unwrap(),
    );
    let (user, purpose) = updated(request(store, id, NEW, at(2)).await);
    assert_eq!(
        (&*user.email, user.new_email, purpose),
        (NEW, None, Some(OtpPurpose::SignUp))
    );
    assert!(store.find_credentials(ANN).await.unwrap().is_none());
    for code in ["1", "2"] {
        for email in [ANN, NEW] {
            let session = session(&format!("{email} {code}"), at(3));
            let old = confirmation(attempt(email, code, at(3)), session);
            assert_eq!(
                store.confirm_sign_up(old).await.unwrap(),
                None,
                "{email} {code}"
            );
        }
    }
    let moved = confirmation(attempt(NEW, "b", at(4)), session("s", at(4)));
    let confirmed = store.confirm_sign_up(moved).await.unwrap().unwrap();
    assert_eq!((confirmed.user.id, &*confirmed.user.email), (id, NEW));
    assert!(
        !mail_contents(store).await.contains(&"undo".into()),
        "nobody has lost an address"
    );
}

async fn undo_link_goes_to_the_former_address(store: &dyn Store) {
    let id = account(store, ANN).await;
    updated(request(store, id, NEW, at(100)).await);
    let expected = [(NEW, "b"), (ANN, "undo")];
    let expected = expected.map(|(email, content)| (email.to_owned(), content.to_owned()));
    assert_eq!(mails(store).await, expected);
}

async fn earlier_addresses_are_notified(store: &dyn Store) {
    let id = changed(store).await;
    let mut again = update(id, moved("third@example.com"), "c", at(300));
    again.email_change.as_mut().unwrap().notices = vec![notice("moved on")];
    updated(store.update_user(again).await.unwrap());
    let expected = [("third@example.com", "c"), (NEW, "undo"), (ANN, "moved on")];
    let expected = expected.map(|(email, content)| (email.to_owned(), content.to_owned()));
    assert_eq!(mails(store).await, expected);
}

async fn undo_link_is_found_until_it_expires(store: &dyn Store) {
    let id = changed(store).await;
    let find = async |token: &[u8], now| store.find_email_undo(token, now).await.unwrap();
    let expected = EmailUndo {
        user_id: id,
        email: ANN.into(),
        factors: Factors::default(),
    };
    let end = 100 + 168 * 3600;
    assert_eq!(find(&token(id), at(end - 1)).await, Some(expected));
    assert_eq!(find(&token(id), at(end)).await, None);
    assert_eq!(find(b"unknown", at(201)).await, None);
    assert_eq!(
        undo_by_link(store, token(id), at(end)).await,
        UndoOutcome::InvalidLink
    );
    assert_eq!(
        undo_by_link(store, b"unknown".into(), at(201)).await,
        UndoOutcome::InvalidLink
    );
    assert_eq!(user(store, id).await.email, NEW);
    // A clock that was far ahead makes no link that lasts.
    assert_eq!(find(&token(id), at(-1000)).await, None);
}

async fn undo_restores_the_address(store: &dyn Store) {
    let id = changed(store).await;
    assert!(
        store.is_email_taken(ANN, None, at(201)).await.unwrap(),
        "it is kept for the owner"
    );
    let user = undone(undo_by_link(store, token(id), at(300)).await);
    assert_eq!(
        (&*user.email, &user.new_email, user.updated_at),
        (ANN, &None, at(300))
    );
    assert!(!is_signed_in(store, id, ANN).await, "all sessions end");
    let expected = [(ANN, "reset"), (ANN, "restored"), (NEW, "removed")];
    let expected = expected.map(|(email, content)| (email.to_owned(), content.to_owned()));
    assert_eq!(mails(store).await, expected);
    assert_eq!(
        count_events(store, id, EventKind::EmailChangeUndone).await,
        1
    );
    let checked = store
        .check_password_reset(attempt(ANN, "reset", at(301)))
        .await;
    assert_eq!(checked.unwrap().map(|user| user.id), Some(id));
}

async fn undo_of_a_pending_change_drops_it(store: &dyn Store) {
    let id = account(store, ANN).await;
    updated(request(store, id, NEW, at(100)).await);
    let user = undone(undo_by_link(store, token(id), at(150)).await);
    assert_eq!((&*user.email, user.new_email), (ANN, None));
    assert_eq!(confirm(store, id, NEW, at(151)).await, None);
    // The address was not moved, so it may be changed again.
    let again = update(id, moved("third@example.com"), "c", at(152));
    updated(store.update_user(again).await.unwrap());
}

async fn undo_voids_what_came_after_the_link(store: &dyn Store) {
    let id = changed(store).await;
    let thief = ReplacePassword {
        user_id: id,
        old_hash: None,
        new_hash: "of the thief".into(),
        session: Some(session("s", at(250))),
        now: at(250),
        notices: Vec::new(),
        context: RequestContext::default(),
    };
    store.replace_password(thief).await.unwrap().unwrap();
    let mut enrolment = enrolment(id, "s");
    enrolment.now = at(260);
    let activation = ActivateTotp {
        device: TotpDevice {
            id: "device".into(),
            secret: b"secret".to_vec(),
            created_at: at(260),
            last_used_at: None,
        },
        step: 100,
        enrolment,
    };
    store.activate_totp(activation).await.unwrap();
    let mut connection = connection(id, "thief");
    connection.now = at(270);
    store.connect_identity(connection).await.unwrap();
    let user = undone(undo_by_link(store, token(id), at(300)).await);
    assert!(!store.find_factors(id).await.unwrap().is_enabled());
    assert!(!store.find_user(id).await.unwrap().unwrap().has_factor);
    assert_eq!(user.email, ANN);
    assert!(store.list_identities(id).await.unwrap().is_empty());
    let hash = store.find_password_hash(id).await.unwrap();
    assert_eq!(hash.as_deref(), Some("!"));
}

async fn undo_keeps_a_password_that_is_older(store: &dyn Store) {
    let id = changed(store).await;
    undone(undo_by_link(store, token(id), at(300)).await);
    let hash = store.find_password_hash(id).await.unwrap();
    assert_eq!(hash.as_deref(), Some("hash"));
}

async fn undone_address_rests(store: &dyn Store) {
    let id = changed(store).await;
    undone(undo_by_link(store, token(id), at(300)).await);
    let until = at(300 + 72 * 3600);
    let again = |now| update(id, moved("third@example.com"), "c", now);
    let outcome = store.update_user(again(at(301))).await.unwrap();
    assert_eq!(outcome, UpdateOutcome::EmailRestored { until });
    assert_eq!(user(store, id).await.new_email, None);
    updated(store.update_user(again(until)).await.unwrap());
}

async fn link_is_used_once(store: &dyn Store) {
    let id = changed(store).await;
    undone(undo_by_link(store, token(id), at(300)).await);
    empty_queue(store).await;
    assert_eq!(
        undo_by_link(store, token(id), at(301)).await,
        UndoOutcome::InvalidLink
    );
    assert_eq!(
        store.find_email_undo(&token(id), at(301)).await.unwrap(),
        None
    );
    assert!(mails(store).await.is_empty());
}

async fn earlier_link_stays_after_a_later_undo(store: &dyn Store) {
    let id = changed(store).await;
    let again = update(id, moved("third@example.com"), "c", at(300));
    updated(store.update_user(again).await.unwrap());
    let later = format!("undo {id} c").into_bytes();
    assert_eq!(
        undone(undo_by_link(store, later.clone(), at(400)).await).email,
        NEW
    );
    let mut earlier = undo_of(token(id), at(500));
    earlier.reset = otp(ANN, "another reset", at(500));
    let user = undone(store.undo_email_change(earlier).await.unwrap());
    assert_eq!(user.email, ANN);
    assert_eq!(
        undo_by_link(store, later, at(600)).await,
        UndoOutcome::InvalidLink
    );
}

async fn undo_to_a_taken_address_is_refused(store: &dyn Store) {
    let id = changed(store).await;
    // An import does not ask for undo links.
    let outcomes = crate::imports::import(store, vec![crate::imports::imported(ANN)]).await;
    assert!(outcomes[0].is_ok());
    empty_queue(store).await;
    assert_eq!(
        undo_by_link(store, token(id), at(300)).await,
        UndoOutcome::EmailTaken
    );
    assert_eq!(user(store, id).await.email, NEW);
    assert!(mails(store).await.is_empty());
}

async fn undo_takes_the_address_from_an_unconfirmed_sign_up(store: &dyn Store) {
    let id = account(store, ANN).await;
    updated(request(store, id, NEW, at(100)).await);
    assert!(confirm(store, id, NEW, at(200)).await.is_some());
    let mut unconfirmed = crate::imports::imported(ANN);
    unconfirmed.verified_at = None;
    let stranger = crate::imports::import(store, vec![unconfirmed]).await[0].unwrap();
    undone(undo_by_link(store, token(id), at(300)).await);
    assert_eq!(store.find_user(stranger).await.unwrap(), None);
    assert_eq!(user(store, id).await.email, ANN);
}

async fn undo_asks_for_a_factor_that_is_older(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    activate(store, id, ANN).await;
    updated(request(store, id, NEW, at(100)).await);
    assert!(confirm(store, id, NEW, at(200)).await.is_some());
    let found = store
        .find_email_undo(&token(id), at(201))
        .await
        .unwrap()
        .unwrap();
    assert!(found.factors.totp.is_some());
    let with = |proof| UndoEmailChange {
        factor: Some(factor_try(proof, at(300))),
        ..undo_of(token(id), at(300))
    };
    assert_eq!(
        undo_by_link(store, token(id), at(300)).await,
        UndoOutcome::FactorRequired
    );
    let refused = store
        .undo_email_change(with(FactorProof::WrongCode))
        .await
        .unwrap();
    assert!(
        matches!(refused, UndoOutcome::FactorRefused(_)),
        "{refused:?}"
    );
    assert_eq!(user(store, id).await.email, NEW);
    let outcome = UndoEmailChange {
        now: at(400),
        factor: Some(factor_try(totp(id, 101), at(400))),
        ..with(totp(id, 101))
    };
    undone(store.undo_email_change(outcome).await.unwrap());
    assert!(
        store.find_factors(id).await.unwrap().is_enabled(),
        "the owner's own stays"
    );
}
