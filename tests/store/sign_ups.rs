//! Sign-ups, and accounts that administrators create.

use crate::support::*;

on_every_engine![
    sign_up_is_stored_and_mailed,
    one_address_has_one_account,
    verified_address_is_taken,
    address_of_an_undo_link_is_taken,
    sign_up_is_throttled,
    sign_up_takes_a_pending_address_back,
    same_live_code_is_taken_until_it_expires,
    refused_sign_up_leaves_the_earlier_one,
    another_password_contests_the_address,
    expired_sign_up_contests_nothing,
    sign_ups_of_an_address_are_limited,
    account_is_created_verified,
    created_account_replaces_a_pending_sign_up,
    created_account_takes_a_pending_address,
    address_of_an_account_is_not_created_again,
    accounts_are_created_by_staff,
];

const ANN: &str = "ann@example.com";

async fn pending(store: &dyn Store, sign_up: NewSignUp) -> UserId {
    created(store.create_sign_up(sign_up).await.unwrap())
}

async fn confirm(store: &dyn Store, code: &str, now: Timestamp) -> Option<ConfirmedSignUp> {
    let session = session(&format!("s {code}"), now);
    let confirmation = confirmation(attempt(ANN, code, now), session);
    store.confirm_sign_up(confirmation).await.unwrap()
}

async fn sign_up_is_stored_and_mailed(store: &dyn Store) {
    let request = NewSignUp {
        profile: Profile {
            first_name: "Ann".into(),
            last_name: "Doe".into(),
            phone: "+1234567890".into(),
            address: "Street 1".into(),
            gender: "F".into(),
            country: "DE".into(),
            birthday: BirthDate::parse("1990-01-02").ok(),
        },
        ..sign_up("Ann@example.com", "hash", "code", at(5))
    };
    let profile = request.profile.clone();
    let id = pending(store, request).await;
    let expected = User {
        id,
        email: "Ann@example.com".into(),
        new_email: None,
        profile,
        photo: None,
        is_active: true,
        is_staff: false,
        verified_at: None,
        last_login_at: None,
        external_id: None,
        has_factor: false,
        created_at: at(5),
        updated_at: at(5),
    };
    assert_eq!(user(store, id).await, expected);
    assert_eq!(store.find_language(id).await.unwrap(), "de");
    assert_eq!(
        mails(store).await,
        [("Ann@example.com".to_owned(), "code".to_owned())]
    );
    assert_eq!(
        events(store, id).await,
        [(EventKind::SignUp, String::new())]
    );
    let early = store
        .create_session(sign_in(id, "hash", "early", at(6)))
        .await;
    assert_eq!(early.unwrap(), SignInOutcome::Changed, "not confirmed");
}

async fn one_address_has_one_account(store: &dyn Store) {
    let id = pending(store, sign_up("ann@example.com", "first", "1", at(0))).await;
    let again = pending(store, sign_up("Ann@example.com", "second", "2", at(1))).await;
    assert_eq!(again, id);
    let found = store.find_credentials(ANN).await.unwrap().unwrap();
    assert_eq!((found.user_id, &*found.password_hash), (id, "second"));
    let account = user(store, id).await;
    assert_eq!(
        (&*account.email, &*account.profile.first_name),
        ("Ann@example.com", "second")
    );
    assert_eq!(
        mail_contents(store).await,
        ["1", "2"],
        "each code stays valid"
    );
}

async fn verified_address_is_taken(store: &dyn Store) {
    let id = account(store, ANN).await;
    let outcome = store
        .create_sign_up(sign_up("Ann@Example.com", "other", "code", at(1)))
        .await;
    assert_eq!(outcome.unwrap(), SignUpOutcome::EmailTaken);
    let hash = store.find_password_hash(id).await.unwrap();
    assert_eq!(hash.as_deref(), Some("hash"));
    assert!(mails(store).await.is_empty());
}

async fn address_of_an_undo_link_is_taken(store: &dyn Store) {
    let id = account(store, ANN).await;
    apply_update(store, update(id, moved("new@example.com"), "b", at(1))).await;
    let confirmed = store.confirm_email_change(AccountOtp {
        user_id: id,
        attempt: attempt("new@example.com", "b", at(2)),
        notices: Vec::new(),
    });
    assert!(confirmed.await.unwrap().is_some());
    let week = 168 * 3600;
    let early = store
        .create_sign_up(sign_up(ANN, "hash", "early", at(week)))
        .await;
    assert_eq!(early.unwrap(), SignUpOutcome::EmailTaken);
    pending(store, sign_up(ANN, "hash", "later", at(week + 1))).await;
}

async fn sign_up_is_throttled(store: &dyn Store) {
    let strict = |code: &str, now| NewSignUp {
        limits: STRICT,
        ..sign_up(ANN, code, code, now)
    };
    let id = pending(store, strict("1", at(0))).await;
    let outcome = store.create_sign_up(strict("2", at(18))).await.unwrap();
    assert_eq!(outcome, SignUpOutcome::Throttled { until: at(60) });
    let hash = store.find_password_hash(id).await.unwrap();
    assert_eq!(hash.as_deref(), Some("1"), "nothing was stored");
    assert_eq!(mail_contents(store).await, ["1"]);
    for n in 1..10 {
        pending(store, strict(&format!("next {n}"), at(60 * n))).await;
    }
    let outcome = store.create_sign_up(strict("last", at(600))).await.unwrap();
    assert_eq!(
        outcome,
        SignUpOutcome::Throttled { until: at(3600) },
        "ten an hour"
    );
}

async fn sign_up_takes_a_pending_address_back(store: &dyn Store) {
    let bob = account(store, "bob@example.com").await;
    apply_update(store, update(bob, moved(ANN), "b", at(1))).await;
    let id = pending(store, sign_up(ANN, "hash", "code", at(2))).await;
    assert_ne!(id, bob);
    let left = user(store, bob).await;
    assert_eq!(
        (&*left.email, left.new_email, left.updated_at),
        ("bob@example.com", None, at(2))
    );
    let change = store.confirm_email_change(AccountOtp {
        user_id: bob,
        attempt: attempt(ANN, "b", at(3)),
        notices: Vec::new(),
    });
    assert_eq!(change.await.unwrap(), None);
    assert!(confirm(store, "code", at(3)).await.is_some());
}

async fn same_live_code_is_taken_until_it_expires(store: &dyn Store) {
    pending(store, sign_up(ANN, "hash", "code", at(0))).await;
    let taken = store
        .create_sign_up(sign_up(ANN, "hash", "code", at(599)))
        .await;
    assert!(
        matches!(taken, Err(StoreError::Taken(Field::Otp))),
        "{taken:?}"
    );
    pending(store, sign_up("bob@example.com", "hash", "code", at(1))).await;
    pending(store, sign_up(ANN, "hash", "code", at(600))).await;
    let replacing = NewSignUp {
        otp: NewOtp {
            replaces_equal: true,
            ..otp(ANN, "code", at(601))
        },
        ..sign_up(ANN, "hash", "code", at(601))
    };
    pending(store, replacing).await;
    assert!(confirm(store, "code", at(1200)).await.is_some());
}

async fn refused_sign_up_leaves_the_earlier_one(store: &dyn Store) {
    let id = pending(store, sign_up(ANN, "first", "code", at(0))).await;
    let refused = store
        .create_sign_up(sign_up(ANN, "second", "code", at(1)))
        .await;
    assert!(refused.is_err());
    let left = user(store, id).await;
    assert_eq!(
        (&*left.profile.first_name, left.created_at),
        ("first", at(0))
    );
    let address = ANN.as_bytes();
    let (purpose, limits) = (OtpPurpose::SignUp, STRICT);
    let pause = store.find_mail_pause(address, address, purpose, network(), at(1), limits);
    assert_eq!(
        pause.await.unwrap(),
        Some(at(60)),
        "counted from the first one"
    );
    assert_eq!(count_events(store, id, EventKind::SignUp).await, 1);
    assert!(!confirm(store, "code", at(2)).await.unwrap().needs_password);
}

async fn another_password_contests_the_address(store: &dyn Store) {
    let id = pending(store, sign_up(ANN, "first", "1", at(0))).await;
    pending(store, sign_up(ANN, "first", "2", at(1))).await;
    pending(store, sign_up(ANN, "second", "3", at(2))).await;
    let details: Vec<_> = events(store, id)
        .await
        .into_iter()
        .map(|(_, detail)| detail)
        .collect();
    assert_eq!(details, ["", "", "contested"]);
    assert!(confirm(store, "1", at(3)).await.unwrap().needs_password);
}

async fn expired_sign_up_contests_nothing(store: &dyn Store) {
    pending(store, sign_up(ANN, "first", "1", at(0))).await;
    let later = at(7 * 86_400);
    pending(store, sign_up(ANN, "second", "2", later)).await;
    let confirmed = confirm(store, "2", later).await.unwrap();
    assert!(!confirmed.needs_password);
    assert_eq!(confirmed.user.profile.first_name, "second");
}

async fn sign_ups_of_an_address_are_limited(store: &dyn Store) {
    for number in 0..101 {
        pending(
            store,
            sign_up(ANN, "hash", &format!("code {number}"), at(number)),
        )
        .await;
    }
    assert!(
        confirm(store, "code 0", at(200)).await.is_none(),
        "the oldest is gone"
    );
    assert!(confirm(store, "code 1", at(200)).await.is_some());
}

async fn account_is_created_verified(store: &dyn Store) {
    let new = NewUser {
        is_staff: true,
        now: at(5),
        profile: Profile {
            last_name: "Root".into(),
            ..Profile::default()
        },
        ..new_user("Root@example.com")
    };
    let id = store.create_verified_user(new).await.unwrap().unwrap();
    let created = user(store, id).await;
    assert!(created.is_staff && created.is_active);
    assert_eq!(
        (&*created.email, &*created.profile.last_name),
        ("Root@example.com", "Root")
    );
    assert_eq!(
        (created.verified_at, created.created_at),
        (Some(at(5)), at(5))
    );
    assert_eq!(created.last_login_at, None);
    assert_eq!(
        events(store, id).await,
        [(EventKind::UserCreated, "staff".to_owned())]
    );
    assert!(mails(store).await.is_empty());
    session_of(store, id, "s").await;
}

async fn created_account_replaces_a_pending_sign_up(store: &dyn Store) {
    let id = pending(store, sign_up(ANN, "stranger", "code", at(0))).await;
    set_active(store, id, false).await;
    let created = store.create_verified_user(new_user(ANN)).await.unwrap();
    assert_eq!(created, Some(id));
    let replaced = user(store, id).await;
    assert!(replaced.is_verified() && replaced.is_active);
    assert_eq!(replaced.profile, Profile::default());
    let found = store.find_credentials(ANN).await.unwrap().unwrap();
    assert_eq!((&*found.password_hash, found.is_verified), ("hash", true));
    assert_eq!(confirm(store, "code", at(1)).await, None);
}

async fn created_account_takes_a_pending_address(store: &dyn Store) {
    let bob = account(store, "bob@example.com").await;
    apply_update(store, update(bob, moved(ANN), "b", at(1))).await;
    let id = account(store, ANN).await;
    assert_ne!(id, bob);
    assert_eq!(user(store, bob).await.new_email, None);
}

async fn address_of_an_account_is_not_created_again(store: &dyn Store) {
    let id = account(store, ANN).await;
    let again = NewUser {
        is_staff: true,
        ..new_user("ANN@example.com")
    };
    assert_eq!(store.create_verified_user(again).await.unwrap(), None);
    assert!(!user(store, id).await.is_staff);
    assert_eq!(count_events(store, id, EventKind::UserCreated).await, 1);
}

async fn accounts_are_created_by_staff(store: &dyn Store) {
    for (context, reason) in outsiders(store).await {
        let new = NewUser {
            context,
            ..new_user(ANN)
        };
        assert_refused(store.create_verified_user(new).await, reason);
    }
    assert_eq!(store.find_user_by_email(ANN).await.unwrap(), None);
    let root = staff(store, "root@example.com").await;
    session_of(store, root, "root").await;
    let new = NewUser {
        context: by(root, "root"),
        ..new_user(ANN)
    };
    assert!(store.create_verified_user(new).await.unwrap().is_some());
}
