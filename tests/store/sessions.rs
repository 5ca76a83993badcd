//! Sessions and their refresh tokens.

use crate::support::*;

on_every_engine![
    sign_in_starts_a_session,
    changed_account_is_not_signed_in,
    wrong_hash_keeps_the_failures,
    session_id_is_given_once,
    session_is_that_of_one_account,
    session_ends_with_its_account,
    snapshot_follows_the_account,
    notice_goes_out_once_for_a_new_network,
    notices_of_new_networks_are_limited,
    failed_sign_in_is_noted,
    refresh_token_is_exchanged,
    repeat_within_the_grace_gives_the_same_successor,
    reuse_after_the_grace_ends_the_session,
    unknown_token_of_a_live_session_counts_as_used,
    token_of_an_ended_session_is_invalid,
    token_of_an_inactive_account_is_invalid,
    session_ends_at_its_greatest_age,
    staff_has_an_age_of_its_own,
    liveness_of_a_token_is_that_of_its_exchange,
    successor_does_not_outlive_the_session,
    long_session_keeps_a_bounded_number_of_tokens,
    sessions_are_listed_newest_first,
    expired_sessions_are_not_listed,
    session_is_signed_out,
    one_session_of_an_account_is_revoked,
    other_sessions_are_revoked,
    sessions_are_revoked_by_their_account_or_staff,
    surplus_sessions_are_evicted,
];

const ANN: &str = "ann@example.com";

async fn rotate(store: &dyn Store, rotation: RotateRefreshToken) -> Rotation {
    store.rotate_refresh_token(rotation).await.unwrap()
}

#[track_caller]
fn rotated(outcome: Rotation) -> String {
    match outcome {
        Rotation::Rotated { refresh_id, .. } => refresh_id,
        other => panic!("{other:?}"),
    }
}

async fn is_live(store: &dyn Store, session_id: &str, token: &str, now: Timestamp) -> bool {
    is_live_within(store, session_id, token, now, SessionLifetimes::default()).await
}

async fn is_live_within(
    store: &dyn Store,
    session_id: &str,
    token: &str,
    now: Timestamp,
    lifetimes: SessionLifetimes,
) -> bool {
    store
        .is_refresh_token_live(session_id, token, now, GRACE, lifetimes)
        .await
        .unwrap()
}

async fn names(store: &dyn Store, id: UserId, now: Timestamp) -> Vec<String> {
    let sessions = store.list_sessions(id, now).await.unwrap().into_iter();
    sessions.map(|session| session.id).collect()
}

/// An account with the session `s`, whose token is `s-0`.
async fn signed_in(store: &dyn Store) -> UserId {
    let id = account(store, ANN).await;
    session_of(store, id, "s").await;
    id
}

async fn sign_in_starts_a_session(store: &dyn Store) {
    let id = account(store, ANN).await;
    let outcome = store
        .create_session(sign_in(id, "hash", "s", at(5)))
        .await
        .unwrap();
    let SignInOutcome::Started {
        user,
        authentication,
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!((user.id, user.last_login_at), (id, Some(at(5))));
    assert_eq!(
        authentication,
        Authentication::by(AuthMethod::Password, at(5))
    );
    let found = store.find_session_user(&named("s", id)).await.unwrap();
    assert_eq!(found, Some(Arc::new(UserSnapshot::new(*user))));
    assert!(is_live(store, "s", "s-0", at(5)).await);
    assert_eq!(count_events(store, id, EventKind::SignIn).await, 1);
}

async fn changed_account_is_not_signed_in(store: &dyn Store) {
    let id = account(store, ANN).await;
    let pending = sign_up("new@example.com", "hash", "code", at(0));
    let pending = created(store.create_sign_up(pending).await.unwrap());
    let inactive = account(store, "bob@example.com").await;
    set_active(store, inactive, false).await;
    for (user_id, hash) in [
        (id, "another"),
        (id + 100, "hash"),
        (pending, "hash"),
        (inactive, "hash"),
    ] {
        let outcome = store
            .create_session(sign_in(user_id, hash, "s", at(5)))
            .await;
        assert_eq!(outcome.unwrap(), SignInOutcome::Changed, "{user_id} {hash}");
        assert!(!is_signed_in(store, user_id, "s").await);
    }
    assert_eq!(user(store, id).await.last_login_at, None);
    assert_eq!(count_events(store, id, EventKind::SignIn).await, 0);
}

async fn wrong_hash_keeps_the_failures(store: &dyn Store) {
    let id = account(store, ANN).await;
    let request = sign_in(id, "another", "s", at(5));
    let tried = request.tried.clone();
    for _ in 0..4 {
        store.count_failed_password(tried.clone()).await.unwrap();
    }
    let outcome = store.create_session(request).await.unwrap();
    assert_eq!(outcome, SignInOutcome::Changed);
    assert_eq!(
        store.count_failed_password(tried.clone()).await.unwrap(),
        None
    );
    assert!(store.find_password_pause(&tried).await.unwrap().is_some());
}

async fn session_id_is_given_once(store: &dyn Store) {
    let id = signed_in(store).await;
    let other = account(store, "bob@example.com").await;
    let taken = store
        .create_session(sign_in(other, "hash", "s", at(5)))
        .await;
    assert!(
        matches!(taken, Err(StoreError::Taken(Field::Id))),
        "{taken:?}"
    );
    assert!(is_signed_in(store, id, "s").await);
    assert_eq!(
        user(store, other).await.last_login_at,
        None,
        "nothing is done by half"
    );
    assert_eq!(count_events(store, other, EventKind::SignIn).await, 0);
}

async fn session_is_that_of_one_account(store: &dyn Store) {
    let id = signed_in(store).await;
    let other = account(store, "bob@example.com").await;
    assert!(is_signed_in(store, id, "s").await);
    assert!(!is_signed_in(store, other, "s").await);
    assert!(!is_signed_in(store, id, "unknown").await);
}

async fn session_ends_with_its_account(store: &dyn Store) {
    let id = signed_in(store).await;
    let other = account(store, "bob@example.com").await;
    session_of(store, other, "t").await;
    set_active(store, id, false).await;
    assert!(!is_signed_in(store, id, "s").await);
    // Revoked sessions stay revoked.
    set_active(store, id, true).await;
    assert!(!is_signed_in(store, id, "s").await);
    store.delete_user(deletion(other)).await.unwrap();
    assert!(!is_signed_in(store, other, "t").await);
    assert!(!is_live(store, "t", "t-0", at(5)).await);
}

async fn snapshot_follows_the_account(store: &dyn Store) {
    let id = signed_in(store).await;
    for name in ["First", "Second"] {
        // Asked twice: the second answer may come from a cache.
        for _ in 0..2 {
            assert!(is_signed_in(store, id, "s").await);
        }
        apply_update(store, update(id, renamed(name), "", at(5))).await;
        let found = store
            .find_session_user(&named("s", id))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(found.profile.first_name, name);
    }
}

/// A sign-in from a network that asks for a notice.
fn from(id: UserId, session_id: &str, network: &str) -> SignIn {
    let mut sign_in = sign_in(id, "hash", session_id, at(5));
    sign_in.session.network = network.into();
    sign_in.notice = Some(notice("new network"));
    sign_in
}

async fn notice_goes_out_once_for_a_new_network(store: &dyn Store) {
    let id = account(store, ANN).await;
    begin(store, from(id, "first", "198.51.100.1")).await;
    assert!(mails(store).await.is_empty(), "the first sign-in of all");
    begin(store, from(id, "known", "198.51.100.1")).await;
    assert!(mails(store).await.is_empty());
    begin(store, from(id, "new", "198.51.100.2")).await;
    begin(store, from(id, "again", "198.51.100.2")).await;
    assert_eq!(
        mails(store).await,
        [(ANN.to_owned(), "new network".to_owned())]
    );
}

async fn notices_of_new_networks_are_limited(store: &dyn Store) {
    let id = account(store, ANN).await;
    for number in 0..8 {
        let network = format!("198.51.100.{number}");
        begin(store, from(id, &format!("s{number}"), &network)).await;
    }
    assert_eq!(
        mails(store).await.len(),
        4,
        "five new networks a day, without the first"
    );
}

async fn failed_sign_in_is_noted(store: &dyn Store) {
    let id = account(store, ANN).await;
    let context = RequestContext {
        ip: "198.51.100.1".into(),
        ..RequestContext::default()
    };
    for user_id in [Some(id), None] {
        store
            .note_failed_sign_in(user_id, context.clone(), at(5))
            .await
            .unwrap();
    }
    assert_eq!(count_events(store, id, EventKind::SignInFailed).await, 1);
    let query = EventQuery {
        limit: 10,
        ..EventQuery::default()
    };
    let events = store.list_events(query).await.unwrap();
    let failed = events
        .iter()
        .filter(|event| event.kind == EventKind::SignInFailed);
    assert_eq!(failed.filter(|event| event.user_id.is_none()).count(), 1);
}

async fn refresh_token_is_exchanged(store: &dyn Store) {
    let id = signed_in(store).await;
    let outcome = rotate(store, rotation("s", "s-0", "s-1", at(5))).await;
    let expected = Rotation::Rotated {
        user: Box::new(user(store, id).await),
        created_at: at(0),
        authentication: Authentication::by(AuthMethod::Password, at(0)),
        refresh_id: "s-1".into(),
    };
    assert_eq!(outcome, expected);
    assert!(is_live(store, "s", "s-1", at(5)).await);
    let session = &store.list_sessions(id, at(5)).await.unwrap()[0];
    assert_eq!((session.last_used_at, &*session.ip), (at(5), "203.0.113.8"));
    assert_eq!(
        rotated(rotate(store, rotation("s", "s-1", "s-2", at(6))).await),
        "s-2"
    );
}

async fn repeat_within_the_grace_gives_the_same_successor(store: &dyn Store) {
    signed_in(store).await;
    rotated(rotate(store, rotation("s", "s-0", "s-1", at(5))).await);
    for (name, now) in [("s-2", at(5)), ("s-3", at(14))] {
        assert!(is_live(store, "s", "s-0", now).await);
        assert_eq!(
            rotated(rotate(store, rotation("s", "s-0", name, now)).await),
            "s-1"
        );
    }
    assert!(!is_live(store, "s", "s-2", at(14)).await);
    let without = RotateRefreshToken {
        grace: Duration::ZERO,
        ..rotation("s", "s-0", "s-4", at(5))
    };
    assert_eq!(rotate(store, without).await, Rotation::Reused);
}

async fn reuse_after_the_grace_ends_the_session(store: &dyn Store) {
    let id = signed_in(store).await;
    session_of(store, id, "other").await;
    rotated(rotate(store, rotation("s", "s-0", "s-1", at(5))).await);
    assert!(!is_live(store, "s", "s-0", at(15)).await);
    assert!(is_live(store, "s", "s-1", at(15)).await);
    assert_eq!(
        rotate(store, rotation("s", "s-0", "s-2", at(15))).await,
        Rotation::Reused
    );
    assert!(
        !is_signed_in(store, id, "s").await,
        "the whole session has ended"
    );
    assert_eq!(
        rotate(store, rotation("s", "s-1", "s-3", at(15))).await,
        Rotation::Invalid
    );
    assert!(is_signed_in(store, id, "other").await);
    assert_eq!(count_events(store, id, EventKind::TokenReused).await, 1);
}

async fn unknown_token_of_a_live_session_counts_as_used(store: &dyn Store) {
    let id = signed_in(store).await;
    session_of(store, id, "other").await;
    let outcome = rotate(store, rotation("s", "other-0", "s-1", at(5))).await;
    assert_eq!(outcome, Rotation::Reused, "a token of another session");
    assert!(!is_signed_in(store, id, "s").await);
    assert!(is_live(store, "other", "other-0", at(5)).await);
    let outcome = rotate(store, rotation("other", "unknown", "o-1", at(5))).await;
    assert_eq!(outcome, Rotation::Reused);
    let gone = store.delete_session("other", RequestContext::default(), at(6));
    assert!(!gone.await.unwrap());
}

async fn token_of_an_ended_session_is_invalid(store: &dyn Store) {
    signed_in(store).await;
    end_session(store, "s").await;
    for session_id in ["s", "unknown"] {
        let outcome = rotate(store, rotation(session_id, "s-0", "s-1", at(5))).await;
        assert_eq!(outcome, Rotation::Invalid);
        assert!(!is_live(store, session_id, "s-0", at(5)).await);
    }
}

async fn token_of_an_inactive_account_is_invalid(store: &dyn Store) {
    let id = signed_in(store).await;
    set_active(store, id, false).await;
    let outcome = rotate(store, rotation("s", "s-0", "s-1", at(5))).await;
    assert_eq!(outcome, Rotation::Invalid);
}

const HOUR: Duration = Duration::from_hours(1);

/// Sessions of users last two hours, those of staff one.
const AGES: SessionLifetimes = SessionLifetimes {
    user: Some(Duration::from_hours(2)),
    staff: Some(HOUR),
};

async fn session_ends_at_its_greatest_age(store: &dyn Store) {
    let id = signed_in(store).await;
    let aged = |from: &str, to: &str, now| RotateRefreshToken {
        lifetimes: AGES,
        ..rotation("s", from, to, now)
    };
    assert!(is_live_within(store, "s", "s-0", at(7199), AGES).await);
    rotated(rotate(store, aged("s-0", "s-1", at(7199))).await);
    assert!(!is_live_within(store, "s", "s-1", at(7200), AGES).await);
    assert_eq!(
        rotate(store, aged("s-1", "s-2", at(7200))).await,
        Rotation::Invalid
    );
    assert!(!is_signed_in(store, id, "s").await);
    assert_eq!(count_events(store, id, EventKind::TokenReused).await, 0);
}

async fn staff_has_an_age_of_its_own(store: &dyn Store) {
    let id = staff(store, "root@example.com").await;
    session_of(store, id, "s").await;
    assert!(is_live_within(store, "s", "s-0", at(3599), AGES).await);
    assert!(!is_live_within(store, "s", "s-0", at(3600), AGES).await);
    let aged = RotateRefreshToken {
        lifetimes: AGES,
        ..rotation("s", "s-0", "s-1", at(3600))
    };
    assert_eq!(rotate(store, aged).await, Rotation::Invalid);
}

async fn liveness_of_a_token_is_that_of_its_exchange(store: &dyn Store) {
    signed_in(store).await;
    assert!(is_live(store, "s", "s-0", at(1)).await && !is_live(store, "s", "s-1", at(1)).await);
    rotated(rotate(store, rotation("s", "s-0", "s-1", at(1))).await);
    assert!(is_live(store, "s", "s-0", at(10)).await && is_live(store, "s", "s-1", at(10)).await);
    assert!(!is_live(store, "s", "s-0", at(11)).await && is_live(store, "s", "s-1", at(11)).await);
    assert!(!is_live(store, "other", "s-1", at(11)).await);
}

async fn successor_does_not_outlive_the_session(store: &dyn Store) {
    let id = account(store, ANN).await;
    let mut aged = sign_in(id, "hash", "s", at(0));
    aged.session.lifetimes = AGES;
    begin(store, aged).await;
    let aged = RotateRefreshToken {
        lifetimes: AGES,
        ..rotation("s", "s-0", "s-1", at(5))
    };
    rotated(rotate(store, aged).await);
    assert_eq!(names(store, id, at(7199)).await, ["s"]);
    assert!(names(store, id, at(7200)).await.is_empty());
}

async fn long_session_keeps_a_bounded_number_of_tokens(store: &dyn Store) {
    signed_in(store).await;
    for number in 0..110 {
        let (from, to) = (format!("s-{number}"), format!("s-{}", number + 1));
        let rotation = RotateRefreshToken {
            grace: HOUR,
            ..rotation("s", &from, &to, at(number))
        };
        assert_eq!(rotated(rotate(store, rotation).await), to);
    }
    let is_live = async |token: &str| {
        let ages = SessionLifetimes::default();
        store
            .is_refresh_token_live("s", token, at(110), HOUR, ages)
            .await
            .unwrap()
    };
    assert!(is_live("s-110").await && is_live("s-109").await && is_live("s-20").await);
    assert!(!is_live("s-1").await, "the oldest of more than a hundred");
}

async fn sessions_are_listed_newest_first(store: &dyn Store) {
    let id = account(store, ANN).await;
    let other = account(store, "bob@example.com").await;
    for (name, now) in [("one", at(1)), ("two", at(2)), ("three", at(3))] {
        begin(store, sign_in(id, "hash", name, now)).await;
    }
    session_of(store, other, "of another").await;
    assert_eq!(names(store, id, at(5)).await, ["three", "two", "one"]);
    let expected = Session {
        id: "one".into(),
        created_at: at(1),
        last_used_at: at(1),
        ip: "203.0.113.7".into(),
        user_agent: "browser".into(),
        authentication: Authentication::by(AuthMethod::Password, at(1)),
        client_name: None,
    };
    assert_eq!(store.list_sessions(id, at(5)).await.unwrap()[2], expected);
}

async fn expired_sessions_are_not_listed(store: &dyn Store) {
    let id = signed_in(store).await;
    let day = 86_400;
    assert_eq!(names(store, id, at(day - 1)).await, ["s"]);
    assert!(names(store, id, at(day)).await.is_empty());
    rotated(rotate(store, rotation("s", "s-0", "s-1", at(100))).await);
    assert_eq!(
        names(store, id, at(day)).await,
        ["s"],
        "a refresh extends it"
    );
}

async fn session_is_signed_out(store: &dyn Store) {
    let id = signed_in(store).await;
    session_of(store, id, "other").await;
    end_session(store, "s").await;
    assert!(!is_signed_in(store, id, "s").await);
    assert!(is_signed_in(store, id, "other").await);
    assert_eq!(count_events(store, id, EventKind::SignOut).await, 1);
    let again = store.delete_session("s", RequestContext::default(), at(5));
    assert!(!again.await.unwrap());
    assert_eq!(count_events(store, id, EventKind::SignOut).await, 1);
}

async fn one_session_of_an_account_is_revoked(store: &dyn Store) {
    let id = signed_in(store).await;
    session_of(store, id, "other").await;
    let stranger = account(store, "bob@example.com").await;
    session_of(store, stranger, "of another").await;
    let revoke = async |name: &str| {
        store
            .delete_user_session(id, name, by(id, "s"), at(5))
            .await
            .unwrap()
    };
    assert!(!revoke("of another").await);
    assert!(!revoke("unknown").await);
    assert!(is_signed_in(store, stranger, "of another").await);
    assert!(revoke("other").await);
    assert!(!revoke("other").await);
    assert!(!is_signed_in(store, id, "other").await && is_signed_in(store, id, "s").await);
    let revoked = (EventKind::SessionsRevoked, "1".to_owned());
    assert_eq!(events(store, id).await.last(), Some(&revoked));
}

async fn other_sessions_are_revoked(store: &dyn Store) {
    let id = signed_in(store).await;
    session_of(store, id, "two").await;
    browse(store, id, "three").await;
    let stranger = account(store, "bob@example.com").await;
    session_of(store, stranger, "of another").await;
    let revoke = async || {
        let revoked = store
            .delete_other_sessions(id, "s", by(id, "s"), at(5))
            .await;
        revoked.unwrap()
    };
    assert_eq!(revoke().await, 2);
    assert_eq!(names(store, id, at(5)).await, ["s"]);
    assert!(is_signed_in(store, stranger, "of another").await);
    let revoked = (EventKind::SessionsRevoked, "2".to_owned());
    assert_eq!(events(store, id).await.last(), Some(&revoked));
    assert_eq!(revoke().await, 0);
    assert_eq!(count_events(store, id, EventKind::SessionsRevoked).await, 1);
}

async fn sessions_are_revoked_by_their_account_or_staff(store: &dyn Store) {
    let id = signed_in(store).await;
    for (context, reason) in outsiders(store).await {
        let one = store
            .delete_user_session(id, "s", context.clone(), at(5))
            .await;
        assert_refused(one, reason);
        assert_refused(
            store.delete_other_sessions(id, "", context, at(5)).await,
            reason,
        );
    }
    // A session of its own, but that of another account.
    let stranger = by(id, "outsider");
    assert_refused(
        store.delete_other_sessions(id, "", stranger, at(5)).await,
        "SessionEnded",
    );
    assert!(is_signed_in(store, id, "s").await);
    let root = staff(store, "root@example.com").await;
    session_of(store, root, "root").await;
    let revoked = store
        .delete_user_session(id, "s", by(root, "root"), at(5))
        .await;
    assert!(revoked.unwrap());
}

async fn surplus_sessions_are_evicted(store: &dyn Store) {
    let id = account(store, ANN).await;
    for number in 0..100 {
        begin(
            store,
            sign_in(id, "hash", &format!("s{number}"), at(number)),
        )
        .await;
    }
    // It was refreshed, so that those without a live access token go first.
    rotated(rotate(store, rotation("s0", "s0-0", "s0-1", at(100))).await);
    begin(store, sign_in(id, "hash", "new", at(1000))).await;
    assert_eq!(names(store, id, at(1000)).await.len(), 100);
    for (name, is_live) in [("s0", true), ("s1", false), ("s2", true), ("new", true)] {
        assert_eq!(is_signed_in(store, id, name).await, is_live, "{name}");
    }
    let revoked = (EventKind::SessionsRevoked, "1".to_owned());
    assert_eq!(events(store, id).await.last(), Some(&revoked));
}
