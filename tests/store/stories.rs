//! Stories of many operations, one after another.

use crate::support::*;

#[tokio::test]
async fn the_story_on_a_file() {
    let (_dir, store) = on_a_file();
    story(&*store).await;
}

#[tokio::test]
async fn the_story_on_postgres() {
    if let Some((_schema, store)) = on_postgres().await {
        story(&*store).await;
    }
}

#[tokio::test]
async fn the_story_in_memory() {
    story(&*in_memory()).await;
}

/// The link that makes the first staff account, on a store without any.
async fn first_staff(store: &dyn Store) {
    let state = |has_accounts, has_staff| SetupState {
        has_accounts,
        has_staff,
    };
    assert_eq!(store.find_setup_state().await.unwrap(), state(false, false));
    for (token, expires_at) in [(b"former", at(100)), (b"latest", at(200))] {
        assert!(store.replace_setup_link(token, expires_at).await.unwrap());
    }
    for (token, now, is_valid) in [
        (b"former", at(1), false),
        (b"latest", at(1), true),
        (b"latest", at(200), false),
    ] {
        let found = store.is_setup_link_valid(token, now).await.unwrap();
        assert_eq!(found, is_valid, "{token:?}");
    }
    let use_of = |token: &[u8], email: &str, now| FirstStaff {
        token_hash: token.to_vec(),
        user: NewUser {
            context: RequestContext::default(),
            email: address(email),
            password_hash: "hash".into(),
            profile: Profile::default(),
            is_staff: true,
            now,
        },
        session: session(email, now),
    };
    verified(store, "taken@example.com", at(1)).await;
    for (request, outcome) in [
        (
            use_of(b"former", "root@example.com", at(1)),
            FirstStaffOutcome::InvalidLink,
        ),
        (
            use_of(b"latest", "root@example.com", at(200)),
            FirstStaffOutcome::InvalidLink,
        ),
        (
            use_of(b"latest", "taken@example.com", at(1)),
            FirstStaffOutcome::EmailTaken,
        ),
    ] {
        assert_eq!(store.create_first_staff(request).await.unwrap(), outcome);
    }
    assert_eq!(store.find_setup_state().await.unwrap(), state(true, false));
    // Of several that use it at once, one wins.
    let uses = ["a@example.com", "b@example.com", "c@example.com"]
        .map(|email| store.create_first_staff(use_of(b"latest", email, at(2))));
    let outcomes = join_all(uses).await;
    let won = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome.unwrap() {
            FirstStaffOutcome::Created(user) => Some(user),
            _ => None,
        });
    let won: Vec<_> = won.collect();
    assert_eq!(won.len(), 1);
    assert!(won[0].is_staff && won[0].is_verified());
    assert_eq!(won[0].last_login_at, Some(at(2)));
    assert_eq!(store.find_setup_state().await.unwrap(), state(true, true));
    assert!(!store.replace_setup_link(b"another", at(300)).await.unwrap());
    assert!(!store.is_setup_link_valid(b"latest", at(3)).await.unwrap());
    // What happened is counted by day.
    let day = at(0).unix_days();
    let overview = store.read_overview(day - 1, day).await.unwrap();
    let numbers = (overview.accounts, overview.confirmed, overview.staff);
    assert_eq!(numbers, (2, 2, 1));
    let days: Vec<_> = overview
        .days
        .iter()
        .map(|day| (day.day, day.sign_ups, day.confirmed, day.sign_ins))
        .collect();
    assert_eq!(days, [(day - 1, 0, 0, 0), (day, 1, 1, 0)]);
}

#[tokio::test]
async fn first_staff_account_on_a_file() {
    let (_dir, store) = on_a_file();
    first_staff(&*store).await;
}

#[tokio::test]
async fn first_staff_account_on_postgres() {
    if let Some((_schema, store)) = on_postgres().await {
        first_staff(&*store).await;
    }
}

#[tokio::test]
async fn first_staff_account_in_memory() {
    first_staff(&*in_memory()).await;
}

async fn story(store: &dyn Store) {
    keys_and_secrets(store).await;
    let id = sign_ups_side_by_side(store).await;
    sessions_and_rotation(store, id).await;
    updates(store, id).await;
    addresses(store).await;
    wrong_codes(store).await;
    wrong_passwords(store).await;
    limits_on_mails(store).await;
    the_queue_of_mails(store).await;
    mails_for_staff(store).await;
    mails_that_nobody_needs_any_more(store).await;
    accounts_without_confirmation(store).await;
    what_has_expired_goes(store).await;
}

async fn keys_and_secrets(store: &dyn Store) {
    let key = |kid: &str, now| StoredKey {
        kid: kid.into(),
        algorithm: "EdDSA".into(),
        private_key: vec![1, 2],
        is_sealed: false,
        public_key: vec![3, 4],
        created_at: now,
        retired_at: None,
        is_for_clients: false,
    };
    assert!(store.list_signing_keys().await.unwrap().is_empty());
    for kid in ["first", "second"] {
        let keys = store
            .create_first_signing_key(key(kid, at(0)))
            .await
            .unwrap();
        assert!(
            keys == [key("first", at(0))],
            "the first caller creates the key"
        );
    }
    assert!(store.list_signing_keys().await.unwrap() == [key("first", at(0))]);
    for fresh in [vec![1; 32], vec![2; 32]] {
        assert_eq!(secret(store, "name", fresh).await, [1; 32]);
    }
    assert_eq!(secret(store, "other", vec![3]).await, [3]);
}

#[expect(clippy::too_many_lines, reason = "it is one story")]
async fn sign_ups_side_by_side(store: &dyn Store) -> UserId {
    let now = at(0);
    let id = created(
        store
            .create_sign_up(sign_up("ann@example.com", "first", "1", now))
            .await
            .unwrap(),
    );
    let again = created(
        store
            .create_sign_up(sign_up("Ann@example.com", "second", "2", at(1)))
            .await
            .unwrap(),
    );
    assert_eq!(again, id, "one address, one account");
    let found = store
        .find_credentials("ann@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.user_id, &*found.password_hash, found.is_verified),
        (id, "second", false)
    );
    assert!(
        !store
            .is_email_taken("ann@example.com", None, at(599))
            .await
            .unwrap()
    );
    assert!(
        store
            .create_session(sign_in(id, "second", "early", now))
            .await
            .unwrap()
            == SignInOutcome::Changed
    );

    for (code, when) in [("3", at(2)), ("1", at(600))] {
        let outcome = store
            .confirm_sign_up(confirmation(
                attempt("ann@example.com", code, when),
                session("no", when),
            ))
            .await
            .unwrap();
        assert_eq!(outcome, None, "code {code}");
    }
    let user = store
        .confirm_sign_up(ConfirmSignUp {
            // The address is contested: without its password the sign-up would lose it.
            proven_hash: Some("first".into()),
            ..confirmation(
                attempt("ann@example.com", "1", at(599)),
                session("ann", at(599)),
            )
        })
        .await
        .unwrap();
    let user = user.unwrap().user;
    assert_eq!(
        (user.id, &*user.email, &*user.profile.first_name),
        (id, "ann@example.com", "first")
    );
    assert_eq!((user.verified_at, user.created_at), (Some(at(599)), at(0)));
    let found = store
        .find_credentials("ann@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&*found.password_hash, found.is_verified), ("first", true));
    for code in ["1", "2"] {
        let outcome = store
            .confirm_sign_up(confirmation(
                attempt("ann@example.com", code, at(599)),
                session("no", at(599)),
            ))
            .await
            .unwrap();
        assert_eq!(outcome, None, "code {code} is dead");
    }
    assert!(
        store
            .is_email_taken("ann@example.com", None, at(599))
            .await
            .unwrap()
    );
    assert!(
        !store
            .is_email_taken("ann@example.com", Some(id), at(599))
            .await
            .unwrap()
    );
    let outcome = store
        .create_sign_up(sign_up("ann@example.com", "third", "3", at(600)))
        .await
        .unwrap();
    assert_eq!(outcome, SignUpOutcome::EmailTaken);
    assert_eq!(
        store.find_session_user(&named("ann", id)).await.unwrap(),
        Some(Arc::new(UserSnapshot::new(user)))
    );
    id
}

async fn sessions_and_rotation(store: &dyn Store, id: UserId) {
    assert!(
        store
            .create_session(sign_in(id, "another", "wrong", at(0)))
            .await
            .unwrap()
            == SignInOutcome::Changed
    );
    assert!(
        store
            .create_session(sign_in(id + 100, "first", "nobody", at(0)))
            .await
            .unwrap()
            == SignInOutcome::Changed
    );
    let user = begin(store, sign_in(id, "first", "s", at(1000))).await;
    assert_eq!(user.last_login_at, Some(at(1000)));
    let found = async |session| store.find_session_user(&session).await.unwrap();
    let snapshot = Arc::new(UserSnapshot::new(user.clone()));
    assert_eq!(found(named("s", id)).await, Some(snapshot));
    assert_eq!(found(named("s", id + 1)).await, None, "another account");
    assert_eq!(found(named("unknown", id)).await, None);

    let live = async |token: &str, now| {
        store
            .is_refresh_token_live("s", token, now, GRACE, SessionLifetimes::default())
            .await
            .unwrap()
    };
    assert!(live("s-0", at(1000)).await && !live("s-1", at(1000)).await);
    let outcome = store
        .rotate_refresh_token(rotation("s", "s-0", "s-1", at(1001)))
        .await
        .unwrap();
    let rotated = Rotation::Rotated {
        user: Box::new(user.clone()),
        created_at: at(1000),
        authentication: Authentication::by(AuthMethod::Password, at(1000)),
        refresh_id: "s-1".into(),
    };
    assert_eq!(outcome, rotated);
    assert!(live("s-0", at(1010)).await && live("s-1", at(1010)).await);
    assert!(!live("s-0", at(1012)).await && live("s-1", at(1012)).await);
    let outcome = store
        .rotate_refresh_token(rotation("s", "s-0", "s-2", at(1010)))
        .await
        .unwrap();
    assert_eq!(outcome, rotated, "the same successor within the grace");

    let other = begin(store, sign_in(id, "first", "other", at(1000))).await;
    let outcome = store
        .rotate_refresh_token(rotation("s", "s-0", "s-3", at(1012)))
        .await
        .unwrap();
    assert_eq!(outcome, Rotation::Reused);
    assert_eq!(
        store.find_session_user(&named("s", id)).await.unwrap(),
        None,
        "the whole session has ended"
    );
    let outcome = store
        .rotate_refresh_token(rotation("s", "s-1", "s-4", at(1012)))
        .await
        .unwrap();
    assert_eq!(outcome, Rotation::Invalid);
    assert_eq!(
        store.find_session_user(&named("other", id)).await.unwrap(),
        Some(Arc::new(UserSnapshot::new(other)))
    );

    let outcome = store
        .rotate_refresh_token(rotation("other", "unknown", "o-1", at(1012)))
        .await
        .unwrap();
    assert_eq!(
        outcome,
        Rotation::Reused,
        "what is not known any more counts as used"
    );
    assert!(
        !store
            .delete_session("other", RequestContext::default(), at(0))
            .await
            .unwrap()
    );
    begin(store, sign_in(id, "first", "last", at(1000))).await;
    assert!(
        store
            .delete_session("last", RequestContext::default(), at(0))
            .await
            .unwrap()
    );
    assert_eq!(
        store.find_session_user(&named("last", id)).await.unwrap(),
        None
    );
}

async fn updates(store: &dyn Store, id: UserId) {
    let before = store.find_user(id).await.unwrap().unwrap();
    assert_eq!(store.find_user(id + 100).await.unwrap(), None);
    let outcome = store
        .update_user(update(id + 100, renamed("x"), "", at(2000)))
        .await
        .unwrap();
    assert_eq!(outcome, UpdateOutcome::NotFound);

    let (same, mail) = updated(
        store
            .update_user(update(id, renamed("first"), "", at(2000)))
            .await
            .unwrap(),
    );
    assert_eq!(
        (&same, mail),
        (&before, None),
        "nothing changed, so the time stays"
    );
    let changes = UserChanges {
        last_name: Some("Doe".into()),
        phone: Some("+1234567890".into()),
        photo: Some(Some("photo.jpg".into())),
        ..renamed("Ann")
    };
    let (after, mail) = updated(
        store
            .update_user(update(id, changes, "", at(2001)))
            .await
            .unwrap(),
    );
    let expected = User {
        profile: Profile {
            first_name: "Ann".into(),
            last_name: "Doe".into(),
            phone: "+1234567890".into(),
            ..before.profile.clone()
        },
        photo: Some("photo.jpg".into()),
        updated_at: at(2001),
        ..before
    };
    assert_eq!((&after, mail), (&expected, None));
    assert_eq!(store.find_user(id).await.unwrap(), Some(expected));

    // Revoked sessions stay revoked when the account is activated again.
    begin(store, sign_in(id, "first", "active", at(2000))).await;
    for is_active in [false, true] {
        let changes = UserChanges {
            is_active: Some(is_active),
            ..UserChanges::default()
        };
        store
            .update_user(update(id, changes, "", at(2002)))
            .await
            .unwrap();
        assert_eq!(
            store.find_session_user(&named("active", id)).await.unwrap(),
            None
        );
    }
}

async fn addresses(store: &dyn Store) {
    let now = at(3000);
    let bob = verified(store, "bob@example.com", now).await;
    let eve = verified(store, "eve@example.com", now).await;
    let stranger = created(
        store
            .create_sign_up(sign_up("new@example.com", "hash", "s", now))
            .await
            .unwrap(),
    );
    let taken = store
        .update_user(update(bob, moved("Eve@example.com"), "b", now))
        .await
        .unwrap();
    assert_eq!(taken, UpdateOutcome::EmailTaken);

    let (user, mail) = updated(
        store
            .update_user(update(bob, moved("new@example.com"), "b", now))
            .await
            .unwrap(),
    );
    assert_eq!(
        (&*user.email, user.new_email.as_deref()),
        ("bob@example.com", Some("new@example.com"))
    );
    assert_eq!(mail, Some(OtpPurpose::EmailChange));
    assert_eq!(
        store.find_user(stranger).await.unwrap(),
        None,
        "a never-verified account gives way"
    );
    for email in ["bob@example.com", "new@example.com"] {
        assert_eq!(
            store
                .find_credentials(email)
                .await
                .unwrap()
                .unwrap()
                .user_id,
            bob,
            "{email}"
        );
    }
    let by = |user_id, code| AccountOtp {
        user_id,
        attempt: attempt("new@example.com", code, now),
        notices: Vec::new(),
    };
    assert_eq!(
        store.confirm_email_change(by(eve, "b")).await.unwrap(),
        None
    );
    assert_eq!(
        store.confirm_email_change(by(bob, "s")).await.unwrap(),
        None
    );
    let sign_up_code = store
        .confirm_sign_up(confirmation(
            attempt("new@example.com", "b", now),
            session("no", now),
        ))
        .await
        .unwrap();
    assert_eq!(sign_up_code, None, "a code counts for its own purpose only");
    let user = store
        .confirm_email_change(by(bob, "b"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&*user.email, user.new_email), ("new@example.com", None));
    assert!(
        store
            .find_credentials("bob@example.com")
            .await
            .unwrap()
            .is_none()
    );

    // A sign-up for a pending address makes the account fall back to its confirmed one.
    store
        .update_user(update(bob, moved("third@example.com"), "t", now))
        .await
        .unwrap();
    let next = created(
        store
            .create_sign_up(sign_up("third@example.com", "hash", "n", at(3001)))
            .await
            .unwrap(),
    );
    assert!(next > stranger, "an id is never used twice");
    let user = store.find_user(bob).await.unwrap().unwrap();
    assert_eq!((&*user.email, user.new_email), ("new@example.com", None));
}

async fn wrong_codes(store: &dyn Store) {
    let now = at(4000);
    let reissue = |code: &str| ReissueOtp {
        email_key: "wrong@example.com".into(),
        network: "203.0.113.7".into(),
        codes: OtpCandidates {
            sign_up: otp("wrong@example.com", code, now),
            email_change: otp("wrong@example.com", "change", now),
        },
        now,
        limits: LIMITLESS,
    };
    assert_eq!(
        store.reissue_otp(reissue("1")).await.unwrap(),
        None,
        "nothing to confirm"
    );
    created(
        store
            .create_sign_up(sign_up("Wrong@example.com", "hash", "right", now))
            .await
            .unwrap(),
    );
    let confirm = async |network: &str, code: &str| {
        let attempt = attempt_from(network, "wrong@example.com", code, now);
        store
            .confirm_sign_up(confirmation(attempt, session("wrong", now)))
            .await
            .unwrap()
    };
    for _ in 0..5 {
        assert_eq!(confirm("a", "wrong").await, None);
    }
    assert_eq!(confirm("a", "right").await, None, "dead for this network");
    let reissued = store.reissue_otp(reissue("second")).await.unwrap().unwrap();
    assert_eq!(
        (reissued.purpose, reissued.email.as_str()),
        (OtpPurpose::SignUp, "Wrong@example.com")
    );
    assert_eq!(confirm("b", "right").await, None, "replaced");
    for network in ["b", "c", "d", "e", "f"] {
        for _ in 0..5 {
            assert_eq!(confirm(network, "wrong").await, None);
        }
    }
    assert_eq!(confirm("g", "second").await, None, "dead for all");
    store.reissue_otp(reissue("third")).await.unwrap().unwrap();
    assert!(confirm("a", "third").await.is_some());
}

async fn wrong_passwords(store: &dyn Store) {
    let id = verified(store, "zoe@example.com", at(0)).await;
    // The account was confirmed from 203.0.113.7, which is a known network.
    for (network, longest) in [("203.0.113.7", 60), ("198.51.100.1", 900)] {
        let mut now = at(20_000);
        let mut pauses = Vec::new();
        for _ in 0..18 {
            let tried = try_from(network, "zoe", Some(id), now);
            assert_eq!(store.find_password_pause(&tried).await.unwrap(), None);
            let counted = store.count_failed_password(tried.clone()).await.unwrap();
            assert_eq!(counted, None);
            let pause = store.find_password_pause(&tried).await.unwrap();
            let again = store.count_failed_password(tried).await.unwrap();
            if let Some(until) = pause {
                assert_eq!(again, Some(until), "too early, and not counted");
                pauses.push(until.since(now).as_secs());
                now = until;
            } else {
                assert_eq!(again, None, "the free ones need no pause");
            }
        }
        assert!(pauses.starts_with(&[1, 2, 4, 8, 16, 32]), "{pauses:?}");
        assert_eq!(pauses.iter().max(), Some(&longest), "{network}: {pauses:?}");
    }
    // Other networks and other accounts are not delayed. Failures expire after a day.
    let now = at(20_001);
    for (network, account) in [("198.51.100.2", "zoe"), ("198.51.100.1", "other")] {
        let tried = try_from(network, account, Some(id), now);
        assert_eq!(store.find_password_pause(&tried).await.unwrap(), None);
    }
    let tomorrow = at(20_000 + 3 * 86_400);
    store.delete_expired(tomorrow, None, None).await.unwrap();
    let tried = try_from("198.51.100.1", "zoe", Some(id), tomorrow);
    assert_eq!(store.find_password_pause(&tried).await.unwrap(), None);

    // After too many failures in an hour only known networks are allowed. Unknown addresses are
    // treated like known ones.
    let now = at(20_000 + 4 * 86_400);
    for account in ["zoe", "nobody"] {
        for number in 0..100 {
            let network = format!("198.51.100.{number}");
            let tried = try_from(&network, account, None, now);
            assert_eq!(store.count_failed_password(tried).await.unwrap(), None);
        }
        let stranger = try_from("198.51.100.200", account, Some(id), now);
        let until = store.find_password_pause(&stranger).await.unwrap();
        assert_eq!(until, Some(now.plus(Duration::from_hours(1))), "{account}");
    }
    let known = try_from("203.0.113.7", "zoe", Some(id), now);
    assert_eq!(store.find_password_pause(&known).await.unwrap(), None);
    let late = SignIn {
        tried: try_from("198.51.100.200", "zoe", Some(id), now),
        ..sign_in(id, "hash", "late", now)
    };
    assert!(matches!(
        store.create_session(late).await.unwrap(),
        SignInOutcome::Throttled { .. }
    ));
    let owner = SignIn {
        tried: known,
        ..sign_in(id, "hash", "owner", now)
    };
    started(store.create_session(owner).await.unwrap());
}

async fn limits_on_mails(store: &dyn Store) {
    let strict = |code: &str, now| NewSignUp {
        limits: STRICT,
        ..sign_up("often@example.com", "hash", code, now)
    };
    let pause = async |now| {
        store
            .find_mail_pause(
                b"often@example.com",
                b"often@example.com",
                OtpPurpose::SignUp,
                network(),
                now,
                STRICT,
            )
            .await
            .unwrap()
    };
    assert_eq!(pause(at(5000)).await, None);
    created(store.create_sign_up(strict("1", at(5000))).await.unwrap());
    let outcome = store.create_sign_up(strict("2", at(5018))).await.unwrap();
    assert_eq!(outcome, SignUpOutcome::Throttled { until: at(5060) });
    assert_eq!(
        (pause(at(5018)).await, pause(at(5060)).await),
        (Some(at(5060)), None)
    );
    for n in 1..10 {
        created(
            store
                .create_sign_up(strict(&format!("next {n}"), at(5000 + 60 * n)))
                .await
                .unwrap(),
        );
    }
    let outcome = store.create_sign_up(strict("last", at(5600))).await;
    let until = at(8600);
    assert_eq!(
        outcome.unwrap(),
        SignUpOutcome::Throttled { until },
        "ten an hour"
    );
}

async fn the_queue_of_mails(store: &dyn Store) {
    let claim = async |now, limit, retries| claim(store, now, limit, retries).await;
    // Remove the mails of the earlier parts of this test.
    for mail in store.list_mails().await.unwrap() {
        store.delete_mail(mail.id).await.unwrap();
    }
    assert_eq!(store.find_mail_queue().await.unwrap(), MailQueue::default());
    assert_eq!(store.find_next_mail().await.unwrap(), None);

    // A mail is queued together with its cause, and only one claim at a time has it.
    let start = at(90_000);
    let ids: Vec<UserId> = {
        let mut ids = Vec::new();
        for (email, code) in [("q1@Example.com", "c1"), ("q2@example.com", "c2")] {
            let outcome = store
                .create_sign_up(sign_up(email, "hash", code, start))
                .await;
            ids.push(created(outcome.unwrap()));
        }
        ids
    };
    assert_eq!(store.find_next_mail().await.unwrap(), Some(start));
    let both = claim(start, 10, 10).await;
    assert_eq!(
        contents(&both),
        [
            ("c1", "q1@example.com", "de", 1),
            ("c2", "q2@example.com", "de", 1)
        ]
    );
    assert_eq!(
        (both.mails[0].subject, both.mails[1].subject),
        (MailSubject::User(ids[0]), MailSubject::User(ids[1]))
    );
    assert_eq!(contents(&claim(start, 10, 10).await), []);
    let queue = store.find_mail_queue().await.unwrap();
    assert_eq!((queue.waiting, queue.oldest_at), (2, Some(start)));

    // A postponed mail is due at its time; an attempt that does not count leaves the number
    // unchanged.
    let (first, second) = (both.mails[0].id, both.mails[1].id);
    let later = start.plus(Duration::from_secs(30));
    for (id, next_try_at, counts) in [(first, later, true), (second, start, false)] {
        let postponed = PostponeMail {
            id,
            next_try_at,
            counts,
            problem: "greylisted".into(),
        };
        store.postpone_mail(postponed).await.unwrap();
    }
    assert_eq!(
        contents(&claim(start, 10, 10).await),
        [("c2", "q2@example.com", "de", 1)]
    );
    assert_eq!(
        contents(&claim(later, 10, 10).await),
        [("c1", "q1@example.com", "de", 2)]
    );

    // An unfinished claim expires after its time or when the server restarts.
    let over = start.plus(LEASE);
    assert_eq!(
        contents(&claim(over, 10, 10).await),
        [("c2", "q2@example.com", "de", 2)]
    );
    // Where several servers share the store, leases may belong to others, and only end by time.
    let is_shared = store.keeps_photos();
    let released = if is_shared { 0 } else { 2 };
    assert_eq!(store.release_mails(over).await.unwrap(), released);
    assert_eq!(store.release_mails(over).await.unwrap(), 0);
    if is_shared {
        for id in [first, second] {
            let postponed = PostponeMail {
                id,
                next_try_at: over,
                counts: true,
                problem: "greylisted".into(),
            };
            store.postpone_mail(postponed).await.unwrap();
        }
    }

    // New mails come before retries, and the number of retries is limited.
    let outcome = store
        .create_sign_up(sign_up("q3@example.com", "hash", "c3", over))
        .await;
    created(outcome.unwrap());
    let claimed = claim(over, 10, 1).await;
    assert_eq!(
        contents(&claimed),
        [
            ("c3", "q3@example.com", "de", 1),
            ("c1", "q1@example.com", "de", 3)
        ]
    );
    assert_eq!(
        contents(&claim(over, 1, 10).await),
        [("c2", "q2@example.com", "de", 3)]
    );
    for mail in &claimed.mails {
        store.delete_mail(mail.id).await.unwrap();
    }

    store.delete_mail(second).await.unwrap();
    assert_eq!(store.find_mail_queue().await.unwrap().waiting, 0);
}

/// Recipients and states of all mails that are listed, newest first.
async fn states(store: &dyn Store) -> Vec<(String, MailState)> {
    let page = list_mails(store, None).await;
    let mails = page.items.into_iter();
    mails.map(|mail| (mail.email, mail.state)).collect()
}

async fn list_mails(store: &dyn Store, state: Option<MailState>) -> Page<MailEntry> {
    let query = MailQuery {
        state,
        user_id: None,
        search: String::new(),
        page: PageRequest::Number(1),
        page_size: 100,
    };
    store.list_mail_entries(query).await.unwrap().unwrap()
}

async fn mails_for_staff(store: &dyn Store) {
    let start = at(93_000);
    // Remove what the earlier parts of this test have left.
    for mail in list_mails(store, None).await.items {
        store.delete_mail(mail.id).await.unwrap();
    }
    for (email, code) in [("s1@example.com", "m1"), ("s2@example.com", "m2")] {
        let outcome = store
            .create_sign_up(sign_up(email, "hash", code, start))
            .await;
        created(outcome.unwrap());
    }
    let claimed = claim(store, start, 10, 10).await;
    let (first, second) = (claimed.mails[0].id, claimed.mails[1].id);
    let sending = list_mails(store, Some(MailState::Sending)).await;
    assert_eq!((sending.count, sending.items[0].id), (2, second));
    let change = |id, seconds| MailChange {
        id,
        now: start.plus(Duration::from_secs(seconds)),
        context: RequestContext::default(),
    };

    // A refused mail is kept with the reason, and can be retried while it is valid.
    let give_up = GiveUpMail {
        id: first,
        problem: "no such user".into(),
        now: start,
    };
    store.give_up_mail(give_up.clone()).await.unwrap();
    let failed = list_mails(store, Some(MailState::Failed)).await.items;
    assert_eq!(
        (
            failed[0].id,
            &*failed[0].problem,
            failed[0].tries,
            failed[0].next_try_at
        ),
        (first, "no such user", 1, None)
    );
    assert_eq!(contents(&claim(store, start, 10, 10).await), []);
    let retried = store.retry_mail(change(first, 5)).await.unwrap();
    assert!(
        matches!(&retried, RetryOutcome::Due(mail) if mail.state == MailState::Waiting),
        "{retried:?}"
    );
    let again = claim(store, at(93_005), 10, 10).await;
    assert_eq!(contents(&again), [("m1", "s1@example.com", "de", 2)]);
    // One in delivery is due already.
    let retried = store.retry_mail(change(first, 5)).await.unwrap();
    assert!(
        matches!(&retried, RetryOutcome::Due(mail) if mail.state == MailState::Sending),
        "{retried:?}"
    );

    // Without its content it is past help; after a week it is gone.
    store.give_up_mail(give_up).await.unwrap();
    let expired = claim(store, at(93_600), 10, 10).await.expired;
    assert_eq!(
        expired.len(),
        1,
        "only the second expires, the first was given up"
    );
    let listed = list_mails(store, None).await.items;
    assert_eq!(
        (listed[0].state, listed[1].state),
        (MailState::Expired, MailState::Failed)
    );
    assert_eq!(
        store.retry_mail(change(first, 600)).await.unwrap(),
        RetryOutcome::Expired
    );
    assert!(store.discard_mail(change(second, 600)).await.unwrap());
    assert!(!store.discard_mail(change(second, 600)).await.unwrap());
    assert_eq!(
        store.retry_mail(change(second, 600)).await.unwrap(),
        RetryOutcome::NotFound
    );
    let week = start.plus(Duration::from_hours(7 * 24));
    store.delete_expired(week, None, None).await.unwrap();
    assert_eq!(list_mails(store, None).await.items, []);
}

async fn mails_that_nobody_needs_any_more(store: &dyn Store) {
    let claim = async |now, limit, retries| claim(store, now, limit, retries).await;
    let over = at(95_000);
    let outcome = store
        .create_sign_up(sign_up("q4@example.com", "hash", "c3", over))
        .await;
    let id = created(outcome.unwrap());

    // A code that was used or replaced is not mailed.
    let reissue = |code: &str| ReissueOtp {
        email_key: "q4@example.com".into(),
        network: "203.0.113.7".into(),
        codes: OtpCandidates {
            sign_up: otp("q4@example.com", code, over),
            email_change: otp("q4@example.com", code, over),
        },
        now: over,
        limits: LIMITLESS,
    };
    store.reissue_otp(reissue("c4")).await.unwrap().unwrap();
    assert_eq!(
        contents(&claim(over, 10, 10).await),
        [("c4", "q4@example.com", "de", 1)]
    );
    let user = store
        .confirm_sign_up(confirmation(
            attempt("q4@example.com", "c4", over),
            session("q4", over),
        ))
        .await
        .unwrap();
    assert_eq!(user.map(|confirmed| confirmed.user.id), Some(id));
    assert_eq!(store.find_mail_queue().await.unwrap().waiting, 0);

    // The owner is notified of a new password, at the confirmed address and in the account's
    // language.
    let replaced = ReplacePassword {
        context: RequestContext::default(),
        user_id: id,
        old_hash: None,
        new_hash: "other".into(),
        session: None,
        now: over,
        notices: vec![mail("new password", over.plus(LEASE))],
    };
    assert!(store.replace_password(replaced).await.unwrap().is_some());
    let notice = claim(over, 10, 10).await;
    assert_eq!(
        contents(&notice),
        [("new password", "q4@example.com", "de", 1)]
    );

    // The owner is notified once of a sign-in from a network that is new to the account.
    let in_doubt = |session_id: &str, network: &str| {
        let mut sign_in = sign_in(id, "other", session_id, over);
        sign_in.session.network = network.into();
        sign_in.notice = Some(mail("new place", over.plus(LEASE)));
        sign_in
    };
    begin(store, in_doubt("q5", "203.0.113.7")).await;
    assert_eq!(contents(&claim(over, 10, 10).await), []);
    begin(store, in_doubt("q6", "198.51.100.1")).await;
    begin(store, in_doubt("q7", "198.51.100.1")).await;
    let notices = claim(over, 10, 10).await;
    assert_eq!(
        contents(&notices),
        [("new place", "q4@example.com", "de", 1)]
    );
    store.delete_mail(notices.mails[0].id).await.unwrap();

    mails_past_their_time(store, id, over).await;
}

/// `id` is a confirmed account with a notice that is not yet expired at `over`.
async fn mails_past_their_time(store: &dyn Store, id: UserId, over: Timestamp) {
    let claim = async |now, limit, retries| claim(store, now, limit, retries).await;
    // Expired mails are closed instead of claimed. The mails of a deleted account are deleted.
    let claimed = claim(over.plus(LEASE), 10, 10).await;
    assert_eq!(contents(&claimed), []);
    assert_eq!(claimed.expired, [MailSubject::User(id)]);
    assert_eq!(
        states(store).await,
        [("q4@example.com".to_owned(), MailState::Expired)]
    );
    let outcome = store
        .create_sign_up(sign_up("q5@example.com", "hash", "c5", over))
        .await;
    let gone = DeleteUser {
        context: RequestContext::default(),
        user_id: created(outcome.unwrap()),
        address_hash: Vec::new(),
        needs_staff: false,
        keep_last_staff: false,
        notices: vec![mail("gone", over)],
        now: over,
    };
    store.delete_user(gone).await.unwrap();
    assert_eq!(store.find_next_mail().await.unwrap(), None);

    // The notice of a deletion outlives the account; the address of this one was confirmed.
    let gone = DeleteUser {
        context: RequestContext::default(),
        user_id: id,
        address_hash: Vec::new(),
        needs_staff: false,
        keep_last_staff: false,
        notices: vec![
            mail("gone", over.plus(LEASE)),
            mail("gone too", over.plus(LEASE)),
        ],
        now: over,
    };
    store.delete_user(gone).await.unwrap();
    let claimed = claim(over, 10, 10).await;
    assert_eq!(contents(&claimed), [("gone", "q4@example.com", "de", 1)]);
    assert_eq!(claimed.mails[0].subject, MailSubject::DeletedUser);
    let claimed = claim(over.plus(LEASE), 10, 10).await;
    assert_eq!(claimed.expired, [MailSubject::DeletedUser]);
    assert!(
        states(store).await.is_empty(),
        "not even the address is kept"
    );
}

async fn accounts_without_confirmation(store: &dyn Store) {
    let new = |email: &str| NewUser {
        context: RequestContext::default(),
        email: address(email),
        password_hash: "hash".into(),
        profile: Profile::default(),
        is_staff: true,
        now: at(6000),
    };
    let id = store
        .create_verified_user(new("staff@example.com"))
        .await
        .unwrap()
        .unwrap();
    let user = store.find_user(id).await.unwrap().unwrap();
    assert!(user.is_staff && user.is_active && user.is_verified());
    assert_eq!(
        store
            .create_verified_user(new("STAFF@example.com"))
            .await
            .unwrap(),
        None
    );
    let pending = created(
        store
            .create_sign_up(sign_up("pending@example.com", "old", "p", at(6000)))
            .await
            .unwrap(),
    );
    assert_eq!(
        store
            .create_verified_user(new("pending@example.com"))
            .await
            .unwrap(),
        Some(pending)
    );
    let outcome = store
        .confirm_sign_up(confirmation(
            attempt("pending@example.com", "p", at(6000)),
            session("p", at(6000)),
        ))
        .await
        .unwrap();
    assert_eq!(outcome, None);
    let found = store
        .find_credentials("pending@example.com")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&*found.password_hash, found.is_verified), ("hash", true));
}

async fn what_has_expired_goes(store: &dyn Store) {
    let id = verified(store, "late@example.com", at(7000)).await;
    let day = 86_400;
    store.delete_expired(at(7000), None, None).await.unwrap();
    assert!(
        store
            .find_session_user(&named("late@example.com", id))
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        store
            .delete_expired(at(7000 + day), None, None)
            .await
            .unwrap()
            > 0
    );
    assert!(
        store
            .find_session_user(&named("late@example.com", id))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store.find_user(id).await.unwrap().is_some(),
        "accounts stay"
    );
    assert_eq!(
        store
            .delete_expired(at(7000 + day), None, None)
            .await
            .unwrap(),
        0
    );
}

/// Requests are authorized before their body is read; operations check again in their transaction.
#[tokio::test]
async fn ended_sessions_and_lost_rights_stop_operations() {
    let store = in_memory();
    let store: &dyn Store = store.as_ref();
    let id = verified(store, "a@example.com", at(0)).await;
    let other = verified(store, "b@example.com", at(0)).await;
    let hash = store.find_password_hash(id).await.unwrap().unwrap();
    begin(store, sign_in(id, &hash, "s", at(1))).await;
    let hash = store.find_password_hash(other).await.unwrap().unwrap();
    begin(store, sign_in(other, &hash, "t", at(1))).await;
    let context = |actor, session: &str| RequestContext {
        actor_id: Some(actor),
        session_id: Some(session.into()),
        ..RequestContext::default()
    };
    let rename = async |context| {
        let update = UserUpdate {
            context,
            ..update(id, renamed("Ann"), "000001", at(2))
        };
        store.update_user(update).await
    };
    assert!(rename(context(id, "s")).await.is_ok());
    let outcome = rename(context(other, "t")).await;
    assert!(
        matches!(outcome, Err(StoreError::Forbidden)),
        "no staff: {outcome:?}"
    );
    let outcome = rename(context(id, "t")).await;
    assert!(
        matches!(outcome, Err(StoreError::SessionEnded)),
        "another account's session: {outcome:?}"
    );
    let ended = store.delete_session("s", RequestContext::default(), at(3));
    assert!(ended.await.unwrap());
    let outcome = rename(context(id, "s")).await;
    assert!(
        matches!(outcome, Err(StoreError::SessionEnded)),
        "{outcome:?}"
    );
    let deletion = DeleteUser {
        user_id: id,
        address_hash: Vec::new(),
        keep_last_staff: true,
        needs_staff: false,
        notices: Vec::new(),
        now: at(4),
        context: context(id, "s"),
    };
    let outcome = store.delete_user(deletion).await;
    assert!(
        matches!(outcome, Err(StoreError::SessionEnded)),
        "{outcome:?}"
    );
    let ended = store.delete_other_sessions(id, "s", context(id, "s"), at(4));
    assert!(matches!(ended.await, Err(StoreError::SessionEnded)));
    assert!(store.find_user(id).await.unwrap().is_some());
}
