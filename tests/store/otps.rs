//! Codes: their use, wrong ones, and resending them.

use crate::support::*;

on_every_engine![
    code_confirms_a_sign_up_once,
    code_confirms_its_own_sign_up,
    expired_and_wrong_codes_are_refused,
    sign_up_of_an_inactive_account_is_not_confirmed,
    contested_account_loses_fields_and_password,
    proven_password_keeps_a_contested_sign_up,
    password_of_a_contested_sign_up_is_found_without_using_the_code,
    link_confirms_like_its_code,
    links_are_found_until_they_expire,
    link_of_a_used_code_is_void,
    network_has_five_tries_at_a_code,
    code_takes_25_wrong_tries_of_all_networks,
    account_takes_100_wrong_codes_a_day,
    wrong_codes_of_the_future_come_from_a_wrong_clock,
    code_counts_for_its_own_purpose,
    address_change_is_confirmed_by_its_own_account,
    confirmed_address_replaces_the_former_one,
    address_change_needs_its_session,
    code_is_reissued_for_a_pending_sign_up,
    code_is_reissued_for_a_pending_address,
    sign_up_of_the_own_network_is_resent,
    nothing_is_reissued_where_nothing_is_pending,
    reissue_is_throttled_and_leaves_the_code,
    code_of_another_sign_up_is_taken,
];

const ANN: &str = "ann@example.com";

async fn pending(store: &dyn Store, hash: &str, code: &str, now: Timestamp) -> UserId {
    created(
        store
            .create_sign_up(sign_up(ANN, hash, code, now))
            .await
            .unwrap(),
    )
}

/// A confirmation in a session with a name of its own.
async fn confirm(store: &dyn Store, attempt: OtpAttempt) -> Option<ConfirmedSignUp> {
    let session = session(&format!("s {}", attempt.now.unix_millis()), attempt.now);
    store
        .confirm_sign_up(confirmation(attempt, session))
        .await
        .unwrap()
}

async fn confirms(store: &dyn Store, code: &str, now: Timestamp) -> bool {
    confirm(store, attempt(ANN, code, now)).await.is_some()
}

fn by_link(token: &str, now: Timestamp) -> OtpAttempt {
    OtpAttempt {
        code_hash: None,
        token_hash: Some(token.as_bytes().to_vec()),
        ..attempt(ANN, "", now)
    }
}

fn with_link(token: &str, sign_up: NewSignUp) -> NewSignUp {
    NewSignUp {
        otp: NewOtp {
            token_hash: Some(token.as_bytes().to_vec()),
            ..sign_up.otp
        },
        ..sign_up
    }
}

/// A resend of the code of an address, asked for by the network of [`sign_up`].
fn reissue(email: &str, code: &str, now: Timestamp) -> ReissueOtp {
    ReissueOtp {
        email_key: email.into(),
        network: "203.0.113.7".into(),
        codes: OtpCandidates {
            sign_up: otp(email, code, now),
            email_change: otp(email, &format!("change {code}"), now),
        },
        now,
        limits: LIMITLESS,
    }
}

fn change(user_id: UserId, email: &str, code: &str, now: Timestamp) -> AccountOtp {
    AccountOtp {
        user_id,
        attempt: attempt(email, code, now),
        notices: vec![notice("moved")],
    }
}

async fn found(store: &dyn Store, token: &str, now: Timestamp) -> Option<OtpToken> {
    store.find_otp_token(token.as_bytes(), now).await.unwrap()
}

async fn code_confirms_a_sign_up_once(store: &dyn Store) {
    let id = pending(store, "hash", "code", at(0)).await;
    assert_eq!(user(store, id).await.verified_at, None);
    let confirmed = confirm(store, attempt(ANN, "code", at(599))).await.unwrap();
    assert!(!confirmed.needs_password);
    let user = confirmed.user;
    assert_eq!((user.id, &*user.email), (id, ANN));
    assert_eq!(
        (user.verified_at, user.last_login_at),
        (Some(at(599)), Some(at(599)))
    );
    assert_eq!((user.created_at, user.is_active), (at(0), true));
    let name = format!("s {}", at(599).unix_millis());
    let found = store.find_session_user(&named(&name, id)).await.unwrap();
    assert_eq!(found, Some(Arc::new(UserSnapshot::new(user))));
    assert_eq!(count_events(store, id, EventKind::SignUpConfirmed).await, 1);
    assert!(!confirms(store, "code", at(599)).await);
}

async fn code_confirms_its_own_sign_up(store: &dyn Store) {
    // The same password, so that the address is not contested.
    let first = NewSignUp {
        profile: Profile {
            first_name: "First".into(),
            ..Profile::default()
        },
        ..sign_up(ANN, "hash", "1", at(0))
    };
    let id = created(store.create_sign_up(first).await.unwrap());
    assert_eq!(pending(store, "hash", "2", at(1)).await, id);
    let user = confirm(store, attempt(ANN, "1", at(2))).await.unwrap().user;
    assert_eq!(
        (&*user.profile.first_name, user.created_at),
        ("First", at(0))
    );
    assert!(!confirms(store, "2", at(3)).await, "the others are gone");
}

async fn expired_and_wrong_codes_are_refused(store: &dyn Store) {
    let id = pending(store, "hash", "code", at(0)).await;
    assert!(!confirms(store, "code", at(600)).await, "expired");
    assert!(!confirms(store, "wrong", at(2)).await);
    let not_a_code = OtpAttempt {
        code_hash: None,
        ..attempt(ANN, "", at(3))
    };
    assert!(confirm(store, not_a_code).await.is_none());
    let other_address = attempt("bob@example.com", "code", at(4));
    assert!(confirm(store, other_address).await.is_none());
    assert_eq!(user(store, id).await.verified_at, None);
    assert!(store.list_sessions(id, at(5)).await.unwrap().is_empty());
    assert!(confirms(store, "code", at(599)).await);
}

async fn sign_up_of_an_inactive_account_is_not_confirmed(store: &dyn Store) {
    let id = pending(store, "hash", "code", at(0)).await;
    set_active(store, id, false).await;
    assert!(!confirms(store, "code", at(2)).await);
    set_active(store, id, true).await;
    assert!(confirms(store, "code", at(3)).await);
}

async fn contested_account_loses_fields_and_password(store: &dyn Store) {
    let id = pending(store, "first", "1", at(0)).await;
    pending(store, "second", "2", at(1)).await;
    empty_queue(store).await;
    let confirmed = confirm(store, attempt(ANN, "1", at(2))).await.unwrap();
    assert!(confirmed.needs_password);
    assert_eq!(confirmed.user.profile, Profile::default());
    let hash = store.find_password_hash(id).await.unwrap();
    assert_eq!(hash.as_deref(), Some("!"), "no password matches");
    assert_eq!(mails(store).await, [(ANN.to_owned(), "reset".to_owned())]);
    let detail = (EventKind::SignUpConfirmed, "contested".to_owned());
    assert!(events(store, id).await.contains(&detail));
    let checked = store
        .check_password_reset(attempt(ANN, "reset", at(3)))
        .await;
    assert_eq!(checked.unwrap().map(|user| user.id), Some(id));
}

async fn proven_password_keeps_a_contested_sign_up(store: &dyn Store) {
    let id = pending(store, "first", "1", at(0)).await;
    pending(store, "second", "2", at(1)).await;
    let proven = ConfirmSignUp {
        proven_hash: Some("first".into()),
        ..confirmation(attempt(ANN, "1", at(2)), session("s", at(2)))
    };
    let confirmed = store.confirm_sign_up(proven).await.unwrap().unwrap();
    assert!(!confirmed.needs_password);
    assert_eq!(confirmed.user.profile.first_name, "first");
    let hash = store.find_password_hash(id).await.unwrap();
    assert_eq!(hash.as_deref(), Some("first"));
    assert!(!mail_contents(store).await.contains(&"reset".into()));
}

async fn password_of_a_contested_sign_up_is_found_without_using_the_code(store: &dyn Store) {
    pending(store, "first", "1", at(0)).await;
    let find = async |code: &str| {
        let attempt = attempt(ANN, code, at(2));
        store.find_contested_password(attempt).await.unwrap()
    };
    assert_eq!(find("1").await, Some(None), "not contested");
    pending(store, "second", "2", at(1)).await;
    assert_eq!(find("1").await, Some(Some("first".into())));
    assert_eq!(find("2").await, Some(Some("second".into())));
    for _ in 0..5 {
        assert_eq!(find("wrong").await, None);
    }
    assert_eq!(find("1").await, None, "wrong ones are counted");
}

async fn link_confirms_like_its_code(store: &dyn Store) {
    let request = with_link("link", sign_up(ANN, "hash", "code", at(0)));
    let id = created(store.create_sign_up(request).await.unwrap());
    for _ in 0..30 {
        assert!(confirm(store, by_link("wrong", at(1))).await.is_none());
    }
    assert_eq!(
        count_events(store, id, EventKind::OtpFailed).await,
        0,
        "a link is not guessed"
    );
    assert!(
        confirm(store, by_link("link", at(600))).await.is_none(),
        "expired"
    );
    let confirmed = confirm(store, by_link("link", at(599))).await.unwrap();
    assert_eq!(confirmed.user.id, id);
    assert!(confirm(store, by_link("link", at(599))).await.is_none());
    assert!(!confirms(store, "code", at(599)).await);
}

async fn links_are_found_until_they_expire(store: &dyn Store) {
    let request = with_link("link", sign_up(ANN, "hash", "code", at(0)));
    let id = created(store.create_sign_up(request).await.unwrap());
    let expected = OtpToken {
        purpose: OtpPurpose::SignUp,
        user_id: id,
        email_key: ANN.into(),
    };
    assert_eq!(found(store, "link", at(599)).await, Some(expected));
    assert_eq!(found(store, "link", at(600)).await, None);
    assert_eq!(found(store, "unknown", at(1)).await, None);
    set_active(store, id, false).await;
    assert_eq!(found(store, "link", at(599)).await, None);
}

async fn link_of_a_used_code_is_void(store: &dyn Store) {
    let request = with_link("link", sign_up(ANN, "hash", "code", at(0)));
    created(store.create_sign_up(request).await.unwrap());
    assert!(confirms(store, "code", at(1)).await);
    assert_eq!(found(store, "link", at(2)).await, None);
    assert!(confirm(store, by_link("link", at(2))).await.is_none());
}

async fn network_has_five_tries_at_a_code(store: &dyn Store) {
    pending(store, "hash", "right", at(0)).await;
    for second in 1..=5 {
        assert!(!confirms(store, "wrong", at(second)).await);
    }
    assert!(
        !confirms(store, "right", at(6)).await,
        "dead for this network"
    );
    let other = attempt_from("198.51.100.1", ANN, "right", at(7));
    assert!(confirm(store, other).await.is_some());
}

async fn code_takes_25_wrong_tries_of_all_networks(store: &dyn Store) {
    pending(store, "hash", "right", at(0)).await;
    for network in ["a", "b", "c", "d", "e"] {
        // More than five of one network count no further.
        for second in 1..=7 {
            let wrong = attempt_from(network, ANN, "wrong", at(second));
            assert!(confirm(store, wrong).await.is_none());
        }
    }
    let right = attempt_from("f", ANN, "right", at(10));
    assert!(confirm(store, right).await.is_none(), "dead for all");
    store
        .reissue_otp(reissue(ANN, "new", at(11)))
        .await
        .unwrap()
        .unwrap();
    assert!(
        confirms(store, "new", at(12)).await,
        "a new code counts from the start"
    );
}

async fn account_takes_100_wrong_codes_a_day(store: &dyn Store) {
    pending(store, "hash", "0", at(0)).await;
    for round in 1..=4 {
        for network in ["a", "b", "c", "d", "e"] {
            for _ in 0..5 {
                let wrong = attempt_from(network, ANN, "wrong", at(round));
                assert!(confirm(store, wrong).await.is_none());
            }
        }
        let reissue = reissue(ANN, &round.to_string(), at(round));
        store.reissue_otp(reissue).await.unwrap().unwrap();
    }
    let right = attempt_from("f", ANN, "4", at(5));
    assert!(confirm(store, right).await.is_none());
    let tomorrow = at(86_405);
    store
        .reissue_otp(reissue(ANN, "next", tomorrow))
        .await
        .unwrap()
        .unwrap();
    let right = attempt_from("f", ANN, "next", tomorrow);
    assert!(confirm(store, right).await.is_some());
}

async fn wrong_codes_of_the_future_come_from_a_wrong_clock(store: &dyn Store) {
    pending(store, "hash", "early", at(7200)).await;
    assert!(!confirms(store, "early", at(0)).await, "made in the future");
    store
        .reissue_otp(reissue(ANN, "now", at(1)))
        .await
        .unwrap()
        .unwrap();
    assert!(confirms(store, "now", at(2)).await);
}

async fn code_counts_for_its_own_purpose(store: &dyn Store) {
    let id = account(store, ANN).await;
    apply_update(store, update(id, moved("new@example.com"), "b", at(1))).await;
    let as_sign_up = attempt("new@example.com", "b", at(2));
    assert!(confirm(store, as_sign_up).await.is_none());
    let as_reset = store
        .check_password_reset(attempt("new@example.com", "b", at(2)))
        .await;
    assert_eq!(as_reset.unwrap(), None);
    pending_of(store, "other@example.com", "s").await;
    let as_change = store
        .confirm_email_change(change(id, "other@example.com", "s", at(2)))
        .await;
    assert_eq!(as_change.unwrap(), None);
    let confirmed = store
        .confirm_email_change(change(id, "new@example.com", "b", at(3)))
        .await;
    assert!(confirmed.unwrap().is_some());
}

async fn pending_of(store: &dyn Store, email: &str, code: &str) -> UserId {
    created(
        store
            .create_sign_up(sign_up(email, "hash", code, at(1)))
            .await
            .unwrap(),
    )
}

async fn address_change_is_confirmed_by_its_own_account(store: &dyn Store) {
    let id = account(store, ANN).await;
    let eve = account(store, "eve@example.com").await;
    apply_update(store, update(id, moved("new@example.com"), "b", at(1))).await;
    for wrong in [
        change(eve, "new@example.com", "b", at(2)),
        change(id, "new@example.com", "wrong", at(2)),
        change(id, ANN, "b", at(2)),
        change(id, "new@example.com", "b", at(601)),
    ] {
        assert_eq!(store.confirm_email_change(wrong).await.unwrap(), None);
    }
    assert_eq!(user(store, id).await.email, ANN);
    assert!(!mail_contents(store).await.contains(&"moved".into()));
}

async fn confirmed_address_replaces_the_former_one(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    apply_update(store, update(id, moved("New@example.com"), "b", at(1))).await;
    let reset = ResetRequest {
        email_key: ANN.into(),
        otp: otp(ANN, "reset", at(1)),
        now: at(1),
        limits: LIMITLESS,
        context: RequestContext::default(),
    };
    store.create_password_reset(reset).await.unwrap().unwrap();
    empty_queue(store).await;
    let confirmed = store
        .confirm_email_change(change(id, "new@example.com", "b", at(2)))
        .await;
    let user = confirmed.unwrap().unwrap();
    assert_eq!((&*user.email, &user.new_email), ("New@example.com", &None));
    assert_eq!(user.verified_at, Some(at(0)));
    assert!(is_signed_in(store, id, ANN).await);
    // The notice goes to the former address.
    assert_eq!(mails(store).await, [(ANN.to_owned(), "moved".to_owned())]);
    assert!(store.find_credentials(ANN).await.unwrap().is_none());
    let checked = store
        .check_password_reset(attempt(ANN, "reset", at(3)))
        .await;
    assert_eq!(
        checked.unwrap(),
        None,
        "codes of the former address are void"
    );
    assert_eq!(count_events(store, id, EventKind::EmailChanged).await, 1);
    let again = store
        .confirm_email_change(change(id, "new@example.com", "b", at(3)))
        .await;
    assert_eq!(again.unwrap(), None);
}

async fn address_change_needs_its_session(store: &dyn Store) {
    let id = account(store, ANN).await;
    apply_update(store, update(id, moved("new@example.com"), "b", at(1))).await;
    for (context, reason) in outsiders(store).await {
        let mut request = change(id, "new@example.com", "b", at(2));
        request.attempt.context = context;
        assert_refused(store.confirm_email_change(request).await, reason);
    }
    let confirmed = store
        .confirm_email_change(change(id, "new@example.com", "b", at(2)))
        .await;
    assert!(confirmed.unwrap().is_some(), "the code was not used up");
}

async fn code_is_reissued_for_a_pending_sign_up(store: &dyn Store) {
    let id = created(
        store
            .create_sign_up(sign_up("Ann@example.com", "hash", "first", at(0)))
            .await
            .unwrap(),
    );
    let reissued = store
        .reissue_otp(reissue(ANN, "second", at(1)))
        .await
        .unwrap();
    let expected = Reissued {
        user_id: id,
        purpose: OtpPurpose::SignUp,
        email: address("Ann@example.com"),
    };
    assert_eq!(reissued, Some(expected));
    assert_eq!(
        mails(store).await,
        [("Ann@example.com".to_owned(), "second".to_owned())]
    );
    assert!(!confirms(store, "first", at(2)).await, "replaced");
    assert!(confirms(store, "second", at(600)).await);
}

async fn code_is_reissued_for_a_pending_address(store: &dyn Store) {
    let id = account(store, ANN).await;
    apply_update(store, update(id, moved("New@example.com"), "b", at(1))).await;
    let reissued = store
        .reissue_otp(reissue("new@example.com", "c", at(2)))
        .await
        .unwrap();
    let expected = Reissued {
        user_id: id,
        purpose: OtpPurpose::EmailChange,
        email: address("New@example.com"),
    };
    assert_eq!(reissued, Some(expected));
    let replaced = store
        .confirm_email_change(change(id, "new@example.com", "b", at(3)))
        .await;
    assert_eq!(replaced.unwrap(), None);
    let code = change(id, "new@example.com", "change c", at(3));
    assert!(store.confirm_email_change(code).await.unwrap().is_some());
}

async fn sign_up_of_the_own_network_is_resent(store: &dyn Store) {
    let of = |network: &str, hash: &str, now| {
        let mut sign_up = sign_up(ANN, hash, hash, now);
        sign_up.network = network.into();
        sign_up.context.ip = format!("ip of {network}");
        sign_up
    };
    created(
        store
            .create_sign_up(of("203.0.113.7", "first", at(0)))
            .await
            .unwrap(),
    );
    created(
        store
            .create_sign_up(of("198.51.100.1", "second", at(1)))
            .await
            .unwrap(),
    );
    let resent =
        async |network: &str, now| store.find_resent_sign_up(ANN, network, now).await.unwrap();
    let own = Some((at(0), "ip of 203.0.113.7".to_owned()));
    assert_eq!(resent("203.0.113.7", at(2)).await, own);
    let newest = Some((at(1), "ip of 198.51.100.1".to_owned()));
    assert_eq!(resent("192.0.2.1", at(2)).await, newest, "else the newest");
    let week = 7 * 86_400;
    assert_eq!(
        resent("203.0.113.7", at(week)).await,
        newest,
        "the own one has expired"
    );
    assert_eq!(resent("203.0.113.7", at(week + 1)).await, None);
    assert_eq!(
        store
            .find_resent_sign_up("bob@example.com", "a", at(2))
            .await
            .unwrap(),
        None
    );
    store
        .reissue_otp(reissue(ANN, "again", at(2)))
        .await
        .unwrap()
        .unwrap();
    assert!(!confirms(store, "first", at(3)).await);
    let attempt = attempt(ANN, "again", at(4));
    let password = store.find_contested_password(attempt).await.unwrap();
    assert_eq!(password, Some(Some("first".into())));
}

async fn nothing_is_reissued_where_nothing_is_pending(store: &dyn Store) {
    account(store, ANN).await;
    for email in [ANN, "nobody@example.com"] {
        let reissued = store
            .reissue_otp(reissue(email, "code", at(1)))
            .await
            .unwrap();
        assert_eq!(reissued, None, "{email}");
    }
    let id = pending_of(store, "new@example.com", "code").await;
    set_active(store, id, false).await;
    let reissued = store
        .reissue_otp(reissue("new@example.com", "other", at(2)))
        .await;
    assert_eq!(reissued.unwrap(), None, "inactive");
    assert_eq!(mail_contents(store).await, ["code"]);
}

async fn reissue_is_throttled_and_leaves_the_code(store: &dyn Store) {
    pending(store, "hash", "first", at(0)).await;
    let strict = |code: &str, now| ReissueOtp {
        limits: STRICT,
        ..reissue(ANN, code, now)
    };
    assert_eq!(
        store.reissue_otp(strict("second", at(59))).await.unwrap(),
        None
    );
    assert_eq!(mail_contents(store).await, ["first"]);
    assert!(
        store
            .reissue_otp(strict("third", at(60)))
            .await
            .unwrap()
            .is_some()
    );
    assert!(confirms(store, "third", at(61)).await);
}

async fn code_of_another_sign_up_is_taken(store: &dyn Store) {
    pending(store, "first", "1", at(0)).await;
    pending(store, "second", "2", at(1)).await;
    // The resend is about the newest one; the code of the other is live.
    let taken = store.reissue_otp(reissue(ANN, "1", at(2))).await;
    assert!(
        matches!(taken, Err(StoreError::Taken(Field::Otp))),
        "{taken:?}"
    );
    assert!(confirms(store, "2", at(3)).await, "nothing was replaced");
}
