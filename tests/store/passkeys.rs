//! Passkeys, and the challenges that they answer.

use crate::support::*;

on_every_engine![
    challenge_is_used_once_by_its_subject,
    challenge_expires,
    account_keeps_its_handle,
    registration_names_the_passkeys_there_are,
    registration_needs_the_account_or_staff,
    first_passkey_is_a_first_factor,
    further_passkey_ends_no_session,
    id_of_an_authenticator_is_taken_once,
    account_has_a_limited_number_of_passkeys,
    passkey_is_added_in_a_live_session_of_the_account,
    passkey_is_found_by_its_credential,
    passkeys_are_read_for_export,
    passkey_signs_in,
    counter_that_does_not_rise_is_refused,
    counter_of_zero_does_not_count,
    passkey_of_another_account_does_not_sign_in,
    account_that_may_not_sign_in_is_refused,
    passkey_is_renamed,
    removed_passkey_takes_the_recovery_codes_along,
    other_passkey_keeps_the_recovery_codes,
    last_way_in_is_not_removed,
    ways_of_other_sites_do_not_count,
    passkeys_are_removed_by_their_account_or_staff,
];

const ANN: &str = "ann@example.com";

/// An account that is signed in by the sessions `s` and `other`.
async fn signed_in(store: &dyn Store) -> UserId {
    let id = account(store, ANN).await;
    for name in ["s", "other"] {
        session_of(store, id, name).await;
    }
    id
}

async fn added(store: &dyn Store, id: UserId, key: &str) {
    let outcome = add_passkey(store, id, "s", key).await;
    assert!(
        matches!(outcome, AddPasskeyOutcome::Added { .. }),
        "{outcome:?}"
    );
}

async fn use_challenge(store: &dyn Store, text: &str, subject: &str, now: Timestamp) -> bool {
    let subject = ChallengeSubject {
        purpose: ChallengePurpose::SignIn,
        subject: subject.as_bytes().to_vec(),
    };
    store
        .use_challenge(text.as_bytes().to_vec(), subject, now)
        .await
        .unwrap()
}

fn passkey_sign_in(id: UserId, used: PasskeyUse, session_id: &str) -> PasskeySignIn {
    let now = at(20);
    PasskeySignIn {
        user_id: id,
        used,
        session: NewSession {
            authentication: Authentication {
                at: now,
                methods: vec![AuthMethod::User, AuthMethod::Swk],
            },
            ..session(session_id, now)
        },
        notice: Some(notice("new network")),
        context: RequestContext::default(),
    }
}

async fn signs_in(store: &dyn Store, id: UserId, used: PasskeyUse, session_id: &str) -> bool {
    let sign_in = passkey_sign_in(id, used, session_id);
    let user = store.sign_in_with_passkey(sign_in).await.unwrap();
    assert_eq!(user.is_some(), is_signed_in(store, id, session_id).await);
    user.is_some()
}

fn deletion_of(user_id: UserId, id: &str) -> DeletePasskey {
    DeletePasskey {
        user_id,
        id: id.into(),
        ways: ways(),
        notices: vec![notice("passkey removed")],
        context: RequestContext::default(),
        now: at(20),
    }
}

async fn delete(store: &dyn Store, user_id: UserId, id: &str) -> DeletePasskeyOutcome {
    store
        .delete_passkey(deletion_of(user_id, id))
        .await
        .unwrap()
}

async fn ids(store: &dyn Store, user_id: UserId) -> Vec<String> {
    let factors = store.find_factors(user_id).await.unwrap();
    factors
        .passkeys
        .into_iter()
        .map(|passkey| passkey.id)
        .collect()
}

async fn challenge_is_used_once_by_its_subject(store: &dyn Store) {
    for text in ["one", "two"] {
        let challenge = challenge(text, ChallengePurpose::SignIn);
        store.create_challenge(challenge, at(0)).await.unwrap();
    }
    assert!(!use_challenge(store, "one", "another", at(1)).await);
    let purpose = ChallengeSubject {
        purpose: ChallengePurpose::SecondStep,
        subject: b"subject".to_vec(),
    };
    assert!(
        !store
            .use_challenge(b"one".to_vec(), purpose, at(1))
            .await
            .unwrap()
    );
    assert!(!use_challenge(store, "three", "subject", at(1)).await);
    let uses = join_all((0..4).map(|_| use_challenge(store, "one", "subject", at(1)))).await;
    assert_eq!(uses.iter().filter(|used| **used).count(), 1);
    assert!(use_challenge(store, "two", "subject", at(1)).await);
}

async fn challenge_expires(store: &dyn Store) {
    for text in ["one", "two"] {
        let challenge = challenge(text, ChallengePurpose::SignIn);
        store.create_challenge(challenge, at(0)).await.unwrap();
    }
    assert!(!use_challenge(store, "one", "subject", at(300)).await);
    assert!(use_challenge(store, "one", "subject", at(299)).await);
    // A later one deletes those that have expired.
    let later = NewChallenge {
        expires_at: at(600),
        ..challenge("three", ChallengePurpose::SignIn)
    };
    store.create_challenge(later, at(300)).await.unwrap();
    assert!(!use_challenge(store, "two", "subject", at(299)).await);
}

async fn account_keeps_its_handle(store: &dyn Store) {
    let id = account(store, ANN).await;
    let other = account(store, "bob@example.com").await;
    let start = async |id, key: &str| {
        store
            .start_passkey(start_passkey(id, key))
            .await
            .unwrap()
            .handle
    };
    let handle = start(id, "first").await;
    assert_eq!(handle, format!("handle of {id} for first").into_bytes());
    assert_eq!(start(id, "second").await, handle);
    assert_ne!(start(other, "third").await, handle);
}

async fn registration_names_the_passkeys_there_are(store: &dyn Store) {
    let id = signed_in(store).await;
    let registration = store
        .start_passkey(start_passkey(id, "first"))
        .await
        .unwrap();
    assert_eq!(registration.passkeys, []);
    added(store, id, "key").await;
    let registration = store
        .start_passkey(start_passkey(id, "second"))
        .await
        .unwrap();
    assert_eq!(registration.passkeys, [passkey("key").passkey]);
    let subject = challenge("second", ChallengePurpose::Registration).subject;
    let used = store
        .use_challenge(b"second".to_vec(), subject, at(20))
        .await;
    assert!(used.unwrap(), "the challenge is stored");
}

async fn registration_needs_the_account_or_staff(store: &dyn Store) {
    let id = account(store, ANN).await;
    for (context, reason) in outsiders(store).await {
        let start = StartPasskey {
            context,
            ..start_passkey(id, "key")
        };
        assert_refused(store.start_passkey(start).await, reason);
    }
    let subject = challenge("key", ChallengePurpose::Registration).subject;
    let used = store.use_challenge(b"key".to_vec(), subject, at(20)).await;
    assert!(!used.unwrap());
}

async fn first_passkey_is_a_first_factor(store: &dyn Store) {
    let id = signed_in(store).await;
    let outcome = add_passkey(store, id, "s", "key").await;
    assert_eq!(outcome, AddPasskeyOutcome::Added { is_first: true });
    let factors = store.find_factors(id).await.unwrap();
    assert_eq!(factors.passkeys, [passkey("key").passkey]);
    assert_eq!(factors.recovery_codes_left, 2);
    assert!(user(store, id).await.has_factor);
    // Other sessions were started without it; the asking one counts as authenticated with it.
    assert!(!is_signed_in(store, id, "other").await);
    let sessions = store.list_sessions(id, at(20)).await.unwrap();
    assert_eq!(sessions[0].authentication.amr(), "pwd user swk mfa");
    assert_eq!(
        mails(store).await,
        [(ANN.to_owned(), "undo of key".to_owned())]
    );
    let noted = (EventKind::PasskeyAdded, "name of key".to_owned());
    assert!(events(store, id).await.contains(&noted));
}

async fn further_passkey_ends_no_session(store: &dyn Store) {
    let id = signed_in(store).await;
    added(store, id, "key").await;
    session_with_factor(store, id).await;
    let outcome = add_passkey(store, id, "s", "second").await;
    assert_eq!(outcome, AddPasskeyOutcome::Added { is_first: false });
    assert!(is_signed_in(store, id, "third").await);
    assert_eq!(ids(store, id).await, ["key", "second"]);
    let left = store.find_factors(id).await.unwrap().recovery_codes_left;
    assert_eq!(left, 2);
}

/// Signs in by the passkey `key`, in the session `third`.
async fn session_with_factor(store: &dyn Store, id: UserId) {
    assert!(signs_in(store, id, passkey_use("key", 6), "third").await);
}

async fn id_of_an_authenticator_is_taken_once(store: &dyn Store) {
    let id = signed_in(store).await;
    let other = account(store, "bob@example.com").await;
    session_of(store, other, "t").await;
    added(store, id, "key").await;
    for (user_id, session_id) in [(id, "s"), (other, "t")] {
        store
            .start_passkey(start_passkey(user_id, "again"))
            .await
            .unwrap();
        let mut again = passkey("again");
        again.passkey.credential_id = b"key".to_vec();
        let addition = AddPasskey {
            passkey: again,
            max: 3,
            enrolment: enrolment(user_id, session_id),
        };
        let outcome = store.add_passkey(addition).await.unwrap();
        assert_eq!(outcome, AddPasskeyOutcome::Taken);
        let subject = challenge("again", ChallengePurpose::Registration).subject;
        store
            .use_challenge(b"again".to_vec(), subject, at(20))
            .await
            .unwrap();
    }
    assert!(!store.find_factors(other).await.unwrap().is_enabled());
    assert_eq!(ids(store, id).await, ["key"]);
}

async fn account_has_a_limited_number_of_passkeys(store: &dyn Store) {
    let id = signed_in(store).await;
    for key in ["1", "2", "3"] {
        added(store, id, key).await;
    }
    let outcome = add_passkey(store, id, "s", "4").await;
    assert_eq!(outcome, AddPasskeyOutcome::TooMany);
    assert_eq!(ids(store, id).await, ["1", "2", "3"]);
}

async fn passkey_is_added_in_a_live_session_of_the_account(store: &dyn Store) {
    let id = signed_in(store).await;
    for (context, reason) in outsiders(store).await {
        let addition = AddPasskey {
            passkey: passkey("key"),
            max: 3,
            enrolment: FactorEnrolment {
                context,
                ..enrolment(id, "s")
            },
        };
        assert_refused(store.add_passkey(addition).await, reason);
    }
    assert!(ids(store, id).await.is_empty());
    assert!(is_signed_in(store, id, "other").await);
}

async fn passkey_is_found_by_its_credential(store: &dyn Store) {
    let id = signed_in(store).await;
    added(store, id, "key").await;
    let expected = PasskeyKey {
        id: "key".into(),
        user_id: id,
        user_handle: format!("handle of {id} for key").into_bytes(),
        public_key: b"key of key".to_vec(),
    };
    assert_eq!(
        store.find_passkey_key(b"key").await.unwrap(),
        Some(expected)
    );
    assert_eq!(store.find_passkey_key(b"unknown").await.unwrap(), None);
}

async fn passkeys_are_read_for_export(store: &dyn Store) {
    let id = signed_in(store).await;
    store
        .start_passkey(start_passkey(id, "first"))
        .await
        .unwrap();
    let found = store.find_account_passkeys(id).await.unwrap();
    assert_eq!(found, None, "a handle alone");
    for key in ["a", "b"] {
        added(store, id, key).await;
    }
    let expected = AccountPasskeys {
        user_handle: format!("handle of {id} for first").into_bytes(),
        passkeys: vec![passkey("a"), passkey("b")],
    };
    assert_eq!(
        store.find_account_passkeys(id).await.unwrap(),
        Some(expected)
    );
    assert_eq!(store.find_account_passkeys(id + 1).await.unwrap(), None);
}

async fn passkey_signs_in(store: &dyn Store) {
    let id = signed_in(store).await;
    added(store, id, "key").await;
    empty_queue(store).await;
    let mut sign_in = passkey_sign_in(id, passkey_use("key", 6), "new");
    sign_in.session.network = "198.51.100.1".into();
    let user = store.sign_in_with_passkey(sign_in).await.unwrap().unwrap();
    assert_eq!((user.id, user.last_login_at), (id, Some(at(20))));
    assert!(is_signed_in(store, id, "new").await);
    assert_eq!(mail_contents(store).await, ["new network"]);
    let stored = store.find_account_passkeys(id).await.unwrap().unwrap();
    let used = &stored.passkeys[0];
    assert_eq!(used.sign_count, 6);
    assert_eq!(
        (used.passkey.is_backed_up, used.passkey.last_used_at),
        (true, Some(at(20)))
    );
    assert_eq!(count_events(store, id, EventKind::SignIn).await, 3);
}

async fn counter_that_does_not_rise_is_refused(store: &dyn Store) {
    let id = signed_in(store).await;
    added(store, id, "key").await;
    for sign_count in [0, 4, 5] {
        assert!(!signs_in(store, id, passkey_use("key", sign_count), "copy").await);
    }
    let noted = (EventKind::PasskeyCounterRefused, "name of key".to_owned());
    let events = events(store, id).await;
    assert_eq!(events.iter().filter(|event| **event == noted).count(), 3);
    let stored = store.find_account_passkeys(id).await.unwrap().unwrap();
    assert_eq!(
        (
            stored.passkeys[0].sign_count,
            stored.passkeys[0].passkey.last_used_at
        ),
        (5, None)
    );
    assert!(signs_in(store, id, passkey_use("key", 6), "right").await);
}

async fn counter_of_zero_does_not_count(store: &dyn Store) {
    let id = signed_in(store).await;
    store.start_passkey(start_passkey(id, "key")).await.unwrap();
    let addition = AddPasskey {
        passkey: StoredPasskey {
            sign_count: 0,
            ..passkey("key")
        },
        max: 3,
        enrolment: enrolment(id, "s"),
    };
    store.add_passkey(addition).await.unwrap();
    for name in ["one", "two"] {
        assert!(signs_in(store, id, passkey_use("key", 0), name).await);
    }
    assert!(signs_in(store, id, passkey_use("key", 1), "three").await);
    assert!(!signs_in(store, id, passkey_use("key", 0), "four").await);
}

async fn passkey_of_another_account_does_not_sign_in(store: &dyn Store) {
    let id = signed_in(store).await;
    let other = account(store, "bob@example.com").await;
    added(store, id, "key").await;
    assert!(!signs_in(store, other, passkey_use("key", 6), "stolen").await);
    assert!(!signs_in(store, id, passkey_use("unknown", 6), "unknown").await);
    assert_eq!(user(store, other).await.last_login_at, None);
    assert!(
        signs_in(store, id, passkey_use("key", 6), "own").await,
        "the counter was left"
    );
}

async fn account_that_may_not_sign_in_is_refused(store: &dyn Store) {
    let id = signed_in(store).await;
    added(store, id, "key").await;
    set_active(store, id, false).await;
    assert!(!signs_in(store, id, passkey_use("key", 6), "new").await);
    set_active(store, id, true).await;
    assert!(signs_in(store, id, passkey_use("key", 6), "new").await);
}

async fn passkey_is_renamed(store: &dyn Store) {
    let id = signed_in(store).await;
    added(store, id, "key").await;
    let rename = async |user_id, key: &str, context| {
        store.rename_passkey(user_id, key, "Laptop", context).await
    };
    for (context, reason) in outsiders(store).await {
        assert_refused(rename(id, "key", context).await, reason);
    }
    assert_eq!(rename(id, "unknown", by(id, "s")).await.unwrap(), None);
    assert_eq!(
        rename(id + 100, "key", RequestContext::default())
            .await
            .unwrap(),
        None
    );
    let factors = store.find_factors(id).await.unwrap();
    assert_eq!(factors.passkeys[0].name, "name of key");
    let expected = Passkey {
        name: "Laptop".into(),
        ..passkey("key").passkey
    };
    let renamed = rename(id, "key", by(id, "s")).await.unwrap();
    assert_eq!(renamed, Some(expected.clone()));
    assert_eq!(store.find_factors(id).await.unwrap().passkeys, [expected]);
}

async fn removed_passkey_takes_the_recovery_codes_along(store: &dyn Store) {
    let id = signed_in(store).await;
    added(store, id, "key").await;
    empty_queue(store).await;
    assert_eq!(
        delete(store, id, "key").await,
        DeletePasskeyOutcome::Deleted
    );
    assert!(!store.find_factors(id).await.unwrap().is_enabled());
    let left = store.find_factors(id).await.unwrap().recovery_codes_left;
    assert_eq!(left, 0);
    assert!(!user(store, id).await.has_factor);
    assert_eq!(
        mails(store).await,
        [(ANN.to_owned(), "passkey removed".to_owned())]
    );
    let noted = (EventKind::PasskeyRemoved, "name of key".to_owned());
    assert_eq!(events(store, id).await.pop(), Some(noted));
    assert_eq!(
        delete(store, id, "key").await,
        DeletePasskeyOutcome::NotFound
    );
    assert!(!signs_in(store, id, passkey_use("key", 6), "late").await);
}

async fn other_passkey_keeps_the_recovery_codes(store: &dyn Store) {
    let id = signed_in(store).await;
    for key in ["key", "second"] {
        added(store, id, key).await;
    }
    assert_eq!(
        delete(store, id, "key").await,
        DeletePasskeyOutcome::Deleted
    );
    assert_eq!(ids(store, id).await, ["second"]);
    let left = store.find_factors(id).await.unwrap().recovery_codes_left;
    assert_eq!(left, 2);
}

/// Takes the password away, as for an account that was made by an identity.
async fn without_password(store: &dyn Store, id: UserId) {
    assert!(store.rehash_password(id, "hash", "!").await.unwrap());
}

async fn last_way_in_is_not_removed(store: &dyn Store) {
    let id = signed_in(store).await;
    added(store, id, "key").await;
    without_password(store, id).await;
    assert_eq!(
        delete(store, id, "key").await,
        DeletePasskeyOutcome::LastWayIn
    );
    assert_eq!(ids(store, id).await, ["key"]);
    added(store, id, "second").await;
    assert_eq!(
        delete(store, id, "key").await,
        DeletePasskeyOutcome::Deleted
    );
    store.connect_identity(connection(id, "ann")).await.unwrap();
    assert_eq!(
        delete(store, id, "second").await,
        DeletePasskeyOutcome::Deleted
    );
}

async fn ways_of_other_sites_do_not_count(store: &dyn Store) {
    let id = signed_in(store).await;
    for key in ["key", "second"] {
        added(store, id, key).await;
    }
    store.connect_identity(connection(id, "ann")).await.unwrap();
    without_password(store, id).await;
    for (rp_id, provider, is_left) in [
        ("other.example", "other", false),
        ("other.example", "google", true),
        ("example.com", "other", true),
    ] {
        let key = ids(store, id).await[0].clone();
        let deletion = DeletePasskey {
            ways: SiteWays {
                rp_id: rp_id.into(),
                providers: vec![provider.into()],
            },
            ..deletion_of(id, &key)
        };
        let outcome = store.delete_passkey(deletion).await.unwrap();
        let expected = match is_left {
            true => DeletePasskeyOutcome::Deleted,
            false => DeletePasskeyOutcome::LastWayIn,
        };
        assert_eq!(outcome, expected, "{rp_id} {provider}");
        if ids(store, id).await.len() == 1 {
            added(store, id, &format!("after {provider}")).await;
        }
    }
}

async fn passkeys_are_removed_by_their_account_or_staff(store: &dyn Store) {
    let id = signed_in(store).await;
    added(store, id, "key").await;
    for (context, reason) in outsiders(store).await {
        let deletion = DeletePasskey {
            context,
            ..deletion_of(id, "key")
        };
        assert_refused(store.delete_passkey(deletion).await, reason);
    }
    let other = account(store, "bob@example.com").await;
    assert_eq!(
        delete(store, other, "key").await,
        DeletePasskeyOutcome::NotFound
    );
    assert_eq!(ids(store, id).await, ["key"]);
    let own = DeletePasskey {
        context: by(id, "s"),
        ..deletion_of(id, "key")
    };
    let outcome = store.delete_passkey(own).await.unwrap();
    assert_eq!(outcome, DeletePasskeyOutcome::Deleted);
}
