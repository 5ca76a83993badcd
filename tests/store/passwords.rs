//! Passwords: changing and resetting them.

use crate::support::*;

on_every_engine![
    hash_is_found_by_account,
    new_password_ends_all_sessions_but_the_new_one,
    password_that_has_changed_is_not_replaced,
    new_password_voids_codes_and_a_pending_address,
    owner_is_notified_at_confirmed_addresses,
    notices_of_a_day_are_limited,
    password_is_replaced_by_its_owner_or_staff,
    rehash_keeps_sessions_and_reset_links,
    rehash_of_a_changed_password_is_refused,
    reset_is_mailed_and_replaces_the_earlier_one,
    reset_is_for_active_accounts_with_the_confirmed_address,
    resets_are_throttled,
    reset_by_a_session_needs_staff,
    same_digits_serve_two_accounts_and_a_repeat,
    reset_code_is_checked_without_being_used,
    confirmed_reset_sets_the_password_once,
    reset_of_an_unverified_account_verifies_it_without_the_fields,
    reset_makes_the_network_known_and_ends_its_pauses,
    expired_reset_code_is_refused,
    reset_link_is_void_after_a_new_password,
    dead_reset_code_is_refused,
];

const ANN: &str = "ann@example.com";

/// A reset with a code, and with a link whose token is `link of <code>`.
fn reset(email: &str, code: &str, now: Timestamp) -> ResetRequest {
    let mut otp = otp(email, code, now);
    otp.token_hash = Some(format!("link of {code}").into_bytes());
    ResetRequest {
        email_key: email.into(),
        otp,
        now,
        limits: LIMITLESS,
        context: RequestContext::default(),
    }
}

async fn mail_reset(store: &dyn Store, code: &str) {
    let reissued = store.create_password_reset(reset(ANN, code, at(10))).await;
    assert!(reissued.unwrap().is_some());
}

async fn check(store: &dyn Store, code: &str) -> Option<UserId> {
    let attempt = attempt(ANN, code, at(20));
    let user = store.check_password_reset(attempt).await.unwrap();
    user.map(|user| user.id)
}

async fn confirm(store: &dyn Store, attempt: OtpAttempt) -> Option<User> {
    let notices = vec![notice("reset notice")];
    store
        .confirm_password_reset(attempt, "new", notices)
        .await
        .unwrap()
}

fn by_link(code: &str) -> OtpAttempt {
    OtpAttempt {
        code_hash: None,
        token_hash: Some(format!("link of {code}").into_bytes()),
        ..attempt(ANN, "", at(20))
    }
}

/// The change of the password `hash`.
fn change(user_id: UserId, new_hash: &str) -> ReplacePassword {
    ReplacePassword {
        user_id,
        old_hash: Some("hash".into()),
        new_hash: new_hash.into(),
        session: None,
        now: at(10),
        notices: vec![notice("notice"), notice("notice to another")],
        context: RequestContext::default(),
    }
}

async fn hash(store: &dyn Store, id: UserId) -> String {
    store.find_password_hash(id).await.unwrap().unwrap()
}

async fn hash_is_found_by_account(store: &dyn Store) {
    let id = account(store, ANN).await;
    assert_eq!(hash(store, id).await, "hash");
    assert_eq!(store.find_password_hash(id + 1).await.unwrap(), None);
}

async fn new_password_ends_all_sessions_but_the_new_one(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    let other = verified(store, "bob@example.com", at(0)).await;
    browse(store, id, "browser").await;
    let request = ReplacePassword {
        session: Some(session("new", at(10))),
        ..change(id, "new")
    };
    let changed = store.replace_password(request).await.unwrap();
    assert_eq!(changed.map(|user| user.id), Some(id));
    assert_eq!(hash(store, id).await, "new");
    for (name, is_live) in [(ANN, false), ("browser", false), ("new", true)] {
        assert_eq!(is_signed_in(store, id, name).await, is_live, "{name}");
    }
    assert!(is_signed_in(store, other, "bob@example.com").await);
    assert_eq!(hash(store, other).await, "hash");
    assert_eq!(count_events(store, id, EventKind::PasswordChanged).await, 1);
}

async fn password_that_has_changed_is_not_replaced(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    let stale = ReplacePassword {
        old_hash: Some("former".into()),
        ..change(id, "new")
    };
    assert_eq!(store.replace_password(stale).await.unwrap(), None);
    assert_eq!(
        store.replace_password(change(id + 1, "new")).await.unwrap(),
        None
    );
    assert_eq!(hash(store, id).await, "hash");
    assert!(is_signed_in(store, id, ANN).await);
    assert!(!mail_contents(store).await.contains(&"notice".into()));
    let forced = ReplacePassword {
        old_hash: None,
        ..change(id, "new")
    };
    assert!(store.replace_password(forced).await.unwrap().is_some());
    assert_eq!(hash(store, id).await, "new");
}

async fn new_password_voids_codes_and_a_pending_address(store: &dyn Store) {
    let id = account(store, ANN).await;
    mail_reset(store, "code").await;
    apply_update(store, update(id, moved("new@example.com"), "b", at(5))).await;
    store.replace_password(change(id, "new")).await.unwrap();
    assert_eq!(check(store, "code").await, None);
    assert_eq!(user(store, id).await.new_email, None);
    let confirmed = store.confirm_email_change(AccountOtp {
        user_id: id,
        attempt: attempt("new@example.com", "b", at(11)),
        notices: Vec::new(),
    });
    assert_eq!(confirmed.await.unwrap(), None);
}

async fn owner_is_notified_at_confirmed_addresses(store: &dyn Store) {
    let id = account(store, ANN).await;
    apply_update(store, update(id, moved("new@example.com"), "b", at(5))).await;
    let confirmed = store.confirm_email_change(AccountOtp {
        user_id: id,
        attempt: attempt("new@example.com", "b", at(6)),
        notices: Vec::new(),
    });
    assert!(confirmed.await.unwrap().is_some());
    empty_queue(store).await;
    store.replace_password(change(id, "new")).await.unwrap();
    let expected = [("new@example.com", "notice"), (ANN, "notice to another")];
    let expected = expected.map(|(email, content)| (email.to_owned(), content.to_owned()));
    assert_eq!(mails(store).await, expected);
}

async fn notices_of_a_day_are_limited(store: &dyn Store) {
    let id = account(store, ANN).await;
    for _ in 0..7 {
        assert!(
            store
                .replace_password(change(id, "hash"))
                .await
                .unwrap()
                .is_some()
        );
    }
    assert_eq!(mails(store).await.len(), 5);
    let tomorrow = ReplacePassword {
        now: at(86_411),
        ..change(id, "hash")
    };
    store.replace_password(tomorrow).await.unwrap();
    assert_eq!(mails(store).await.len(), 6);
}

async fn password_is_replaced_by_its_owner_or_staff(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    for (context, reason) in outsiders(store).await {
        let request = ReplacePassword {
            context,
            ..change(id, "new")
        };
        assert_refused(store.replace_password(request).await, reason);
    }
    assert_eq!(hash(store, id).await, "hash");
    assert!(is_signed_in(store, id, ANN).await);
    let root = staff(store, "root@example.com").await;
    session_of(store, root, "root").await;
    for context in [by(id, ANN), by(root, "root")] {
        let request = ReplacePassword {
            old_hash: None,
            context,
            ..change(id, "new")
        };
        assert!(store.replace_password(request).await.unwrap().is_some());
    }
}

async fn rehash_keeps_sessions_and_reset_links(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    mail_reset(store, "code").await;
    assert!(store.rehash_password(id, "hash", "stronger").await.unwrap());
    assert_eq!(hash(store, id).await, "stronger");
    assert!(is_signed_in(store, id, ANN).await);
    let link = store.find_otp_token(b"link of code", at(20)).await.unwrap();
    assert!(link.is_some());
}

async fn rehash_of_a_changed_password_is_refused(store: &dyn Store) {
    let id = account(store, ANN).await;
    assert!(
        !store
            .rehash_password(id, "former", "stronger")
            .await
            .unwrap()
    );
    assert!(
        !store
            .rehash_password(id + 1, "hash", "stronger")
            .await
            .unwrap()
    );
    assert_eq!(hash(store, id).await, "hash");
}

async fn reset_is_mailed_and_replaces_the_earlier_one(store: &dyn Store) {
    let id = account(store, "Ann@example.com").await;
    let reissued = store.create_password_reset(reset(ANN, "one", at(10))).await;
    let expected = Reissued {
        user_id: id,
        purpose: OtpPurpose::PasswordReset,
        email: address("Ann@example.com"),
    };
    assert_eq!(reissued.unwrap(), Some(expected));
    mail_reset(store, "two").await;
    // The code that was replaced is not mailed any more.
    assert_eq!(
        mails(store).await,
        [("Ann@example.com".to_owned(), "two".to_owned())]
    );
    assert_eq!(check(store, "one").await, None);
    assert_eq!(check(store, "two").await, Some(id));
    assert_eq!(
        count_events(store, id, EventKind::PasswordResetRequested).await,
        2
    );
}

async fn reset_is_for_active_accounts_with_the_confirmed_address(store: &dyn Store) {
    let id = account(store, ANN).await;
    apply_update(store, update(id, moved("new@example.com"), "b", at(5))).await;
    empty_queue(store).await;
    for email in ["new@example.com", "nobody@example.com"] {
        let outcome = store
            .create_password_reset(reset(email, "code", at(10)))
            .await;
        assert_eq!(outcome.unwrap(), None, "{email}");
    }
    set_active(store, id, false).await;
    let outcome = store
        .create_password_reset(reset(ANN, "code", at(10)))
        .await;
    assert_eq!(outcome.unwrap(), None, "inactive");
    assert!(mails(store).await.is_empty());
}

async fn resets_are_throttled(store: &dyn Store) {
    let id = account(store, ANN).await;
    let strict = |code: &str, now| ResetRequest {
        limits: STRICT,
        ..reset(ANN, code, now)
    };
    assert!(
        store
            .create_password_reset(strict("one", at(10)))
            .await
            .unwrap()
            .is_some()
    );
    let outcome = store.create_password_reset(strict("two", at(69))).await;
    assert_eq!(outcome.unwrap(), None);
    assert_eq!(check(store, "one").await, Some(id), "the live code stays");
    assert!(
        store
            .create_password_reset(strict("two", at(70)))
            .await
            .unwrap()
            .is_some()
    );
    // Requests for unknown addresses are counted as well, without any mail.
    let unknown = ResetRequest {
        email_key: "nobody@example.com".into(),
        ..strict("three", at(71))
    };
    assert_eq!(store.create_password_reset(unknown).await.unwrap(), None);
}

async fn reset_by_a_session_needs_staff(store: &dyn Store) {
    account(store, ANN).await;
    for (context, reason) in outsiders(store).await {
        let request = ResetRequest {
            context,
            ..reset(ANN, "code", at(10))
        };
        assert_refused(store.create_password_reset(request).await, reason);
    }
    assert!(mails(store).await.is_empty());
    let root = staff(store, "root@example.com").await;
    session_of(store, root, "root").await;
    let request = ResetRequest {
        context: by(root, "root"),
        ..reset(ANN, "code", at(10))
    };
    assert!(
        store
            .create_password_reset(request)
            .await
            .unwrap()
            .is_some()
    );
}

async fn same_digits_serve_two_accounts_and_a_repeat(store: &dyn Store) {
    let id = account(store, ANN).await;
    let other = account(store, "bob@example.com").await;
    for (email, user_id) in [(ANN, id), ("bob@example.com", other), (ANN, id)] {
        let mut request = reset(email, "code", at(10));
        request.otp.token_hash = None;
        let reissued = store.create_password_reset(request).await.unwrap();
        assert_eq!(reissued.map(|reissued| reissued.user_id), Some(user_id));
    }
    assert_eq!(check(store, "code").await, Some(id));
}

async fn reset_code_is_checked_without_being_used(store: &dyn Store) {
    let id = account(store, ANN).await;
    mail_reset(store, "code").await;
    assert_eq!(check(store, "wrong").await, None);
    for _ in 0..2 {
        assert_eq!(check(store, "code").await, Some(id));
        let by_link = store.check_password_reset(by_link("code")).await.unwrap();
        assert_eq!(by_link.map(|user| user.id), Some(id));
    }
    assert_eq!(count_events(store, id, EventKind::OtpFailed).await, 1);
}

async fn confirmed_reset_sets_the_password_once(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    apply_update(store, update(id, moved("new@example.com"), "b", at(5))).await;
    empty_queue(store).await;
    mail_reset(store, "code").await;
    let confirmed = confirm(store, attempt(ANN, "code", at(20))).await.unwrap();
    assert_eq!((confirmed.id, confirmed.verified_at), (id, Some(at(0))));
    assert_eq!(confirmed.new_email, None, "a pending address is dropped");
    assert_eq!(hash(store, id).await, "new");
    assert!(!is_signed_in(store, id, ANN).await);
    assert_eq!(
        mails(store).await,
        [(ANN.to_owned(), "reset notice".to_owned())]
    );
    assert_eq!(count_events(store, id, EventKind::PasswordReset).await, 1);
    for again in [attempt(ANN, "code", at(20)), by_link("code")] {
        assert_eq!(confirm(store, again).await, None);
    }
}

async fn reset_of_an_unverified_account_verifies_it_without_the_fields(store: &dyn Store) {
    let id = created(
        store
            .create_sign_up(sign_up(ANN, "hash", "sign-up", at(0)))
            .await
            .unwrap(),
    );
    mail_reset(store, "code").await;
    let confirmed = confirm(store, by_link("code")).await.unwrap();
    assert_eq!((confirmed.id, confirmed.verified_at), (id, Some(at(20))));
    assert_eq!(
        confirmed.profile,
        Profile::default(),
        "a stranger may have filled it in"
    );
    let late = confirmation(attempt(ANN, "sign-up", at(21)), session("late", at(21)));
    assert_eq!(store.confirm_sign_up(late).await.unwrap(), None);
}

async fn reset_makes_the_network_known_and_ends_its_pauses(store: &dyn Store) {
    let id = account(store, ANN).await;
    let tried = try_from("198.51.100.1", ANN, Some(id), at(19));
    for _ in 0..5 {
        store.count_failed_password(tried.clone()).await.unwrap();
    }
    assert!(store.find_password_pause(&tried).await.unwrap().is_some());
    mail_reset(store, "code").await;
    let attempt = attempt_from("198.51.100.1", ANN, "code", at(20));
    assert!(confirm(store, attempt).await.is_some());
    assert_eq!(store.find_password_pause(&tried).await.unwrap(), None);
    assert!(store.is_network_known(id, "198.51.100.1").await.unwrap());
}

async fn expired_reset_code_is_refused(store: &dyn Store) {
    let id = account(store, ANN).await;
    mail_reset(store, "code").await;
    let late = [
        attempt(ANN, "code", at(610)),
        OtpAttempt {
            now: at(610),
            ..by_link("code")
        },
    ];
    for attempt in late {
        assert_eq!(confirm(store, attempt).await, None);
    }
    assert_eq!(hash(store, id).await, "hash");
    assert!(
        confirm(store, attempt(ANN, "code", at(609)))
            .await
            .is_some()
    );
}

async fn reset_link_is_void_after_a_new_password(store: &dyn Store) {
    let id = account(store, ANN).await;
    mail_reset(store, "code").await;
    assert!(
        store
            .find_otp_token(b"link of code", at(20))
            .await
            .unwrap()
            .is_some()
    );
    store.replace_password(change(id, "other")).await.unwrap();
    assert_eq!(
        store.find_otp_token(b"link of code", at(20)).await.unwrap(),
        None
    );
    assert_eq!(confirm(store, by_link("code")).await, None);
    assert_eq!(hash(store, id).await, "other");
}

async fn dead_reset_code_is_refused(store: &dyn Store) {
    let id = account(store, ANN).await;
    mail_reset(store, "code").await;
    for _ in 0..5 {
        assert_eq!(check(store, "wrong").await, None);
    }
    assert_eq!(confirm(store, attempt(ANN, "code", at(20))).await, None);
    let other = attempt_from("198.51.100.1", ANN, "code", at(20));
    assert_eq!(confirm(store, other).await.map(|user| user.id), Some(id));
}
