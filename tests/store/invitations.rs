//! Invitations.

use crate::support::*;

on_every_engine![
    invitation_is_stored_and_mailed,
    repeated_invitation_is_extended,
    address_with_an_account_is_not_invited,
    mails_of_invitations_are_throttled,
    invitation_is_accepted_once,
    accepted_invitation_replaces_a_pending_sign_up,
    expired_invitation_is_not_accepted,
    address_with_an_account_counts_as_accepted,
    revoked_invitation_has_no_links_and_mails,
    invitations_are_listed_by_page,
    invitations_are_searched,
    invitations_need_staff,
    old_invitations_are_deleted,
];

fn invitation(email: &str, token: &str, now: Timestamp) -> NewInvitation {
    NewInvitation {
        email: address(email),
        language: "de".into(),
        token_hash: token.as_bytes().to_vec(),
        address_hash: email.to_lowercase().into_bytes(),
        mailbox_hash: email.to_lowercase().into_bytes(),
        mail: mail(token, now.plus(Duration::from_secs(1000))),
        expires_at: now.plus(Duration::from_secs(1000)),
        now,
        limits: LIMITLESS,
        context: RequestContext {
            operator: "root".into(),
            ..RequestContext::default()
        },
    }
}

async fn invite(store: &dyn Store, invitation: NewInvitation) -> Invitation {
    match store.create_invitation(invitation).await.unwrap() {
        InvitationOutcome::Created(invitation) => invitation,
        other => panic!("{other:?}"),
    }
}

async fn find(store: &dyn Store, token: &str, now: Timestamp) -> Option<Invitation> {
    store.find_invitation(token.as_bytes(), now).await.unwrap()
}

fn acceptance(token: &str, session_id: &str, now: Timestamp) -> AcceptInvitation {
    AcceptInvitation {
        token_hash: token.as_bytes().to_vec(),
        password_hash: "chosen".into(),
        profile: Profile {
            first_name: "New".into(),
            ..Profile::default()
        },
        session: session(session_id, now),
        now,
        context: RequestContext::default(),
    }
}

async fn accept(store: &dyn Store, acceptance: AcceptInvitation) -> Option<User> {
    store.accept_invitation(acceptance).await.unwrap()
}

async fn list(store: &dyn Store, search: &str, page: PageRequest) -> Option<Page<Invitation>> {
    let query = InvitationQuery {
        search: search.into(),
        page,
        page_size: 2,
    };
    store.list_invitations(query).await.unwrap()
}

async fn invitation_is_stored_and_mailed(store: &dyn Store) {
    let made = invite(store, invitation("New@example.com", "t", at(0))).await;
    let expected = Invitation {
        id: made.id,
        email: "New@example.com".into(),
        language: "de".into(),
        inviter_id: None,
        operator: "root".into(),
        created_at: at(0),
        expires_at: at(1000),
    };
    assert_eq!(made, expected);
    assert_eq!(find(store, "t", at(999)).await, Some(expected));
    assert_eq!(find(store, "u", at(999)).await, None);
    let claimed = claim(store, at(0), 10, 10).await;
    assert_eq!(contents(&claimed), [("t", "New@example.com", "de", 1)]);
    assert_eq!(claimed.mails[0].subject, MailSubject::Invitation(made.id));
    assert!(!store.find_setup_state().await.unwrap().has_accounts);
}

async fn repeated_invitation_is_extended(store: &dyn Store) {
    let first = invite(store, invitation("new@example.com", "t", at(0))).await;
    let second = invite(store, invitation("NEW@example.com", "u", at(500))).await;
    assert_eq!(second.id, first.id);
    assert_eq!(
        (&*second.email, second.expires_at),
        ("NEW@example.com", at(1500))
    );
    for token in ["t", "u"] {
        assert_eq!(find(store, token, at(1499)).await, Some(second.clone()));
    }
}

async fn address_with_an_account_is_not_invited(store: &dyn Store) {
    account(store, "ann@example.com").await;
    let outcome = store.create_invitation(invitation("ANN@example.com", "t", at(0)));
    assert_eq!(outcome.await.unwrap(), InvitationOutcome::EmailTaken);
    assert_eq!(find(store, "t", at(1)).await, None);
    assert!(mails(store).await.is_empty());
}

async fn mails_of_invitations_are_throttled(store: &dyn Store) {
    let strict = |token, now| NewInvitation {
        limits: STRICT,
        ..invitation("new@example.com", token, now)
    };
    invite(store, strict("t", at(0))).await;
    let outcome = store.create_invitation(strict("u", at(59))).await.unwrap();
    assert_eq!(outcome, InvitationOutcome::Throttled { until: at(60) });
    let kept = find(store, "t", at(59)).await.unwrap();
    assert_eq!(kept.expires_at, at(1000), "nothing has changed");
    assert_eq!(find(store, "u", at(59)).await, None);
    invite(store, strict("u", at(60))).await;
}

async fn invitation_is_accepted_once(store: &dyn Store) {
    invite(store, invitation("New@example.com", "t", at(0))).await;
    let user = accept(store, acceptance("t", "s", at(10))).await.unwrap();
    assert_eq!(
        (&*user.email, &*user.profile.first_name),
        ("New@example.com", "New")
    );
    assert!(user.is_verified() && !user.is_staff);
    assert_eq!(user.last_login_at, Some(at(10)));
    assert!(is_signed_in(store, user.id, "s").await);
    assert_eq!(store.find_language(user.id).await.unwrap(), "de");
    let hash = store.find_password_hash(user.id).await.unwrap();
    assert_eq!(hash.as_deref(), Some("chosen"));
    assert!(
        mails(store).await.is_empty(),
        "the mail is not needed any more"
    );
    assert_eq!(accept(store, acceptance("t", "again", at(11))).await, None);
    assert_eq!(find(store, "t", at(11)).await, None);
}

async fn accepted_invitation_replaces_a_pending_sign_up(store: &dyn Store) {
    let pending = sign_up("new@example.com", "theirs", "code", at(0));
    let id = created(store.create_sign_up(pending).await.unwrap());
    invite(store, invitation("new@example.com", "t", at(0))).await;
    let user = accept(store, acceptance("t", "s", at(10))).await.unwrap();
    assert_eq!((user.id, &*user.profile.first_name), (id, "New"));
    let code = attempt("new@example.com", "code", at(20));
    let outcome = store.confirm_sign_up(confirmation(code, session("no", at(20))));
    assert_eq!(outcome.await.unwrap(), None);
}

async fn expired_invitation_is_not_accepted(store: &dyn Store) {
    let made = invite(store, invitation("new@example.com", "t", at(0))).await;
    assert!(made.is_expired(at(1000)) && !made.is_expired(at(999)));
    assert_eq!(find(store, "t", at(1000)).await, None);
    assert_eq!(accept(store, acceptance("t", "s", at(1000))).await, None);
    let listed = list(store, "", PageRequest::Number(1)).await.unwrap();
    assert_eq!(listed.items, [made], "it can be repeated");
}

async fn address_with_an_account_counts_as_accepted(store: &dyn Store) {
    invite(store, invitation("new@example.com", "t", at(0))).await;
    verified(store, "new@example.com", at(5)).await;
    assert_eq!(find(store, "t", at(6)).await, None);
    assert_eq!(accept(store, acceptance("t", "s", at(6))).await, None);
    let listed = list(store, "", PageRequest::Number(1)).await.unwrap();
    assert_eq!(listed.items, []);
}

async fn revoked_invitation_has_no_links_and_mails(store: &dyn Store) {
    let made = invite(store, invitation("new@example.com", "t", at(0))).await;
    invite(store, invitation("other@example.com", "other", at(0))).await;
    let revocation = || RevokeInvitation {
        id: made.id,
        now: at(10),
        context: RequestContext::default(),
    };
    assert!(store.revoke_invitation(revocation()).await.unwrap());
    assert!(!store.revoke_invitation(revocation()).await.unwrap());
    assert_eq!(find(store, "t", at(11)).await, None);
    assert_eq!(accept(store, acceptance("t", "s", at(11))).await, None);
    assert_eq!(mail_contents(store).await, ["other"]);
    assert!(find(store, "other", at(11)).await.is_some());
}

async fn invitations_are_listed_by_page(store: &dyn Store) {
    for (number, name) in (0..).zip(["a", "b", "c"]) {
        invite(
            store,
            invitation(&format!("{name}@example.com"), name, at(number)),
        )
        .await;
    }
    let page = async |page| {
        let page = list(store, "", page).await?;
        assert_eq!((page.count, page.pages), (3, 2));
        let emails = page.items.into_iter().map(|invitation| invitation.email);
        Some(emails.collect::<Vec<_>>())
    };
    let first = page(PageRequest::Number(1)).await.unwrap();
    assert_eq!(first, ["c@example.com", "b@example.com"]);
    assert_eq!(page(PageRequest::Last).await.unwrap(), ["a@example.com"]);
    assert_eq!(page(PageRequest::Number(3)).await, None);
}

async fn invitations_are_searched(store: &dyn Store) {
    for (token, email) in [("t", "An_n@example.com"), ("u", "Anxn@example.com")] {
        invite(store, invitation(email, token, at(0))).await;
    }
    for (search, expected) in [("AN", 2), ("an_n", 1), ("%", 0), ("example.com", 2)] {
        let page = list(store, search, PageRequest::Number(1)).await.unwrap();
        assert_eq!(page.count, expected, "{search}");
    }
}

async fn invitations_need_staff(store: &dyn Store) {
    let made = invite(store, invitation("new@example.com", "t", at(0))).await;
    for (context, reason) in outsiders(store).await {
        let request = NewInvitation {
            context: context.clone(),
            ..invitation("other@example.com", "u", at(0))
        };
        assert_refused(store.create_invitation(request).await, reason);
        let revocation = RevokeInvitation {
            id: made.id,
            now: at(1),
            context,
        };
        assert_refused(store.revoke_invitation(revocation).await, reason);
    }
    assert!(find(store, "t", at(1)).await.is_some());
    assert_eq!(find(store, "u", at(1)).await, None);
    let id = staff(store, "staff@example.com").await;
    session_of(store, id, "staff").await;
    let request = NewInvitation {
        context: by(id, "staff"),
        ..invitation("other@example.com", "u", at(0))
    };
    assert_eq!(invite(store, request).await.inviter_id, Some(id));
}

async fn old_invitations_are_deleted(store: &dyn Store) {
    invite(store, invitation("new@example.com", "t", at(0))).await;
    let month = at(1000).plus(DAY * 30);
    for (now, left) in [(at(1001), 1), (month, 0)] {
        store.delete_expired(now, None, None).await.unwrap();
        let page = list(store, "", PageRequest::Number(1)).await.unwrap();
        assert_eq!(page.count, left);
    }
}
