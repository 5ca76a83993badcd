//! Authenticating again within a session.

use crate::support::*;

on_every_engine![
    password_is_noted_and_ends_the_pauses_of_the_session,
    mailed_code_is_used_once,
    wrong_code_is_counted_and_changes_nothing,
    code_counts_for_its_own_account_and_purpose,
    factor_is_added_to_what_the_session_knows,
    refused_factor_changes_nothing,
    identity_of_the_account_authenticates,
    identity_of_another_account_is_refused,
    identity_does_not_replace_a_factor,
    secret_of_a_browser_session_is_replaced_once,
    ended_session_is_refused,
    session_of_an_inactive_account_is_refused,
    only_the_account_itself_authenticates_again,
    code_is_mailed_and_replaces_the_earlier_one,
    mails_of_codes_are_throttled,
    code_needs_a_live_session,
];

const ANN: &str = "ann@example.com";

/// An account that has signed in by password at the start, in the session `s`.
async fn signed_in(store: &dyn Store) -> UserId {
    let id = account(store, ANN).await;
    session_of(store, id, "s").await;
    id
}

/// What an account shows in its session `s` at a time.
fn shows(id: UserId, shown: Reauthenticator, now: Timestamp) -> Reauthentication {
    Reauthentication {
        session: named("s", id),
        now,
        shown,
        secret_hashes: None,
        context: by(id, "s"),
    }
}

fn by_password(id: UserId) -> Reauthenticator {
    Reauthenticator::Password(PasswordTry {
        source: TrySource::Session("s".into()),
        ..try_from("203.0.113.7", ANN, Some(id), at(20))
    })
}

fn by_code(code: &str) -> Reauthenticator {
    Reauthenticator::Otp(attempt(ANN, code, at(20)))
}

async fn run(store: &dyn Store, request: Reauthentication) -> ReauthenticationOutcome {
    store.reauthenticate(request).await.unwrap()
}

/// How the owner of a session has authenticated, from an outcome and from the list of sessions.
async fn known(store: &dyn Store, outcome: ReauthenticationOutcome) -> (Timestamp, String) {
    let ReauthenticationOutcome::Done {
        user,
        created_at,
        authentication,
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(created_at, at(0));
    assert_eq!(stored(store, user.id).await, authentication);
    (authentication.at, authentication.amr())
}

async fn stored(store: &dyn Store, id: UserId) -> Authentication {
    let sessions = store.list_sessions(id, at(20)).await.unwrap();
    let session = sessions.into_iter().find(|session| session.id == "s");
    session.unwrap().authentication
}

/// That nothing has changed since the sign-in.
async fn assert_unchanged(store: &dyn Store, id: UserId) {
    let expected = Authentication::by(AuthMethod::Password, at(0));
    assert_eq!(stored(store, id).await, expected);
    assert_eq!(count_events(store, id, EventKind::Reauthenticated).await, 0);
}

fn request_code(id: UserId, code: &str, now: Timestamp) -> ReauthenticationOtp {
    ReauthenticationOtp {
        user_id: id,
        email: (ANN.into(), "Ann@example.com".into()),
        otp: otp(ANN, code, now),
        now,
        limits: LIMITLESS,
        context: by(id, "s"),
    }
}

async fn mail_code(store: &dyn Store, id: UserId, code: &str) {
    let request = request_code(id, code, at(10));
    let pause = store.create_reauthentication_otp(request).await.unwrap();
    assert_eq!(pause, None);
}

async fn password_is_noted_and_ends_the_pauses_of_the_session(store: &dyn Store) {
    let id = signed_in(store).await;
    let Reauthenticator::Password(tried) = by_password(id) else {
        unreachable!()
    };
    for _ in 0..5 {
        store.count_failed_password(tried.clone()).await.unwrap();
    }
    assert!(store.find_password_pause(&tried).await.unwrap().is_some());
    let outcome = run(store, shows(id, by_password(id), at(20))).await;
    assert_eq!(known(store, outcome).await, (at(20), "pwd".into()));
    assert_eq!(store.find_password_pause(&tried).await.unwrap(), None);
    assert_eq!(count_events(store, id, EventKind::Reauthenticated).await, 1);
}

async fn mailed_code_is_used_once(store: &dyn Store) {
    let id = signed_in(store).await;
    mail_code(store, id, "code").await;
    let outcome = run(store, shows(id, by_code("code"), at(20))).await;
    assert_eq!(known(store, outcome).await, (at(20), "otp".into()));
    let again = run(store, shows(id, by_code("code"), at(20))).await;
    assert_eq!(again, ReauthenticationOutcome::InvalidOtp);
}

async fn wrong_code_is_counted_and_changes_nothing(store: &dyn Store) {
    let id = signed_in(store).await;
    mail_code(store, id, "code").await;
    for code in ["wrong", "wrong", "wrong", "wrong", "wrong", "code"] {
        let outcome = run(store, shows(id, by_code(code), at(20))).await;
        assert_eq!(outcome, ReauthenticationOutcome::InvalidOtp, "{code}");
    }
    assert_unchanged(store, id).await;
    assert!(count_events(store, id, EventKind::OtpFailed).await > 0);
}

async fn code_counts_for_its_own_account_and_purpose(store: &dyn Store) {
    let id = signed_in(store).await;
    let other = account(store, "bob@example.com").await;
    session_of(store, other, "t").await;
    mail_code(store, id, "code").await;
    let stolen = Reauthentication {
        session: named("t", other),
        context: by(other, "t"),
        ..shows(other, by_code("code"), at(20))
    };
    assert_eq!(
        run(store, stolen).await,
        ReauthenticationOutcome::InvalidOtp
    );
    let reset = store
        .check_password_reset(attempt(ANN, "code", at(20)))
        .await;
    assert_eq!(reset.unwrap(), None);
    let outcome = run(store, shows(id, by_code("code"), at(20))).await;
    known(store, outcome).await;
}

async fn factor_is_added_to_what_the_session_knows(store: &dyn Store) {
    let id = signed_in(store).await;
    activate(store, id, "s").await;
    let tried = factor_try(totp(id, 101), at(20));
    let outcome = run(store, shows(id, Reauthenticator::Factor(tried), at(20))).await;
    assert_eq!(known(store, outcome).await, (at(20), "pwd otp mfa".into()));
}

async fn refused_factor_changes_nothing(store: &dyn Store) {
    let id = signed_in(store).await;
    for proof in [totp(id, 101), FactorProof::WrongCode] {
        let tried = factor_try(proof, at(20));
        let outcome = run(store, shows(id, Reauthenticator::Factor(tried), at(20))).await;
        let refused = matches!(outcome, ReauthenticationOutcome::FactorRefused(_));
        assert!(refused, "{outcome:?}");
    }
    assert_unchanged(store, id).await;
}

async fn identity_of_the_account_authenticates(store: &dyn Store) {
    let id = signed_in(store).await;
    store.connect_identity(connection(id, "ann")).await.unwrap();
    let shown = Reauthenticator::Identity(proven("ann"));
    let outcome = run(store, shows(id, shown, at(20))).await;
    assert_eq!(known(store, outcome).await, (at(20), "fed".into()));
    let identities = store.list_identities(id).await.unwrap();
    assert_eq!(identities[0].last_used_at, Some(at(20)));
}

async fn identity_of_another_account_is_refused(store: &dyn Store) {
    let id = signed_in(store).await;
    let other = account(store, "bob@example.com").await;
    store
        .connect_identity(connection(other, "bob"))
        .await
        .unwrap();
    for subject in ["bob", "unknown"] {
        let shown = Reauthenticator::Identity(proven(subject));
        let outcome = run(store, shows(id, shown, at(20))).await;
        assert_eq!(outcome, ReauthenticationOutcome::WrongIdentity, "{subject}");
    }
    assert_unchanged(store, id).await;
}

async fn identity_does_not_replace_a_factor(store: &dyn Store) {
    let id = signed_in(store).await;
    store.connect_identity(connection(id, "ann")).await.unwrap();
    activate(store, id, "s").await;
    let shown = Reauthenticator::Identity(proven("ann"));
    let outcome = run(store, shows(id, shown, at(20))).await;
    assert_eq!(outcome, ReauthenticationOutcome::WrongIdentity);
}

async fn secret_of_a_browser_session_is_replaced_once(store: &dyn Store) {
    let id = account(store, ANN).await;
    browse(store, id, "s").await;
    let replacing = |old: &[u8], new: &[u8]| Reauthentication {
        secret_hashes: Some((old.to_vec(), new.to_vec())),
        ..shows(id, by_password(id), at(20))
    };
    let without = run(store, shows(id, by_password(id), at(20))).await;
    assert_eq!(without, ReauthenticationOutcome::Ended);
    let outcome = run(store, replacing(b"s", b"second")).await;
    known(store, outcome).await;
    let again = run(store, replacing(b"s", b"third")).await;
    assert_eq!(again, ReauthenticationOutcome::Ended);
    let found = async |secret: &[u8]| {
        let found = store.find_browser_session(secret, at(21)).await;
        found.unwrap().is_some()
    };
    assert!(found(b"second").await && !found(b"s").await && !found(b"third").await);
}

async fn ended_session_is_refused(store: &dyn Store) {
    let id = signed_in(store).await;
    end_session(store, "s").await;
    let command = Reauthentication {
        context: RequestContext::default(),
        ..shows(id, by_password(id), at(20))
    };
    assert_eq!(run(store, command).await, ReauthenticationOutcome::Ended);
    let by_itself = store
        .reauthenticate(shows(id, by_password(id), at(20)))
        .await;
    assert_refused(by_itself, "SessionEnded");
}

async fn session_of_an_inactive_account_is_refused(store: &dyn Store) {
    let id = signed_in(store).await;
    set_active(store, id, false).await;
    let by_itself = store
        .reauthenticate(shows(id, by_password(id), at(20)))
        .await;
    assert_refused(by_itself, "SessionEnded");
}

async fn only_the_account_itself_authenticates_again(store: &dyn Store) {
    let id = signed_in(store).await;
    for (context, reason) in outsiders(store).await {
        let request = Reauthentication {
            context,
            ..shows(id, by_password(id), at(20))
        };
        assert_refused(store.reauthenticate(request).await, reason);
    }
    assert_unchanged(store, id).await;
}

async fn code_is_mailed_and_replaces_the_earlier_one(store: &dyn Store) {
    let id = signed_in(store).await;
    mail_code(store, id, "one").await;
    mail_code(store, id, "two").await;
    assert_eq!(
        mails(store).await,
        [("Ann@example.com".to_owned(), "two".to_owned())]
    );
    let outcome = run(store, shows(id, by_code("one"), at(20))).await;
    assert_eq!(outcome, ReauthenticationOutcome::InvalidOtp);
    let outcome = run(store, shows(id, by_code("two"), at(20))).await;
    known(store, outcome).await;
}

async fn mails_of_codes_are_throttled(store: &dyn Store) {
    let id = signed_in(store).await;
    let ask = async |code: &str, now| {
        let request = ReauthenticationOtp {
            limits: STRICT,
            ..request_code(id, code, now)
        };
        store.create_reauthentication_otp(request).await.unwrap()
    };
    assert_eq!(ask("one", at(0)).await, None);
    assert_eq!(ask("two", at(20)).await, Some(at(60)));
    assert_eq!(mail_contents(store).await, ["one"]);
    let outcome = run(store, shows(id, by_code("one"), at(20))).await;
    known(store, outcome).await;
    assert_eq!(ask("three", at(60)).await, None);
}

async fn code_needs_a_live_session(store: &dyn Store) {
    let id = signed_in(store).await;
    for (context, reason) in outsiders(store).await {
        let request = ReauthenticationOtp {
            context,
            ..request_code(id, "code", at(10))
        };
        assert_refused(store.create_reauthentication_otp(request).await, reason);
    }
    assert!(mails(store).await.is_empty());
}
