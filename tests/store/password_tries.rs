//! Failed attempts at passwords, and the pauses that they cause.

use crate::support::*;

on_every_engine![
    pauses_of_an_unknown_network_double_up_to_15_minutes,
    pauses_of_a_known_network_double_up_to_a_minute,
    attempt_that_comes_too_early_is_not_counted,
    other_networks_and_accounts_do_not_wait,
    failures_expire_after_a_day,
    too_many_failures_in_an_hour_leave_known_networks_alone,
    unknown_account_is_treated_like_a_known_one,
    failures_of_others_do_not_lock_a_session_out,
    attempts_without_limits_are_not_counted,
    right_password_is_not_answered_during_a_pause,
    right_password_ends_the_pauses_of_its_network,
    failures_are_noted_by_their_source,
    network_is_known_after_a_sign_in,
    networks_are_kept_up_to_a_hundred,
    failures_of_the_future_come_from_a_wrong_clock,
];

/// The network from which [`verified`] signs up.
const KNOWN: &str = "203.0.113.7";

const STRANGE: &str = "198.51.100.1";

async fn pause(store: &dyn Store, tried: &PasswordTry) -> Option<Timestamp> {
    store.find_password_pause(tried).await.unwrap()
}

async fn fail(store: &dyn Store, tried: &PasswordTry) -> Option<Timestamp> {
    store.count_failed_password(tried.clone()).await.unwrap()
}

/// Fails the five times that are free.
async fn use_up(store: &dyn Store, tried: &PasswordTry) {
    for _ in 0..5 {
        assert_eq!(fail(store, tried).await, None);
    }
}

/// The pauses in seconds after eighteen failures, each at the end of the pause before.
async fn pauses(store: &dyn Store, network: &str, id: UserId) -> Vec<u64> {
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..18 {
        let tried = try_from(network, "zoe", Some(id), now);
        assert_eq!(pause(store, &tried).await, None);
        assert_eq!(fail(store, &tried).await, None);
        if let Some(until) = pause(store, &tried).await {
            pauses.push(until.since(now).as_secs());
            now = until;
        }
    }
    pauses
}

async fn pauses_of_an_unknown_network_double_up_to_15_minutes(store: &dyn Store) {
    let id = verified(store, "zoe@example.com", at(0)).await;
    let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900];
    assert_eq!(pauses(store, STRANGE, id).await, expected);
}

async fn pauses_of_a_known_network_double_up_to_a_minute(store: &dyn Store) {
    let id = verified(store, "zoe@example.com", at(0)).await;
    let expected = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60, 60, 60];
    assert_eq!(pauses(store, KNOWN, id).await, expected);
}

async fn attempt_that_comes_too_early_is_not_counted(store: &dyn Store) {
    let tried = try_from(STRANGE, "zoe", None, at(0));
    use_up(store, &tried).await;
    for _ in 0..3 {
        assert_eq!(fail(store, &tried).await, Some(at(1)));
    }
    let later = try_from(STRANGE, "zoe", None, at(1));
    assert_eq!(fail(store, &later).await, None);
    assert_eq!(pause(store, &later).await, Some(at(3)), "the second pause");
}

async fn other_networks_and_accounts_do_not_wait(store: &dyn Store) {
    let id = account(store, "zoe@example.com").await;
    use_up(store, &try_from(STRANGE, "zoe", Some(id), at(0))).await;
    for (network, account) in [("198.51.100.2", "zoe"), (STRANGE, "other")] {
        let tried = try_from(network, account, Some(id), at(0));
        assert_eq!(pause(store, &tried).await, None, "{network} {account}");
    }
}

async fn failures_expire_after_a_day(store: &dyn Store) {
    for _ in 0..20 {
        let tried = try_from(STRANGE, "zoe", None, at(0));
        let until = pause(store, &tried).await;
        let tried = PasswordTry {
            now: until.unwrap_or(at(0)),
            ..tried
        };
        fail(store, &tried).await;
    }
    let tomorrow = try_from(STRANGE, "zoe", None, at(3 * 86_400));
    assert_eq!(pause(store, &tomorrow).await, None);
    assert!(
        store
            .delete_expired(tomorrow.now, None, None)
            .await
            .unwrap()
            > 0
    );
    use_up(store, &tomorrow).await;
}

/// Fails a hundred times, each time from another network.
async fn fill_the_hour(store: &dyn Store, account: &str) {
    for number in 0..100 {
        let tried = try_from(&format!("192.0.2.{number}"), account, None, at(0));
        assert_eq!(fail(store, &tried).await, None);
    }
}

async fn too_many_failures_in_an_hour_leave_known_networks_alone(store: &dyn Store) {
    let id = verified(store, "zoe@example.com", at(0)).await;
    fill_the_hour(store, "zoe").await;
    let stranger = try_from(STRANGE, "zoe", Some(id), at(1));
    assert_eq!(pause(store, &stranger).await, Some(at(3600)));
    let owner = try_from(KNOWN, "zoe", Some(id), at(1));
    assert_eq!(pause(store, &owner).await, None);
    let late = SignIn {
        tried: stranger,
        ..sign_in(id, "hash", "late", at(1))
    };
    let outcome = store.create_session(late).await.unwrap();
    assert_eq!(outcome, SignInOutcome::Throttled { until: at(3600) });
    let owner = SignIn {
        tried: owner,
        ..sign_in(id, "hash", "owner", at(1))
    };
    begin(store, owner).await;
    let stranger = try_from(STRANGE, "zoe", Some(id), at(3600));
    assert_eq!(pause(store, &stranger).await, None);
}

async fn unknown_account_is_treated_like_a_known_one(store: &dyn Store) {
    fill_the_hour(store, "nobody").await;
    let tried = try_from(STRANGE, "nobody", None, at(0));
    assert_eq!(pause(store, &tried).await, Some(at(3600)));
}

async fn failures_of_others_do_not_lock_a_session_out(store: &dyn Store) {
    let id = verified(store, "zoe@example.com", at(0)).await;
    fill_the_hour(store, "zoe").await;
    let confirmed = PasswordTry {
        source: TrySource::Session("zoe@example.com".into()),
        ..try_from(STRANGE, "zoe", Some(id), at(1))
    };
    assert_eq!(pause(store, &confirmed).await, None);
    use_up(store, &confirmed).await;
    assert_eq!(
        pause(store, &confirmed).await,
        Some(at(2)),
        "its own failures"
    );
    let another = PasswordTry {
        source: TrySource::Session("another".into()),
        ..confirmed
    };
    assert_eq!(pause(store, &another).await, None);
}

async fn attempts_without_limits_are_not_counted(store: &dyn Store) {
    let id = account(store, "zoe@example.com").await;
    let limited = try_from(STRANGE, "zoe", Some(id), at(0));
    let unlimited = PasswordTry {
        limits: None,
        ..limited.clone()
    };
    for _ in 0..20 {
        assert_eq!(fail(store, &unlimited).await, None);
    }
    assert_eq!(pause(store, &unlimited).await, None);
    use_up(store, &limited).await;
    assert!(count_events(store, id, EventKind::SignInFailed).await > 0);
}

async fn right_password_is_not_answered_during_a_pause(store: &dyn Store) {
    let id = verified(store, "zoe@example.com", at(0)).await;
    let tried = try_from(STRANGE, "zoe", Some(id), at(0));
    use_up(store, &tried).await;
    let attempt = |session_id: &str, now| SignIn {
        tried: PasswordTry {
            now,
            ..tried.clone()
        },
        ..sign_in(id, "hash", session_id, now)
    };
    let outcome = store.create_session(attempt("early", at(0))).await.unwrap();
    assert_eq!(outcome, SignInOutcome::Throttled { until: at(1) });
    assert!(!is_signed_in(store, id, "early").await);
    begin(store, attempt("later", at(1))).await;
}

async fn right_password_ends_the_pauses_of_its_network(store: &dyn Store) {
    let id = verified(store, "zoe@example.com", at(0)).await;
    let strange = try_from(STRANGE, "zoe", Some(id), at(0));
    let other = try_from("198.51.100.2", "zoe", Some(id), at(0));
    for tried in [&strange, &other] {
        use_up(store, tried).await;
    }
    let right = SignIn {
        tried: PasswordTry {
            now: at(1),
            ..strange.clone()
        },
        ..sign_in(id, "hash", "s", at(1))
    };
    begin(store, right).await;
    assert_eq!(pause(store, &strange).await, None);
    assert_eq!(pause(store, &other).await, Some(at(1)));
}

async fn failures_are_noted_by_their_source(store: &dyn Store) {
    let id = account(store, "zoe@example.com").await;
    let tried = try_from(STRANGE, "zoe", Some(id), at(0));
    fail(store, &tried).await;
    let confirmed = PasswordTry {
        source: TrySource::Session("s".into()),
        ..tried
    };
    fail(store, &confirmed).await;
    for kind in [EventKind::SignInFailed, EventKind::PasswordCheckFailed] {
        assert_eq!(count_events(store, id, kind).await, 1, "{kind:?}");
    }
}

async fn network_is_known_after_a_sign_in(store: &dyn Store) {
    let id = account(store, "zoe@example.com").await;
    let is_known = async |id| store.is_network_known(id, KNOWN).await.unwrap();
    assert!(!is_known(id).await);
    fail(store, &try_from(KNOWN, "zoe", Some(id), at(0))).await;
    assert!(!is_known(id).await, "by a failure");
    session_of(store, id, "s").await;
    assert!(is_known(id).await);
    assert!(!is_known(id + 1).await);
    assert!(!store.is_network_known(id, STRANGE).await.unwrap());
}

async fn networks_are_kept_up_to_a_hundred(store: &dyn Store) {
    let id = account(store, "zoe@example.com").await;
    for number in 0..101 {
        let mut sign_in = sign_in(id, "hash", &format!("s{number}"), at(number));
        sign_in.session.network = format!("192.0.2.{number}");
        begin(store, sign_in).await;
    }
    let is_known = async |network| store.is_network_known(id, network).await.unwrap();
    assert!(!is_known("192.0.2.0").await, "the least recently seen");
    assert!(is_known("192.0.2.1").await && is_known("192.0.2.100").await);
}

async fn failures_of_the_future_come_from_a_wrong_clock(store: &dyn Store) {
    use_up(store, &try_from(STRANGE, "zoe", None, at(7200))).await;
    let tried = try_from(STRANGE, "zoe", None, at(0));
    assert_eq!(pause(store, &tried).await, None);
}
