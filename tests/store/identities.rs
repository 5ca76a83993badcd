//! Identities of accounts at other providers.

use crate::support::*;

on_every_engine![
    identity_is_connected,
    connected_identity_is_connected_again_without_effect,
    identity_has_one_account,
    account_has_a_limited_number_of_identities,
    connection_needs_the_account_or_staff,
    identity_signs_in,
    identity_of_an_inactive_account_is_refused,
    unknown_identity_is_refused_without_sign_up,
    id_token_counts_once,
    account_with_a_factor_gets_a_ticket,
    trusted_newcomer_gets_an_account,
    untrusted_newcomer_gets_a_pending_sign_up,
    mails_to_newcomers_are_throttled,
    ticket_of_a_sign_up_connects_the_identity,
    address_of_an_account_is_connected_by_its_ticket_alone,
    ticket_is_that_of_account_and_identity,
    trusted_identity_is_connected_to_the_account_with_its_address,
    trusted_identity_does_not_get_past_a_factor,
    deactivated_sign_up_is_refused,
    identity_is_disconnected,
    last_way_in_is_not_disconnected,
];

const ANN: &str = "ann@example.com";

/// The sign-in of an identity that no account has to have.
fn arrival(subject: &str, session_id: &str, newcomer: Option<Newcomer>) -> IdentitySignIn {
    IdentitySignIn {
        proven: proven(subject),
        used_token: None,
        new_id: format!("identity {subject}"),
        session: session(session_id, at(20)),
        notice: None,
        ticket: NewTicket {
            token_hash: format!("factor {session_id}").into_bytes(),
            method: AuthMethod::Federated,
            expires_at: at(500),
        },
        newcomer,
        context: RequestContext::default(),
    }
}

fn newcomer(subject: &str, is_trusted: bool) -> Newcomer {
    let hash = format!("{IDENTITY_PASSWORD}{subject}");
    let email = format!("{subject}@example.com");
    Newcomer {
        sign_up: NewSignUp {
            profile: Profile {
                first_name: subject.into(),
                ..Profile::default()
            },
            ..sign_up(&email, &hash, "code", at(20))
        },
        is_trusted,
        connection: None,
        ticket_hash: format!("ticket {subject}").into_bytes(),
        ticket_expires_at: at(320),
    }
}

async fn arrive(store: &dyn Store, sign_in: IdentitySignIn) -> IdentitySignInOutcome {
    store.sign_in_with_identity(sign_in).await.unwrap()
}

#[track_caller]
fn user_of(outcome: IdentitySignInOutcome) -> (User, bool) {
    match outcome {
        IdentitySignInOutcome::Started { user, is_new } => (*user, is_new),
        other => panic!("{other:?}"),
    }
}

async fn connect(store: &dyn Store, request: ConnectIdentity) -> ConnectOutcome {
    store.connect_identity(request).await.unwrap()
}

/// An account with the identity `ann`.
async fn connected(store: &dyn Store) -> UserId {
    let id = verified(store, ANN, at(0)).await;
    let outcome = connect(store, connection(id, "ann")).await;
    assert!(matches!(outcome, ConnectOutcome::Connected(_)));
    id
}

async fn subjects(store: &dyn Store, id: UserId) -> Vec<String> {
    let identities = store.list_identities(id).await.unwrap().into_iter();
    identities.map(|identity| identity.proven.subject).collect()
}

async fn find_ticket(store: &dyn Store, subject: &str, id: UserId, now: Timestamp) -> bool {
    let hash = format!("ticket {subject}").into_bytes();
    let found = store.find_identity_ticket(&hash, id, now).await.unwrap();
    assert!(found.is_none() || found == Some(proven(subject)));
    found.is_some()
}

async fn identity_is_connected(store: &dyn Store) {
    let id = connected(store).await;
    let expected = Identity {
        id: "identity ann".into(),
        proven: proven("ann"),
        created_at: at(10),
        last_used_at: None,
    };
    assert_eq!(store.list_identities(id).await.unwrap(), [expected]);
    let owner = async |issuer: &str, subject: &str| {
        store.find_identity_user(issuer, subject).await.unwrap()
    };
    assert_eq!(owner("https://issuer.example", "ann").await, Some(id));
    assert_eq!(owner("https://issuer.example", "bob").await, None);
    assert_eq!(owner("https://other.example", "ann").await, None);
    let undo = (ANN.to_owned(), "undo of ann".to_owned());
    assert!(mails(store).await.contains(&undo));
    let event = (EventKind::IdentityConnected, "google".to_owned());
    assert!(events(store, id).await.contains(&event));
}

async fn connected_identity_is_connected_again_without_effect(store: &dyn Store) {
    let id = connected(store).await;
    let before = mails(store).await;
    let again = ConnectIdentity {
        new_id: "another id".into(),
        max: 1,
        ..connection(id, "ann")
    };
    let outcome = connect(store, again).await;
    assert!(matches!(outcome, ConnectOutcome::Connected(found) if found.id == "identity ann"));
    assert_eq!(mails(store).await, before);
}

async fn identity_has_one_account(store: &dyn Store) {
    let id = connected(store).await;
    let other = account(store, "bob@example.com").await;
    let before = mails(store).await;
    let outcome = connect(store, connection(other, "ann")).await;
    assert_eq!(outcome, ConnectOutcome::Taken);
    assert_eq!(subjects(store, id).await, ["ann"]);
    assert!(subjects(store, other).await.is_empty());
    assert_eq!(mails(store).await, before);
}

async fn account_has_a_limited_number_of_identities(store: &dyn Store) {
    let id = connected(store).await;
    for subject in ["two", "three"] {
        connect(store, connection(id, subject)).await;
    }
    let outcome = connect(store, connection(id, "four")).await;
    assert_eq!(outcome, ConnectOutcome::TooMany);
    assert_eq!(subjects(store, id).await.len(), 3);
}

async fn connection_needs_the_account_or_staff(store: &dyn Store) {
    let id = connected(store).await;
    for (context, reason) in outsiders(store).await {
        let request = ConnectIdentity {
            context: context.clone(),
            ..connection(id, "two")
        };
        assert_refused(store.connect_identity(request).await, reason);
        let removal = DisconnectIdentity {
            context,
            ..disconnection(id)
        };
        assert_refused(store.disconnect_identity(removal).await, reason);
    }
    assert_eq!(subjects(store, id).await, ["ann"]);
}

async fn identity_signs_in(store: &dyn Store) {
    let id = connected(store).await;
    let mut sign_in = arrival("ann", "new", None);
    sign_in.proven.email = "moved@example.com".into();
    sign_in.proven.name = String::new();
    let (user, is_new) = user_of(arrive(store, sign_in).await);
    assert_eq!((user.id, is_new), (id, false));
    assert_eq!(user.last_login_at, Some(at(20)));
    assert!(is_signed_in(store, id, "new").await);
    // What the provider says now is kept; what it does not say stays.
    let identities = store.list_identities(id).await.unwrap();
    assert_eq!(identities[0].last_used_at, Some(at(20)));
    assert_eq!(identities[0].proven.email, "moved@example.com");
    assert_eq!(identities[0].proven.name, "name of ann");
}

async fn identity_of_an_inactive_account_is_refused(store: &dyn Store) {
    let id = connected(store).await;
    set_active(store, id, false).await;
    let outcome = arrive(store, arrival("ann", "new", None)).await;
    assert_eq!(outcome, IdentitySignInOutcome::Refused);
    assert!(!is_signed_in(store, id, "new").await);
}

async fn unknown_identity_is_refused_without_sign_up(store: &dyn Store) {
    let outcome = arrive(store, arrival("ann", "new", None)).await;
    assert_eq!(outcome, IdentitySignInOutcome::Refused);
    assert!(!store.find_setup_state().await.unwrap().has_accounts);
}

async fn id_token_counts_once(store: &dyn Store) {
    let id = connected(store).await;
    let with_token = |session_id, now| IdentitySignIn {
        used_token: Some(UsedIdToken {
            token_hash: b"token".to_vec(),
            expires_at: at(100),
        }),
        session: session(session_id, now),
        ..arrival("ann", session_id, None)
    };
    user_of(arrive(store, with_token("one", at(20))).await);
    let outcome = arrive(store, with_token("two", at(99))).await;
    assert_eq!(outcome, IdentitySignInOutcome::Replayed);
    assert!(!is_signed_in(store, id, "two").await);
    // By then the token is refused because of its age, so it is forgotten.
    user_of(arrive(store, with_token("three", at(100))).await);
}

async fn account_with_a_factor_gets_a_ticket(store: &dyn Store) {
    let id = connected(store).await;
    activate(store, id, ANN).await;
    let outcome = arrive(store, arrival("ann", "new", None)).await;
    assert!(matches!(
        outcome,
        IdentitySignInOutcome::SecondFactorRequired { .. }
    ));
    assert!(!is_signed_in(store, id, "new").await);
    let second_step = CompleteSignIn {
        token_hash: b"factor new".to_vec(),
        tried: factor_try(totp(id, 101), at(30)),
        session: session("new", at(30)),
        notice: None,
    };
    let outcome = store.complete_sign_in(second_step).await.unwrap();
    let CompleteOutcome::Started { authentication, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(authentication.amr(), "fed otp mfa");
}

async fn trusted_newcomer_gets_an_account(store: &dyn Store) {
    // A pending sign-up for the address gives way, with its code.
    let stranger = sign_up("new@example.com", "theirs", "stranger", at(0));
    created(store.create_sign_up(stranger).await.unwrap());
    let sign_in = arrival("new", "s", Some(newcomer("new", true)));
    let (user, is_new) = user_of(arrive(store, sign_in).await);
    assert!(is_new && user.is_verified());
    assert_eq!(
        (&*user.email, &*user.profile.first_name),
        ("new@example.com", "new")
    );
    assert_eq!(store.find_language(user.id).await.unwrap(), "de");
    assert_eq!(subjects(store, user.id).await, ["new"]);
    let hash = store.find_password_hash(user.id).await.unwrap().unwrap();
    assert!(hash.starts_with('!'), "no password matches: {hash}");
    let outcome = store
        .confirm_sign_up(confirmation(
            attempt("new@example.com", "stranger", at(30)),
            session("no", at(30)),
        ))
        .await;
    assert_eq!(outcome.unwrap(), None);
}

async fn untrusted_newcomer_gets_a_pending_sign_up(store: &dyn Store) {
    let sign_in = arrival("new", "s", Some(newcomer("new", false)));
    let outcome = arrive(store, sign_in).await;
    let IdentitySignInOutcome::NotVerified { user_id } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(!user(store, user_id).await.is_verified());
    assert!(!is_signed_in(store, user_id, "s").await);
    assert!(subjects(store, user_id).await.is_empty());
    assert!(find_ticket(store, "new", user_id, at(30)).await);
    let code = ("new@example.com".to_owned(), "code".to_owned());
    assert_eq!(mails(store).await, [code]);
}

async fn mails_to_newcomers_are_throttled(store: &dyn Store) {
    let limited = |subject: &str, session_id: &str| {
        let mut newcomer = newcomer("new", false);
        newcomer.sign_up.limits = STRICT;
        newcomer.sign_up.password_hash = format!("{IDENTITY_PASSWORD}{subject}");
        newcomer.sign_up.otp.code_hash = session_id.as_bytes().to_vec();
        newcomer.ticket_hash = format!("ticket {session_id}").into_bytes();
        arrival(subject, session_id, Some(newcomer))
    };
    let outcome = arrive(store, limited("new", "one")).await;
    let IdentitySignInOutcome::NotVerified { user_id } = outcome else {
        panic!("{outcome:?}");
    };
    // The same identity gets a ticket for the sign-up whose mail is under way.
    let outcome = arrive(store, limited("new", "two")).await;
    assert_eq!(outcome, IdentitySignInOutcome::NotVerified { user_id });
    let outcome = arrive(store, limited("other", "three")).await;
    let until = at(80);
    assert_eq!(outcome, IdentitySignInOutcome::Throttled { until });
    assert_eq!(mails(store).await.len(), 1);
}

async fn ticket_of_a_sign_up_connects_the_identity(store: &dyn Store) {
    for (subject, with_ticket) in [("with", true), ("without", false)] {
        let session_id = format!("arrival {subject}");
        let newcomer = newcomer(subject, false);
        arrive(store, arrival(subject, &session_id, Some(newcomer))).await;
        let email = format!("{subject}@example.com");
        let mut confirmation =
            confirmation(attempt(&email, "code", at(30)), session(subject, at(30)));
        confirmation.identity = with_ticket.then(|| IdentityTicket {
            token_hash: format!("ticket {subject}").into_bytes(),
            new_id: format!("identity {subject}"),
        });
        let confirmed = store.confirm_sign_up(confirmation).await.unwrap().unwrap();
        assert_eq!(confirmed.needs_password, !with_ticket);
        let identities = subjects(store, confirmed.user.id).await.len();
        assert_eq!(identities, usize::from(with_ticket));
        let reset = (email, "reset".to_owned());
        assert_eq!(mails(store).await.contains(&reset), !with_ticket);
    }
}

async fn address_of_an_account_is_connected_by_its_ticket_alone(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    for (is_trusted, session_id) in [(true, "one"), (false, "two")] {
        let mut newcomer = newcomer("ann", is_trusted);
        newcomer.ticket_hash = format!("ticket {session_id}").into_bytes();
        let outcome = arrive(store, arrival("ann", session_id, Some(newcomer))).await;
        assert_eq!(outcome, IdentitySignInOutcome::AccountExists);
        assert!(!is_signed_in(store, id, session_id).await);
    }
    assert!(subjects(store, id).await.is_empty());
    let with = |ticket: &str| ConnectIdentity {
        ticket_hash: Some(ticket.as_bytes().to_vec()),
        ..connection(id, "ann")
    };
    let outcome = connect(store, with("ticket one")).await;
    assert!(matches!(outcome, ConnectOutcome::Connected(_)));
    // It is used up.
    assert_eq!(
        connect(store, with("ticket one")).await,
        ConnectOutcome::InvalidTicket
    );
}

async fn ticket_is_that_of_account_and_identity(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    let other = account(store, "bob@example.com").await;
    arrive(store, arrival("ann", "s", Some(newcomer("ann", true)))).await;
    assert!(find_ticket(store, "ann", id, at(319)).await);
    assert!(!find_ticket(store, "ann", id, at(320)).await, "expired");
    assert!(!find_ticket(store, "ann", other, at(30)).await);
    for wrong in [
        connection(other, "ann"),
        connection(id, "bob"),
        ConnectIdentity {
            now: at(320),
            ..connection(id, "ann")
        },
    ] {
        let wrong = ConnectIdentity {
            ticket_hash: Some(b"ticket ann".to_vec()),
            ..wrong
        };
        assert_eq!(connect(store, wrong).await, ConnectOutcome::InvalidTicket);
    }
    assert!(
        find_ticket(store, "ann", id, at(30)).await,
        "it is not used up"
    );
}

async fn trusted_identity_is_connected_to_the_account_with_its_address(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    let with_mails = |is_trusted| Newcomer {
        connection: Some(connection_mails("ann")),
        ..newcomer("ann", is_trusted)
    };
    let outcome = arrive(store, arrival("ann", "one", Some(with_mails(false)))).await;
    assert_eq!(outcome, IdentitySignInOutcome::AccountExists);
    let mut newcomer = with_mails(true);
    newcomer.ticket_hash = b"another".to_vec();
    let (user, is_new) = user_of(arrive(store, arrival("ann", "two", Some(newcomer))).await);
    assert_eq!((user.id, is_new), (id, false));
    assert_eq!(subjects(store, id).await, ["ann"]);
    let undo = (ANN.to_owned(), "undo of ann".to_owned());
    assert!(mails(store).await.contains(&undo));
}

async fn trusted_identity_does_not_get_past_a_factor(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    activate(store, id, ANN).await;
    let newcomer = Newcomer {
        connection: Some(connection_mails("ann")),
        ..newcomer("ann", true)
    };
    let outcome = arrive(store, arrival("ann", "new", Some(newcomer))).await;
    assert_eq!(outcome, IdentitySignInOutcome::AccountExists);
    assert!(subjects(store, id).await.is_empty());
}

async fn deactivated_sign_up_is_refused(store: &dyn Store) {
    let pending = sign_up("new@example.com", "hash", "x", at(0));
    let id = created(store.create_sign_up(pending).await.unwrap());
    set_active(store, id, false).await;
    for is_trusted in [true, false] {
        let sign_in = arrival("new", "s", Some(newcomer("new", is_trusted)));
        let outcome = arrive(store, sign_in).await;
        assert_eq!(outcome, IdentitySignInOutcome::Refused);
    }
    assert!(!user(store, id).await.is_verified());
}

fn disconnection(id: UserId) -> DisconnectIdentity {
    DisconnectIdentity {
        user_id: id,
        id: "identity ann".into(),
        ways: ways(),
        notices: vec![notice("identity removed")],
        context: RequestContext::default(),
        now: at(40),
    }
}

async fn identity_is_disconnected(store: &dyn Store) {
    let id = connected(store).await;
    let other = account(store, "bob@example.com").await;
    let disconnect = async |request| store.disconnect_identity(request).await.unwrap();
    let outcome = disconnect(disconnection(other)).await;
    assert_eq!(outcome, DisconnectOutcome::NotFound);
    let outcome = disconnect(disconnection(id)).await;
    assert_eq!(outcome, DisconnectOutcome::Disconnected);
    let outcome = disconnect(disconnection(id)).await;
    assert_eq!(outcome, DisconnectOutcome::NotFound);
    assert!(subjects(store, id).await.is_empty());
    let outcome = arrive(store, arrival("ann", "new", None)).await;
    assert_eq!(outcome, IdentitySignInOutcome::Refused);
    assert!(
        mail_contents(store)
            .await
            .contains(&"identity removed".into())
    );
}

async fn last_way_in_is_not_disconnected(store: &dyn Store) {
    let id = connected(store).await;
    assert!(store.rehash_password(id, "hash", "!").await.unwrap());
    let try_it = async |ways| {
        let request = DisconnectIdentity {
            ways,
            ..disconnection(id)
        };
        store.disconnect_identity(request).await.unwrap()
    };
    assert_eq!(try_it(ways()).await, DisconnectOutcome::LastWayIn);
    connect(store, connection(id, "two")).await;
    // An identity of a provider that is not configured any more signs nobody in.
    let none = SiteWays::default();
    assert_eq!(try_it(none).await, DisconnectOutcome::LastWayIn);
    assert_eq!(subjects(store, id).await, ["ann", "two"]);
    assert_eq!(try_it(ways()).await, DisconnectOutcome::Disconnected);
}
