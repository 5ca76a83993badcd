//! Imports of accounts.

use std::sync::Mutex;

use crate::support::*;

on_every_engine![
    account_is_imported_with_everything,
    imported_address_may_be_unconfirmed,
    taken_account_is_refused_and_the_others_follow,
    ids_below_the_bound_are_refused,
    unverified_account_gives_way_to_a_verified_one,
    unverified_account_does_not_give_way_to_an_unverified_one,
    refused_account_changes_nothing,
    discarded_import_leaves_nothing,
    next_id_is_above_all_that_were_used,
    imports_are_noted_once,
    webhooks_are_notified_on_request,
];

type Outcomes = Vec<Result<UserId, ImportRefusal>>;

/// Accounts that are imported, and what became of them.
struct Accounts {
    waiting: std::vec::IntoIter<ImportedUser>,
    outcomes: Arc<Mutex<Outcomes>>,
    is_kept: bool,
    notifies: bool,
}

impl ImportSource for Accounts {
    fn next_user(&mut self) -> Option<ImportedUser> {
        self.waiting.next()
    }

    fn imported(&mut self, outcome: Result<UserId, ImportRefusal>) {
        self.outcomes.lock().unwrap().push(outcome);
    }

    fn notifies_webhooks(&self) -> bool {
        self.notifies
    }

    fn keep(&mut self) -> bool {
        self.is_kept
    }
}

/// A verified account without an id, factors and identities.
pub(crate) fn imported(email: &str) -> ImportedUser {
    ImportedUser {
        id: None,
        email: address(email),
        password_hash: "imported".into(),
        profile: Profile::default(),
        is_active: true,
        is_staff: false,
        verified_at: Some(at(-10)),
        last_login_at: Some(at(-5)),
        created_at: at(-20),
        updated_at: at(-7),
        language: "fr".into(),
        external_id: None,
        totp: None,
        passkeys: None,
        identities: Vec::new(),
    }
}

/// Imports accounts of any free id.
pub(crate) async fn import(store: &dyn Store, users: Vec<ImportedUser>) -> Outcomes {
    run(store, users, (1, true, false)).await
}

async fn run(
    store: &dyn Store,
    users: Vec<ImportedUser>,
    (free_from, is_kept, notifies): (UserId, bool, bool),
) -> Outcomes {
    let outcomes = Arc::default();
    let source = Accounts {
        waiting: users.into_iter(),
        outcomes: Arc::clone(&outcomes),
        is_kept,
        notifies,
    };
    let seal: SealTotp = Box::new(|user_id, totp| {
        Some(TotpDevice {
            id: format!("device of {user_id}"),
            secret: totp.secret.clone(),
            created_at: totp.created_at,
            last_used_at: totp.last_used_at,
        })
    });
    let context = RequestContext::default();
    store
        .import_users(Box::new(source), seal, free_from, context, at(0))
        .await
        .unwrap();
    std::mem::take(&mut *outcomes.lock().unwrap())
}

fn with_passkey(email: &str, handle: &str, passkey_id: &str) -> ImportedUser {
    ImportedUser {
        passkeys: Some(AccountPasskeys {
            user_handle: handle.as_bytes().to_vec(),
            passkeys: vec![passkey(passkey_id)],
        }),
        ..imported(email)
    }
}

fn with_identity(email: &str, subject: &str) -> ImportedUser {
    ImportedUser {
        identities: vec![Identity {
            id: format!("identity of {email}"),
            proven: proven(subject),
            created_at: at(-9),
            last_used_at: None,
        }],
        ..imported(email)
    }
}

async fn account_is_imported_with_everything(store: &dyn Store) {
    let whole = ImportedUser {
        id: Some(70),
        profile: Profile {
            first_name: "Ann".into(),
            birthday: BirthDate::parse("1990-01-02").ok(),
            ..Profile::default()
        },
        is_active: false,
        is_staff: true,
        external_id: Some("old-7".into()),
        totp: Some(ImportedTotp {
            secret: b"secret".to_vec(),
            created_at: at(-15),
            last_used_at: None,
            used_step: 100,
        }),
        identities: with_identity("Ann@example.com", "ann").identities,
        ..with_passkey("Ann@example.com", "handle", "key")
    };
    assert_eq!(import(store, vec![whole.clone()]).await, [Ok(70)]);
    let expected = User {
        id: 70,
        email: "Ann@example.com".into(),
        new_email: None,
        profile: whole.profile,
        photo: None,
        is_active: false,
        is_staff: true,
        verified_at: Some(at(-10)),
        last_login_at: Some(at(-5)),
        external_id: Some("old-7".into()),
        has_factor: true,
        created_at: at(-20),
        updated_at: at(-7),
    };
    assert_eq!(user(store, 70).await, expected);
    assert_eq!(store.find_language(70).await.unwrap(), "fr");
    let hash = store.find_password_hash(70).await.unwrap();
    assert_eq!(hash.as_deref(), Some("imported"));
    let device = store.find_factors(70).await.unwrap().totp.unwrap();
    assert_eq!((&*device.id, device.created_at), ("device of 70", at(-15)));
    assert_eq!(
        store.find_account_passkeys(70).await.unwrap(),
        whole.passkeys
    );
    assert_eq!(store.list_identities(70).await.unwrap(), whole.identities);
}

async fn imported_address_may_be_unconfirmed(store: &dyn Store) {
    let unconfirmed = ImportedUser {
        verified_at: None,
        ..imported("ann@example.com")
    };
    let id = import(store, vec![unconfirmed]).await[0].unwrap();
    let reissue = ReissueOtp {
        email_key: "ann@example.com".into(),
        network: "203.0.113.7".into(),
        codes: OtpCandidates {
            sign_up: otp("ann@example.com", "sign-up", at(1)),
            email_change: otp("ann@example.com", "change", at(1)),
        },
        now: at(1),
        limits: LIMITLESS,
    };
    let reissued = store.reissue_otp(reissue).await.unwrap().unwrap();
    assert_eq!(
        (reissued.user_id, reissued.purpose),
        (id, OtpPurpose::SignUp)
    );
    let attempt = attempt("ann@example.com", "sign-up", at(2));
    let confirmed = store.confirm_sign_up(confirmation(attempt, session("s", at(2))));
    let user = confirmed.await.unwrap().unwrap().user;
    assert_eq!((user.id, user.verified_at), (id, Some(at(2))));
    let hash = store.find_password_hash(id).await.unwrap();
    assert_eq!(hash.as_deref(), Some("imported"));
}

async fn taken_account_is_refused_and_the_others_follow(store: &dyn Store) {
    account(store, "bob@example.com").await;
    let first = ImportedUser {
        id: Some(50),
        external_id: Some("one".into()),
        identities: with_identity("first@example.com", "first").identities,
        ..with_passkey("first@example.com", "handle", "key")
    };
    let another = |id| ImportedUser {
        id: Some(id),
        ..imported(&format!("another{id}@example.com"))
    };
    let users = vec![
        first,
        imported("BOB@example.com"),
        imported("First@example.com"),
        another(50),
        ImportedUser {
            external_id: Some("one".into()),
            ..imported("second@example.com")
        },
        with_passkey("third@example.com", "handle", "other"),
        with_passkey("fourth@example.com", "other handle", "key"),
        with_identity("fifth@example.com", "first"),
        another(51),
    ];
    let expected = [
        Ok(50),
        Err(ImportRefusal::EmailTaken),
        Err(ImportRefusal::EmailTaken),
        Err(ImportRefusal::IdTaken),
        Err(ImportRefusal::ExternalIdTaken),
        Err(ImportRefusal::PasskeyHandleTaken),
        Err(ImportRefusal::PasskeyTaken(1)),
        Err(ImportRefusal::IdentityTaken(1)),
        Ok(51),
    ];
    assert_eq!(import(store, users).await, expected);
    let found = store.find_user_by_email("third@example.com").await;
    assert_eq!(found.unwrap(), None);
}

async fn ids_below_the_bound_are_refused(store: &dyn Store) {
    let users = [19, 20].map(|id| ImportedUser {
        id: Some(id),
        ..imported(&format!("user{id}@example.com"))
    });
    let outcomes = run(store, users.into(), (20, true, false)).await;
    assert_eq!(outcomes, [Err(ImportRefusal::IdTaken), Ok(20)]);
}

async fn unverified_account_gives_way_to_a_verified_one(store: &dyn Store) {
    let signed_up = sign_up("ann@example.com", "hash", "code", at(-30));
    let pending = created(store.create_sign_up(signed_up).await.unwrap());
    let bob = account(store, "bob@example.com").await;
    let change = update(bob, moved("claimed@example.com"), "b", at(0));
    updated(store.update_user(change).await.unwrap());
    let outcomes = import(
        store,
        vec![imported("ann@example.com"), imported("claimed@example.com")],
    );
    let outcomes = outcomes.await;
    let id = outcomes[0].unwrap();
    assert!(id > pending && outcomes[1].is_ok());
    assert_eq!(store.find_user(pending).await.unwrap(), None);
    assert_eq!(user(store, bob).await.new_email, None);
    let displaced = (EventKind::SignUpDisplaced, String::new());
    assert_eq!(events(store, pending).await.pop(), Some(displaced));
}

async fn unverified_account_does_not_give_way_to_an_unverified_one(store: &dyn Store) {
    let signed_up = sign_up("ann@example.com", "hash", "code", at(-30));
    let pending = created(store.create_sign_up(signed_up).await.unwrap());
    let unconfirmed = ImportedUser {
        verified_at: None,
        ..imported("ann@example.com")
    };
    let outcomes = import(store, vec![unconfirmed]).await;
    assert_eq!(outcomes, [Err(ImportRefusal::EmailTaken)]);
    assert!(store.find_user(pending).await.unwrap().is_some());
}

async fn refused_account_changes_nothing(store: &dyn Store) {
    let signed_up = sign_up("ann@example.com", "hash", "code", at(0));
    let pending = created(store.create_sign_up(signed_up).await.unwrap());
    let other = account(store, "bob@example.com").await;
    let refused = ImportedUser {
        id: Some(other),
        ..imported("ann@example.com")
    };
    let outcomes = import(store, vec![refused]).await;
    assert_eq!(outcomes, [Err(ImportRefusal::IdTaken)]);
    assert!(store.find_user(pending).await.unwrap().is_some());
    assert_eq!(
        count_events(store, other, EventKind::UsersImported).await,
        0
    );
}

async fn discarded_import_leaves_nothing(store: &dyn Store) {
    let whole = ImportedUser {
        id: Some(70),
        ..with_passkey("ann@example.com", "handle", "key")
    };
    let outcomes = run(store, vec![whole.clone()], (1, false, false)).await;
    assert_eq!(outcomes, [Ok(70)]);
    assert_eq!(store.find_user(70).await.unwrap(), None);
    assert!(store.find_passkey_key(b"key").await.unwrap().is_none());
    assert!(store.next_user_id().await.unwrap() <= 70);
    assert_eq!(import(store, vec![whole]).await, [Ok(70)]);
}

async fn next_id_is_above_all_that_were_used(store: &dyn Store) {
    let first = store.next_user_id().await.unwrap();
    let id = account(store, "ann@example.com").await;
    assert_eq!(id, first);
    let far = ImportedUser {
        id: Some(900),
        ..imported("far@example.com")
    };
    assert_eq!(import(store, vec![far]).await, [Ok(900)]);
    let next = store.next_user_id().await.unwrap();
    assert!(next > 900, "{next}");
    let outcome = store.delete_user(deletion(900)).await.unwrap();
    assert_eq!(outcome, DeleteOutcome::Deleted { photo: None });
    let another = account(store, "next@example.com").await;
    assert!(another >= next, "an id is never used twice: {another}");
    assert!(store.next_user_id().await.unwrap() > another);
}

async fn imports_are_noted_once(store: &dyn Store) {
    let users = vec![imported("ann@example.com"), imported("bob@example.com")];
    import(store, users.clone()).await;
    import(store, users).await;
    let query = EventQuery {
        limit: 10,
        ..EventQuery::default()
    };
    let events = store.list_events(query).await.unwrap();
    let noted: Vec<_> = events
        .iter()
        .map(|event| (event.kind, &*event.detail))
        .collect();
    assert_eq!(noted, [(EventKind::UsersImported, "2")]);
}

async fn webhooks_are_notified_on_request(store: &dyn Store) {
    let webhook = with_webhook(store).await;
    let silent = vec![imported("ann@example.com")];
    run(store, silent, (1, true, false)).await;
    assert!(store.list_waiting_webhooks().await.unwrap().is_empty());
    let outcomes = run(store, vec![imported("bob@example.com")], (1, true, true)).await;
    let claimed = store.claim_events(webhook, claim_of(at(0), 10, 10)).await;
    let events = claimed.unwrap().unwrap().events;
    let events: Vec<_> = events
        .iter()
        .map(|event| (&*event.event, event.user_id))
        .collect();
    assert_eq!(events, [("user.created", Some(outcomes[0].unwrap()))]);
}
