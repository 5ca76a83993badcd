//! Accounts: finding, changing and deleting them.

use crate::support::*;

on_every_engine![
    account_is_found_by_id_and_address,
    credentials_say_what_a_sign_in_needs,
    language_is_found,
    confirmed_address_is_taken,
    profile_is_changed,
    nothing_changed_leaves_the_time,
    changes_are_noted_by_their_names,
    unknown_account_is_not_changed,
    deactivation_and_activation_are_noted,
    promotion_is_noted_and_mailed,
    unverified_account_is_not_promoted,
    last_active_staff_account_is_kept,
    accounts_are_changed_by_their_owner_or_staff,
    rights_are_changed_by_staff,
    deleted_account_leaves_nothing,
    id_is_never_used_twice,
    deletion_notifies_the_owner,
    deletion_ends_the_pauses_of_the_address,
    last_staff_account_is_not_deleted,
    accounts_are_deleted_by_their_owner_or_staff,
    owner_who_deletes_leaves_no_network,
    unknown_account_is_not_deleted,
];

const ANN: &str = "ann@example.com";

async fn change(store: &dyn Store, id: UserId, changes: UserChanges) -> UpdateOutcome {
    store
        .update_user(update(id, changes, "", at(20)))
        .await
        .unwrap()
}

fn active(is_active: bool) -> UserChanges {
    UserChanges {
        is_active: Some(is_active),
        ..UserChanges::default()
    }
}

fn promoted(is_staff: bool) -> UserChanges {
    UserChanges {
        is_staff: Some(is_staff),
        ..UserChanges::default()
    }
}

async fn account_is_found_by_id_and_address(store: &dyn Store) {
    let id = account(store, "Ann@example.com").await;
    let found = user(store, id).await;
    assert_eq!((found.id, &*found.email), (id, "Ann@example.com"));
    let by_email = async |email: &str| store.find_user_by_email(email).await.unwrap();
    assert_eq!(by_email(ANN).await, Some(found));
    assert_eq!(
        by_email("Ann@example.com").await,
        None,
        "the key is in lower case"
    );
    assert_eq!(by_email("nobody@example.com").await, None);
    assert_eq!(store.find_user(id + 1).await.unwrap(), None);
}

async fn credentials_say_what_a_sign_in_needs(store: &dyn Store) {
    let id = account(store, ANN).await;
    let pending = sign_up("new@example.com", "pending", "code", at(0));
    let pending = created(store.create_sign_up(pending).await.unwrap());
    set_active(store, id, false).await;
    let found = async |email: &str| {
        let found = store.find_credentials(email).await.unwrap()?;
        Some((
            found.user_id,
            found.password_hash,
            found.is_active,
            found.is_verified,
        ))
    };
    assert_eq!(found(ANN).await, Some((id, "hash".into(), false, true)));
    let expected = Some((pending, "pending".into(), true, false));
    assert_eq!(found("new@example.com").await, expected);
    assert_eq!(found("nobody@example.com").await, None);
}

async fn language_is_found(store: &dyn Store) {
    let signed_up = sign_up("new@example.com", "hash", "code", at(0));
    let german = created(store.create_sign_up(signed_up).await.unwrap());
    let id = account(store, ANN).await;
    for (id, language) in [(german, "de"), (id, ""), (id + 1, "")] {
        assert_eq!(store.find_language(id).await.unwrap(), language);
    }
}

async fn confirmed_address_is_taken(store: &dyn Store) {
    let is_taken =
        async |email: &str, except| store.is_email_taken(email, except, at(5)).await.unwrap();
    let signed_up = sign_up(ANN, "hash", "code", at(0));
    let id = created(store.create_sign_up(signed_up).await.unwrap());
    assert!(!is_taken(ANN, None).await, "not confirmed");
    let confirmed = confirmation(attempt(ANN, "code", at(1)), session("s", at(1)));
    assert!(store.confirm_sign_up(confirmed).await.unwrap().is_some());
    assert!(is_taken(ANN, None).await && is_taken(ANN, Some(id + 1)).await);
    assert!(!is_taken(ANN, Some(id)).await);
    assert!(!is_taken("nobody@example.com", None).await);
    set_active(store, id, false).await;
    assert!(is_taken(ANN, None).await);
}

async fn profile_is_changed(store: &dyn Store) {
    let id = account(store, ANN).await;
    let other = account(store, "bob@example.com").await;
    let untouched = user(store, other).await;
    let before = user(store, id).await;
    let changes = UserChanges {
        first_name: Some("Ann".into()),
        last_name: Some("Doe".into()),
        phone: Some("+1234567890".into()),
        address: Some("Street 1".into()),
        gender: Some("F".into()),
        country: Some("DE".into()),
        birthday: Some(BirthDate::parse("1990-01-02").ok()),
        photo: Some(Some("face.jpg".into())),
        ..UserChanges::default()
    };
    let outcome = change(store, id, changes).await;
    let UpdateOutcome::Updated {
        user: after,
        mail,
        old_photo,
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    let expected = User {
        profile: Profile {
            first_name: "Ann".into(),
            last_name: "Doe".into(),
            phone: "+1234567890".into(),
            address: "Street 1".into(),
            gender: "F".into(),
            country: "DE".into(),
            birthday: BirthDate::parse("1990-01-02").ok(),
        },
        photo: Some("face.jpg".into()),
        updated_at: at(20),
        ..before
    };
    assert_eq!((&*after, mail, old_photo), (&expected, None, None));
    assert_eq!(user(store, id).await, expected);
    let emptied = UserChanges {
        birthday: Some(None),
        photo: Some(None),
        ..renamed("")
    };
    updated(change(store, id, emptied).await);
    let left = user(store, id).await;
    assert_eq!((left.profile.birthday, left.photo), (None, None));
    assert_eq!(
        (&*left.profile.first_name, &*left.profile.last_name),
        ("", "Doe")
    );
    assert_eq!(user(store, other).await, untouched);
}

async fn nothing_changed_leaves_the_time(store: &dyn Store) {
    let id = account(store, ANN).await;
    updated(change(store, id, renamed("Ann")).await);
    let before = user(store, id).await;
    let again = UserUpdate {
        now: at(30),
        ..update(id, renamed("Ann"), "", at(30))
    };
    let (same, mail) = updated(store.update_user(again).await.unwrap());
    assert_eq!((same, mail), (before, None));
    assert_eq!(count_events(store, id, EventKind::ProfileChanged).await, 1);
}

async fn changes_are_noted_by_their_names(store: &dyn Store) {
    let id = account(store, ANN).await;
    let changes = UserChanges {
        phone: Some("+1234567890".into()),
        ..renamed("Ann")
    };
    updated(change(store, id, changes).await);
    let (kind, detail) = events(store, id).await.pop().unwrap();
    assert_eq!(kind, EventKind::ProfileChanged);
    assert!(
        detail.contains("first_name") && detail.contains("phone"),
        "{detail}"
    );
    assert!(
        !detail.contains("Ann") && !detail.contains("+1234567890"),
        "{detail}"
    );
}

async fn unknown_account_is_not_changed(store: &dyn Store) {
    let id = account(store, ANN).await;
    let outcome = change(store, id + 1, renamed("Ann")).await;
    assert_eq!(outcome, UpdateOutcome::NotFound);
}

async fn deactivation_and_activation_are_noted(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    let other = verified(store, "bob@example.com", at(0)).await;
    for (is_active, kind) in [
        (false, EventKind::UserDeactivated),
        (true, EventKind::UserActivated),
    ] {
        updated(change(store, id, active(is_active)).await);
        assert_eq!(user(store, id).await.is_active, is_active);
        assert_eq!(count_events(store, id, kind).await, 1);
    }
    assert!(
        !is_signed_in(store, id, ANN).await,
        "revoked sessions stay revoked"
    );
    assert!(is_signed_in(store, other, "bob@example.com").await);
}

async fn promotion_is_noted_and_mailed(store: &dyn Store) {
    let id = account(store, ANN).await;
    let with_notice = |is_staff| UserUpdate {
        promotion_notice: Some(notice("promoted")),
        ..update(id, promoted(is_staff), "", at(20))
    };
    let (user, _) = updated(store.update_user(with_notice(true)).await.unwrap());
    assert!(user.is_staff);
    updated(store.update_user(with_notice(true)).await.unwrap());
    updated(store.update_user(with_notice(false)).await.unwrap());
    assert_eq!(
        mails(store).await,
        [(ANN.to_owned(), "promoted".to_owned())]
    );
    for kind in [EventKind::UserPromoted, EventKind::UserDemoted] {
        assert_eq!(count_events(store, id, kind).await, 1, "{kind:?}");
    }
}

async fn unverified_account_is_not_promoted(store: &dyn Store) {
    let signed_up = sign_up(ANN, "hash", "code", at(0));
    let id = created(store.create_sign_up(signed_up).await.unwrap());
    let changes = UserChanges {
        first_name: Some("Ann".into()),
        ..promoted(true)
    };
    assert_eq!(change(store, id, changes).await, UpdateOutcome::NotVerified);
    let left = user(store, id).await;
    assert_eq!((left.is_staff, &*left.profile.first_name), (false, "hash"));
}

async fn last_active_staff_account_is_kept(store: &dyn Store) {
    let root = staff(store, "root@example.com").await;
    let inactive = staff(store, "bob@example.com").await;
    set_active(store, inactive, false).await;
    let keeping = async |id, changes| {
        let update = UserUpdate {
            keep_last_staff: true,
            ..update(id, changes, "", at(20))
        };
        store.update_user(update).await.unwrap()
    };
    for changes in [active(false), promoted(false)] {
        let outcome = keeping(root, changes).await;
        assert_eq!(outcome, UpdateOutcome::LastStaffMember);
    }
    assert!(user(store, root).await.is_staff);
    updated(keeping(root, renamed("Root")).await);
    updated(keeping(inactive, promoted(false)).await);
    let second = staff(store, "carl@example.com").await;
    updated(keeping(root, promoted(false)).await);
    assert_eq!(
        keeping(second, active(false)).await,
        UpdateOutcome::LastStaffMember
    );
    updated(change(store, second, active(false)).await);
}

async fn accounts_are_changed_by_their_owner_or_staff(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    let rename = async |context, name: &str| {
        let update = UserUpdate {
            context,
            ..update(id, renamed(name), "", at(20))
        };
        store.update_user(update).await
    };
    for (context, reason) in outsiders(store).await {
        assert_refused(rename(context, "Eve").await, reason);
    }
    let of_another = by(id, "outsider");
    assert_refused(rename(of_another, "Eve").await, "SessionEnded");
    assert_eq!(user(store, id).await.profile.first_name, "hash");
    updated(rename(by(id, ANN), "Ann").await.unwrap());
    let root = staff(store, "root@example.com").await;
    session_of(store, root, "root").await;
    updated(rename(by(root, "root"), "Anna").await.unwrap());
    end_session(store, ANN).await;
    assert_refused(rename(by(id, ANN), "Late").await, "SessionEnded");
    assert_eq!(user(store, id).await.profile.first_name, "Anna");
}

async fn rights_are_changed_by_staff(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    for changes in [promoted(true), active(false), active(true)] {
        let update = UserUpdate {
            context: by(id, ANN),
            ..update(id, changes, "", at(20))
        };
        assert_refused(store.update_user(update).await, "Forbidden");
    }
    let left = user(store, id).await;
    assert!(!left.is_staff && left.is_active);
}

async fn deleted_account_leaves_nothing(store: &dyn Store) {
    let id = with_clients(store).await;
    let other = verified(store, "bob@example.com", at(0)).await;
    activate(store, id, "browser").await;
    add_passkey(store, id, "browser", "key").await;
    store.connect_identity(connection(id, "ann")).await.unwrap();
    client_session(store, id, "c", "openid").await;
    updated(change(store, id, moved("new@example.com")).await);
    let outcome = store.delete_user(deletion(id)).await.unwrap();
    assert_eq!(outcome, DeleteOutcome::Deleted { photo: None });
    assert_eq!(store.find_user(id).await.unwrap(), None);
    for email in [ANN, "new@example.com"] {
        assert!(store.find_credentials(email).await.unwrap().is_none());
    }
    assert!(store.list_sessions(id, at(21)).await.unwrap().is_empty());
    assert!(!store.find_factors(id).await.unwrap().is_enabled());
    assert!(store.find_passkey_key(b"key").await.unwrap().is_none());
    assert_eq!(store.find_account_passkeys(id).await.unwrap(), None);
    assert!(store.list_identities(id).await.unwrap().is_empty());
    let subject = proven("ann");
    let owner = store
        .find_identity_user(&subject.issuer, &subject.subject)
        .await;
    assert_eq!(owner.unwrap(), None);
    assert_eq!(store.find_allowed_scopes(id, "app").await.unwrap(), None);
    assert!(!store.is_network_known(id, "203.0.113.7").await.unwrap());
    assert!(mails(store).await.is_empty());
    assert!(is_signed_in(store, other, "bob@example.com").await);
    // The address is free.
    account(store, ANN).await;
}

async fn id_is_never_used_twice(store: &dyn Store) {
    let id = account(store, ANN).await;
    assert_eq!(store.next_user_id().await.unwrap(), id + 1);
    store.delete_user(deletion(id)).await.unwrap();
    assert_eq!(store.next_user_id().await.unwrap(), id + 1);
    assert_eq!(account(store, ANN).await, id + 1);
}

async fn deletion_notifies_the_owner(store: &dyn Store) {
    let id = account(store, ANN).await;
    let request = DeleteUser {
        notices: vec![notice("gone"), notice("gone too")],
        ..deletion(id)
    };
    store.delete_user(request).await.unwrap();
    assert_eq!(mails(store).await, [(ANN.to_owned(), "gone".to_owned())]);
    assert_eq!(
        events(store, id).await.pop(),
        Some((EventKind::UserDeleted, String::new()))
    );
}

async fn deletion_ends_the_pauses_of_the_address(store: &dyn Store) {
    let id = account(store, ANN).await;
    let tried = try_from("198.51.100.1", ANN, Some(id), at(5));
    for _ in 0..5 {
        store.count_failed_password(tried.clone()).await.unwrap();
    }
    let request = DeleteUser {
        address_hash: ANN.into(),
        ..deletion(id)
    };
    store.delete_user(request).await.unwrap();
    assert_eq!(store.find_password_pause(&tried).await.unwrap(), None);
}

async fn last_staff_account_is_not_deleted(store: &dyn Store) {
    let root = staff(store, "root@example.com").await;
    let keeping = |id| DeleteUser {
        keep_last_staff: true,
        notices: vec![notice("gone")],
        ..deletion(id)
    };
    let outcome = store.delete_user(keeping(root)).await.unwrap();
    assert_eq!(outcome, DeleteOutcome::LastStaffMember);
    assert!(store.find_user(root).await.unwrap().is_some());
    assert!(mails(store).await.is_empty());
    let second = staff(store, "bob@example.com").await;
    let outcome = store.delete_user(keeping(second)).await.unwrap();
    assert_eq!(outcome, DeleteOutcome::Deleted { photo: None });
    let outcome = store.delete_user(deletion(root)).await.unwrap();
    assert_eq!(outcome, DeleteOutcome::Deleted { photo: None });
}

async fn accounts_are_deleted_by_their_owner_or_staff(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    for (context, reason) in outsiders(store).await {
        let request = DeleteUser {
            context,
            ..deletion(id)
        };
        assert_refused(store.delete_user(request).await, reason);
    }
    // Without a password it needs staff.
    let without = DeleteUser {
        needs_staff: true,
        context: by(id, ANN),
        ..deletion(id)
    };
    assert_refused(store.delete_user(without).await, "Forbidden");
    assert!(is_signed_in(store, id, ANN).await);
    let root = staff(store, "root@example.com").await;
    session_of(store, root, "root").await;
    let by_staff = DeleteUser {
        needs_staff: true,
        context: by(root, "root"),
        ..deletion(id)
    };
    let outcome = store.delete_user(by_staff).await.unwrap();
    assert_eq!(outcome, DeleteOutcome::Deleted { photo: None });
}

async fn owner_who_deletes_leaves_no_network(store: &dyn Store) {
    let id = verified(store, ANN, at(0)).await;
    let request = DeleteUser {
        context: RequestContext {
            ip: "203.0.113.7".into(),
            user_agent: "browser".into(),
            ..by(id, ANN)
        },
        ..deletion(id)
    };
    store.delete_user(request).await.unwrap();
    let query = EventQuery {
        limit: 10,
        ..EventQuery::default()
    };
    for event in store.list_events(query).await.unwrap() {
        let context = (&*event.context.ip, &*event.context.user_agent);
        assert_eq!(context, ("", ""), "{:?}", event.kind);
    }
}

async fn unknown_account_is_not_deleted(store: &dyn Store) {
    let id = account(store, ANN).await;
    let outcome = store.delete_user(deletion(id + 1)).await.unwrap();
    assert_eq!(outcome, DeleteOutcome::NotFound);
    assert!(store.find_user(id).await.unwrap().is_some());
}
