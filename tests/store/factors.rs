//! Second factors: authenticator apps, recovery codes, and sign-ins that wait for one.

use crate::support::*;

on_every_engine![
    account_begins_without_factors,
    first_factor_ends_other_sessions,
    second_app_is_refused,
    enrolment_needs_a_live_session_of_the_account,
    sign_in_waits_for_the_factor,
    code_of_the_app_completes_the_sign_in,
    code_of_a_step_counts_once,
    code_of_another_device_is_wrong,
    recovery_code_counts_once,
    ticket_expires,
    new_password_voids_the_ticket,
    ticket_takes_five_wrong_codes,
    passkey_completes_the_sign_in,
    known_network_waits_longer_after_each_wrong_code,
    unknown_networks_share_an_allowance,
    wrong_recovery_codes_shut_nobody_out,
    factor_can_come_with_the_password,
    app_is_removed_after_a_proof,
    wrong_code_removes_nothing,
    recovery_codes_are_replaced,
    account_without_factor_gets_no_recovery_codes,
    factors_are_reset_by_staff,
    reset_of_the_last_way_in_mails_a_password_reset,
    reset_needs_staff,
];

const ANN: &str = "ann@example.com";

/// An account with an app that was enrolled in the session `s`.
async fn enrolled(store: &dyn Store) -> UserId {
    let id = verified(store, ANN, at(0)).await;
    session_of(store, id, "s").await;
    activate(store, id, "s").await;
    id
}

fn ticket(token: &str) -> NewTicket {
    NewTicket {
        token_hash: token.as_bytes().to_vec(),
        method: AuthMethod::Password,
        expires_at: at(1000),
    }
}

/// The first step of a sign-in.
async fn first_step(store: &dyn Store, id: UserId, token: &str) -> SignInOutcome {
    let sign_in = SignIn {
        ticket: ticket(token),
        ..sign_in(id, "hash", "early", at(20))
    };
    store.create_session(sign_in).await.unwrap()
}

fn second_step(token: &str, session_id: &str, tried: FactorTry) -> CompleteSignIn {
    CompleteSignIn {
        token_hash: token.as_bytes().to_vec(),
        session: session(session_id, tried.now),
        tried,
        notice: None,
    }
}

async fn complete(store: &dyn Store, sign_in: CompleteSignIn) -> CompleteOutcome {
    store.complete_sign_in(sign_in).await.unwrap()
}

#[track_caller]
fn amr(outcome: CompleteOutcome) -> String {
    match outcome {
        CompleteOutcome::Started { authentication, .. } => authentication.amr(),
        other => panic!("{other:?}"),
    }
}

const WRONG: CompleteOutcome = CompleteOutcome::Refused(FactorRefusal::Wrong);

async fn account_begins_without_factors(store: &dyn Store) {
    let id = account(store, ANN).await;
    let factors = store.find_factors(id).await.unwrap();
    assert_eq!(factors, Factors::default());
    assert!(!factors.is_enabled() && !user(store, id).await.has_factor);
}

async fn first_factor_ends_other_sessions(store: &dyn Store) {
    let id = enrolled(store).await;
    assert!(is_signed_in(store, id, "s").await);
    assert!(!is_signed_in(store, id, ANN).await, "it began without");
    let factors = store.find_factors(id).await.unwrap();
    assert_eq!(factors.totp.unwrap().id, format!("device of {id}"));
    assert_eq!(factors.recovery_codes_left, 2);
    assert!(user(store, id).await.has_factor);
    let sessions = store.list_sessions(id, at(10)).await.unwrap();
    assert_eq!(sessions[0].authentication.amr(), "pwd otp mfa");
    assert!(mail_contents(store).await.contains(&"undo of s".into()));
    assert_eq!(count_events(store, id, EventKind::TotpActivated).await, 1);
}

async fn second_app_is_refused(store: &dyn Store) {
    let id = enrolled(store).await;
    let activation = ActivateTotp {
        device: TotpDevice {
            id: "another".into(),
            secret: b"other".to_vec(),
            created_at: at(20),
            last_used_at: None,
        },
        step: 1,
        enrolment: enrolment(id, "s"),
    };
    let outcome = store.activate_totp(activation).await.unwrap();
    assert_eq!(outcome, ActivateOutcome::AlreadyActive);
    let factors = store.find_factors(id).await.unwrap();
    assert_eq!(factors.totp.unwrap().secret, b"secret");
}

async fn enrolment_needs_a_live_session_of_the_account(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    for (context, reason) in outsiders(store).await {
        let activation = ActivateTotp {
            device: TotpDevice {
                id: "device".into(),
                secret: b"secret".to_vec(),
                created_at: at(20),
                last_used_at: None,
            },
            step: 1,
            enrolment: FactorEnrolment {
                context,
                ..enrolment(id, ANN)
            },
        };
        assert_refused(store.activate_totp(activation).await, reason);
    }
    assert!(!store.find_factors(id).await.unwrap().is_enabled());
    assert!(is_signed_in(store, id, ANN).await);
}

async fn sign_in_waits_for_the_factor(store: &dyn Store) {
    let id = enrolled(store).await;
    let outcome = first_step(store, id, "t").await;
    let factors = Box::new(store.find_factors(id).await.unwrap());
    let expected = SignInOutcome::SecondFactorRequired { factors };
    assert_eq!(outcome, expected);
    assert!(!is_signed_in(store, id, "early").await);
    let found = store.find_ticket(b"t", at(999)).await.unwrap().unwrap();
    assert_eq!(found.user_id, id);
    assert!(found.factors.is_enabled());
    assert!(store.find_ticket(b"other", at(20)).await.unwrap().is_none());
}

async fn code_of_the_app_completes_the_sign_in(store: &dyn Store) {
    let id = enrolled(store).await;
    first_step(store, id, "t").await;
    let tried = factor_try(totp(id, 101), at(30));
    let outcome = complete(store, second_step("t", "new", tried.clone())).await;
    assert_eq!(amr(outcome), "pwd otp mfa");
    assert!(is_signed_in(store, id, "new").await);
    assert_eq!(user(store, id).await.last_login_at, Some(at(30)));
    let device = store.find_factors(id).await.unwrap().totp.unwrap();
    assert_eq!(device.last_used_at, Some(at(30)));
    // The ticket is used up.
    assert!(store.find_ticket(b"t", at(30)).await.unwrap().is_none());
    let tried = factor_try(totp(id, 102), at(31));
    let again = complete(store, second_step("t", "again", tried)).await;
    assert_eq!(again, CompleteOutcome::InvalidTicket);
}

async fn code_of_a_step_counts_once(store: &dyn Store) {
    let id = enrolled(store).await;
    first_step(store, id, "t").await;
    // The enrolment has used step 100.
    for step in [99, 100] {
        let tried = factor_try(totp(id, step), at(30 + step));
        let outcome = complete(store, second_step("t", "new", tried)).await;
        assert_eq!(outcome, WRONG, "{step}");
    }
    let tried = factor_try(totp(id, 101), at(200));
    amr(complete(store, second_step("t", "new", tried)).await);
}

async fn code_of_another_device_is_wrong(store: &dyn Store) {
    let id = enrolled(store).await;
    first_step(store, id, "t").await;
    let tried = factor_try(totp(id + 1, 101), at(30));
    assert_eq!(complete(store, second_step("t", "new", tried)).await, WRONG);
}

async fn recovery_code_counts_once(store: &dyn Store) {
    let id = enrolled(store).await;
    let code = FactorProof::Recovery(format!("{id} one").into_bytes());
    first_step(store, id, "t").await;
    let tried = factor_try(code.clone(), at(30));
    let outcome = complete(store, second_step("t", "new", tried)).await;
    assert_eq!(amr(outcome), "pwd mfa");
    let left = store.find_factors(id).await.unwrap().recovery_codes_left;
    assert_eq!(left, 1);
    first_step(store, id, "u").await;
    let tried = factor_try(code, at(31));
    assert_eq!(
        complete(store, second_step("u", "again", tried)).await,
        WRONG
    );
    let used = count_events(store, id, EventKind::RecoveryCodeUsed).await;
    assert_eq!(used, 1);
}

async fn ticket_expires(store: &dyn Store) {
    let id = enrolled(store).await;
    first_step(store, id, "t").await;
    assert!(store.find_ticket(b"t", at(1000)).await.unwrap().is_none());
    let tried = factor_try(totp(id, 101), at(1000));
    let outcome = complete(store, second_step("t", "new", tried)).await;
    assert_eq!(outcome, CompleteOutcome::InvalidTicket);
}

async fn new_password_voids_the_ticket(store: &dyn Store) {
    let id = enrolled(store).await;
    first_step(store, id, "t").await;
    let replacement = ReplacePassword {
        user_id: id,
        old_hash: None,
        new_hash: "new".into(),
        session: None,
        now: at(25),
        notices: Vec::new(),
        context: RequestContext::default(),
    };
    assert!(store.replace_password(replacement).await.unwrap().is_some());
    assert!(store.find_ticket(b"t", at(30)).await.unwrap().is_none());
    let tried = factor_try(totp(id, 101), at(30));
    let outcome = complete(store, second_step("t", "new", tried)).await;
    assert_eq!(outcome, CompleteOutcome::InvalidTicket);
}

async fn ticket_takes_five_wrong_codes(store: &dyn Store) {
    let id = enrolled(store).await;
    first_step(store, id, "t").await;
    first_step(store, id, "u").await;
    for number in 0..5 {
        let tried = factor_try(FactorProof::WrongCode, at(30 + 60 * number));
        assert_eq!(complete(store, second_step("t", "new", tried)).await, WRONG);
    }
    let tried = || factor_try(totp(id, 101), at(900));
    let outcome = complete(store, second_step("t", "new", tried())).await;
    assert_eq!(outcome, CompleteOutcome::InvalidTicket);
    // Another sign-in goes on.
    amr(complete(store, second_step("u", "new", tried())).await);
}

async fn passkey_completes_the_sign_in(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    add_passkey(store, id, ANN, "key").await;
    first_step(store, id, "t").await;
    for (proof, is_right) in [
        (FactorProof::WrongPasskey, false),
        (FactorProof::Passkey(passkey_use("unknown", 6)), false),
        (FactorProof::Passkey(passkey_use("key", 5)), false),
        (FactorProof::Passkey(passkey_use("key", 6)), true),
    ] {
        let tried = factor_try(proof, at(30));
        let outcome = complete(store, second_step("t", "new", tried)).await;
        match is_right {
            true => assert_eq!(amr(outcome), "pwd user swk mfa"),
            false => assert_eq!(outcome, WRONG),
        }
    }
}

async fn known_network_waits_longer_after_each_wrong_code(store: &dyn Store) {
    let id = enrolled(store).await;
    let limits = FactorLimits {
        per_ticket: 100,
        ..FactorLimits::DEFAULT
    };
    let tried = async |proof, now| {
        let tried = FactorTry {
            limits,
            ..factor_try(proof, now)
        };
        let session_id = format!("new {}", now.unix_millis());
        complete(store, second_step("t", &session_id, tried)).await
    };
    first_step(store, id, "t").await;
    let mut now = at(100);
    for pause in [1, 2, 4, 8, 16] {
        assert_eq!(tried(FactorProof::WrongCode, now).await, WRONG);
        let until = now.plus(Duration::from_secs(pause));
        let throttled = CompleteOutcome::Refused(FactorRefusal::Throttled { until });
        assert_eq!(tried(totp(id, 101), now).await, throttled, "{pause}");
        now = until;
    }
    amr(tried(totp(id, 101), now).await);
    // A right code ends the waits.
    first_step(store, id, "t").await;
    assert_eq!(tried(FactorProof::WrongCode, now).await, WRONG);
    let later = now.plus(Duration::from_secs(1));
    amr(tried(totp(id, 102), later).await);
}

async fn unknown_networks_share_an_allowance(store: &dyn Store) {
    let id = enrolled(store).await;
    let limits = FactorLimits {
        unknown_a_day: 3,
        per_ticket: 100,
    };
    let from = async |network: &str, proof, now| {
        let tried = FactorTry {
            network: network.into(),
            limits,
            ..factor_try(proof, now)
        };
        complete(store, second_step("t", "new", tried)).await
    };
    first_step(store, id, "t").await;
    for (number, network) in (0..).zip(["a", "b", "c"]) {
        let outcome = from(network, FactorProof::WrongCode, at(100 + number)).await;
        assert_eq!(outcome, WRONG);
    }
    let until = at(100).plus(DAY);
    let throttled = CompleteOutcome::Refused(FactorRefusal::Throttled { until });
    assert_eq!(from("d", totp(id, 101), at(200)).await, throttled);
    // The owner's own network is not shut out.
    amr(from("203.0.113.7", totp(id, 101), at(200)).await);
}

async fn wrong_recovery_codes_shut_nobody_out(store: &dyn Store) {
    let id = enrolled(store).await;
    for number in 0..10 {
        let token = format!("t{number}");
        first_step(store, id, &token).await;
        let tried = factor_try(FactorProof::Recovery(b"wrong".to_vec()), at(30));
        assert_eq!(
            complete(store, second_step(&token, "new", tried)).await,
            WRONG
        );
    }
    first_step(store, id, "t").await;
    let tried = factor_try(totp(id, 101), at(30));
    amr(complete(store, second_step("t", "new", tried)).await);
}

async fn factor_can_come_with_the_password(store: &dyn Store) {
    let id = enrolled(store).await;
    let with = |step, now| SignIn {
        factor: Some(factor_try(totp(id, step), now)),
        ..sign_in(id, "hash", "new", now)
    };
    let refused = store.create_session(with(100, at(30))).await.unwrap();
    let wrong = SignInOutcome::FactorRefused(FactorRefusal::Wrong);
    assert_eq!(refused, wrong);
    let outcome = store.create_session(with(101, at(60))).await.unwrap();
    let SignInOutcome::Started { authentication, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(authentication.amr(), "pwd otp mfa");
}

fn deactivation(id: UserId, tried: FactorTry) -> DeactivateTotp {
    DeactivateTotp {
        user_id: id,
        tried,
        notices: vec![notice("app removed")],
    }
}

async fn app_is_removed_after_a_proof(store: &dyn Store) {
    let id = enrolled(store).await;
    first_step(store, id, "t").await;
    empty_queue(store).await;
    let remove = async |step| {
        let request = deactivation(id, factor_try(totp(id, step), at(30)));
        store.deactivate_totp(request).await.unwrap()
    };
    assert_eq!(remove(101).await, Some(Ok(())));
    let factors = store.find_factors(id).await.unwrap();
    assert_eq!(factors, Factors::default(), "recovery codes go with it");
    assert!(store.find_ticket(b"t", at(30)).await.unwrap().is_none());
    assert_eq!(mails(store).await, [(ANN.into(), "app removed".into())]);
    assert_eq!(remove(102).await, None);
    assert!(is_signed_in(store, id, "s").await);
}

async fn wrong_code_removes_nothing(store: &dyn Store) {
    let id = enrolled(store).await;
    empty_queue(store).await;
    let wrong = deactivation(id, factor_try(FactorProof::WrongCode, at(30)));
    let outcome = store.deactivate_totp(wrong).await.unwrap();
    assert_eq!(outcome, Some(Err(FactorRefusal::Wrong)));
    let factors = store.find_factors(id).await.unwrap();
    assert!(factors.is_enabled());
    assert_eq!(factors.recovery_codes_left, 2);
    assert!(mails(store).await.is_empty());
    let failed = count_events(store, id, EventKind::SecondFactorFailed).await;
    assert_eq!(failed, 1);
}

fn new_codes(id: UserId) -> ReplaceRecoveryCodes {
    ReplaceRecoveryCodes {
        user_id: id,
        recovery_codes: vec![b"three".to_vec()],
        notices: vec![notice("new codes")],
        context: RequestContext::default(),
        now: at(20),
    }
}

async fn recovery_codes_are_replaced(store: &dyn Store) {
    let id = enrolled(store).await;
    assert!(store.replace_recovery_codes(new_codes(id)).await.unwrap());
    let left = store.find_factors(id).await.unwrap().recovery_codes_left;
    assert_eq!(left, 1);
    first_step(store, id, "t").await;
    for (code, is_right) in [(format!("{id} one"), false), ("three".to_owned(), true)] {
        let tried = factor_try(FactorProof::Recovery(code.into_bytes()), at(30));
        let outcome = complete(store, second_step("t", "new", tried)).await;
        assert_eq!(outcome == WRONG, !is_right);
    }
}

async fn account_without_factor_gets_no_recovery_codes(store: &dyn Store) {
    let id = account(store, ANN).await;
    assert!(!store.replace_recovery_codes(new_codes(id)).await.unwrap());
    assert_eq!(store.find_factors(id).await.unwrap(), Factors::default());
    assert!(mails(store).await.is_empty());
}

fn reset(id: UserId) -> ResetFactors {
    ResetFactors {
        user_id: id,
        email: (ANN.into(), ANN.into()),
        reset: otp(ANN, "reset", at(40)),
        ways: ways(),
        notices: vec![notice("factors reset")],
        context: RequestContext::default(),
        now: at(40),
    }
}

async fn factors_are_reset_by_staff(store: &dyn Store) {
    let id = enrolled(store).await;
    add_passkey(store, id, "s", "key").await;
    first_step(store, id, "t").await;
    empty_queue(store).await;
    assert!(store.reset_factors(reset(id)).await.unwrap());
    assert_eq!(store.find_factors(id).await.unwrap(), Factors::default());
    assert!(!is_signed_in(store, id, "s").await);
    assert!(store.find_ticket(b"t", at(40)).await.unwrap().is_none());
    let contents = mail_contents(store).await;
    assert!(contents.contains(&"factors reset".into()));
    assert!(!contents.contains(&"reset".into()), "the password is left");
    assert!(!store.reset_factors(reset(id + 100)).await.unwrap());
}

async fn reset_of_the_last_way_in_mails_a_password_reset(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    add_passkey(store, id, ANN, "key").await;
    let hash = store.rehash_password(id, "hash", "!").await;
    assert!(hash.unwrap());
    assert!(store.reset_factors(reset(id)).await.unwrap());
    assert!(mail_contents(store).await.contains(&"reset".into()));
}

async fn reset_needs_staff(store: &dyn Store) {
    let id = enrolled(store).await;
    let own = ResetFactors {
        context: by(id, "s"),
        ..reset(id)
    };
    assert_refused(store.reset_factors(own).await, "Forbidden");
    for (context, reason) in outsiders(store).await {
        let request = ResetFactors {
            context,
            ..reset(id)
        };
        assert_refused(store.reset_factors(request).await, reason);
    }
    assert!(store.find_factors(id).await.unwrap().is_enabled());
    assert!(is_signed_in(store, id, "s").await);
}
