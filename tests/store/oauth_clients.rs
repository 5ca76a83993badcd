//! OAuth clients.

use crate::support::*;

on_every_engine![
    client_is_added,
    id_is_given_once,
    clients_are_listed_by_id,
    client_is_changed,
    secret_is_replaced,
    removed_client_loses_sessions_codes_and_consents,
    unknown_client_is_not_found,
    file_changes_its_own_clients_alone,
    clients_need_staff,
    sessions_of_a_client_are_counted,
];

fn update(id: &str, is_from_file: bool) -> OAuthClientUpdate {
    OAuthClientUpdate {
        id: id.into(),
        settings: ClientSettings {
            name: "Changed".into(),
            access_minutes: 7,
            ..client_settings()
        },
        is_from_file,
        now: at(5),
        context: RequestContext::default(),
    }
}

fn rotation_of(id: &str, is_from_file: bool) -> RotateOAuthClientSecret {
    RotateOAuthClientSecret {
        id: id.into(),
        secret_hash: Some(b"new".to_vec()),
        is_from_file,
        now: at(6),
        context: RequestContext::default(),
    }
}

fn removal(id: &str, is_from_file: bool) -> DeleteOAuthClient {
    DeleteOAuthClient {
        id: id.into(),
        is_from_file,
        now: at(7),
        context: RequestContext::default(),
    }
}

async fn add(store: &dyn Store, id: &str) -> OAuthClient {
    let new = new_client(id, client_settings());
    done(store.create_oauth_client(new).await)
}

#[track_caller]
fn done(outcome: StoreResult<OAuthClientOutcome>) -> OAuthClient {
    match outcome.unwrap() {
        OAuthClientOutcome::Done(client) => *client,
        other => panic!("{other:?}"),
    }
}

async fn find(store: &dyn Store, id: &str) -> Option<OAuthClient> {
    store.find_oauth_client(id).await.unwrap()
}

async fn client_is_added(store: &dyn Store) {
    let uri = |text| RedirectUri::parse(text).unwrap();
    let settings = ClientSettings {
        redirect_uris: vec![uri("https://a.example/cb"), uri("com.example.app:/cb")],
        post_logout_redirect_uris: vec![uri("https://a.example/bye")],
        id_token_alg: SigningAlgorithm::Es256,
        requires_consent: false,
        is_staff_only: true,
        requires_mfa: true,
        refresh_days: 8,
        session_days: 9,
        ..client_settings()
    };
    let new = NewOAuthClient {
        secret_hash: Some(b"secret".to_vec()),
        is_from_file: true,
        ..new_client("app", settings.clone())
    };
    let expected = OAuthClient {
        id: "app".into(),
        secret_hash: Some(b"secret".to_vec()),
        settings,
        is_from_file: true,
        created_at: at(0),
        updated_at: at(0),
    };
    assert_eq!(done(store.create_oauth_client(new).await), expected);
    assert_eq!(find(store, "app").await, Some(expected));
    assert_eq!(find(store, "other").await, None);
}

async fn id_is_given_once(store: &dyn Store) {
    let first = add(store, "app").await;
    let again = new_client("app", ClientSettings::new("Other".into(), Vec::new()));
    let outcome = store.create_oauth_client(again).await.unwrap();
    assert_eq!(outcome, OAuthClientOutcome::Exists);
    assert_eq!(find(store, "app").await, Some(first));
}

async fn clients_are_listed_by_id(store: &dyn Store) {
    for id in ["b", "B", "a"] {
        add(store, id).await;
    }
    let listed = store.list_oauth_clients().await.unwrap().into_iter();
    let ids: Vec<_> = listed.map(|client| client.id).collect();
    assert_eq!(ids, ["B", "a", "b"]);
}

async fn client_is_changed(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid").await;
    let before = find(store, "app").await.unwrap();
    let after = done(store.update_oauth_client(update("app", false)).await);
    let expected = OAuthClient {
        settings: update("app", false).settings,
        updated_at: at(5),
        ..before
    };
    assert_eq!(after, expected);
    assert_eq!(find(store, "app").await, Some(expected));
    assert!(find_client(store, &session.id, at(30)).await.is_some());
    let other = find(store, "own").await.unwrap();
    assert_eq!(other.settings.name, "own");
}

async fn secret_is_replaced(store: &dyn Store) {
    add(store, "app").await;
    let after = done(
        store
            .rotate_oauth_client_secret(rotation_of("app", false))
            .await,
    );
    assert_eq!(after.secret_hash.as_deref(), Some(&b"new"[..]));
    assert_eq!((after.created_at, after.updated_at), (at(0), at(6)));
    assert_eq!(find(store, "app").await, Some(after));
}

async fn removed_client_loses_sessions_codes_and_consents(store: &dyn Store) {
    let id = with_clients(store).await;
    let session = client_session(store, id, "c", "openid offline_access").await;
    issue(store, code(id, "waiting", "openid")).await;
    done(store.delete_oauth_client(removal("app", false)).await);
    assert_eq!(find(store, "app").await, None);
    assert_eq!(find_client(store, &session.id, at(30)).await, None);
    assert_eq!(redeem(store, "waiting").await, RedeemOutcome::Invalid);
    assert_eq!(store.find_allowed_scopes(id, "app").await.unwrap(), None);
    // A client that gets its id begins without them.
    add(store, "app").await;
    assert_eq!(store.list_grants(id, at(30)).await.unwrap(), []);
    assert!(is_signed_in(store, id, "browser").await);
}

async fn unknown_client_is_not_found(store: &dyn Store) {
    let missing = OAuthClientOutcome::NotFound;
    let outcome = store.update_oauth_client(update("app", false)).await;
    assert_eq!(outcome.unwrap(), missing);
    let outcome = store
        .rotate_oauth_client_secret(rotation_of("app", false))
        .await;
    assert_eq!(outcome.unwrap(), missing);
    let outcome = store.delete_oauth_client(removal("app", false)).await;
    assert_eq!(outcome.unwrap(), missing);
}

async fn file_changes_its_own_clients_alone(store: &dyn Store) {
    for (id, is_from_file) in [("file", true), ("app", false)] {
        let new = NewOAuthClient {
            is_from_file,
            ..new_client(id, client_settings())
        };
        let before = done(store.create_oauth_client(new).await);
        let not_yours = OAuthClientOutcome::NotYours;
        let outcome = store.update_oauth_client(update(id, !is_from_file)).await;
        assert_eq!(outcome.unwrap(), not_yours);
        let rotation = rotation_of(id, !is_from_file);
        let outcome = store.rotate_oauth_client_secret(rotation).await;
        assert_eq!(outcome.unwrap(), not_yours);
        let outcome = store.delete_oauth_client(removal(id, !is_from_file)).await;
        assert_eq!(outcome.unwrap(), not_yours);
        assert_eq!(find(store, id).await, Some(before));
        done(store.update_oauth_client(update(id, is_from_file)).await);
    }
}

async fn clients_need_staff(store: &dyn Store) {
    let before = add(store, "app").await;
    for (context, reason) in outsiders(store).await {
        let new = NewOAuthClient {
            context: context.clone(),
            ..new_client("new", client_settings())
        };
        assert_refused(store.create_oauth_client(new).await, reason);
        let update = OAuthClientUpdate {
            context: context.clone(),
            ..update("app", false)
        };
        assert_refused(store.update_oauth_client(update).await, reason);
        let rotation = RotateOAuthClientSecret {
            context: context.clone(),
            ..rotation_of("app", false)
        };
        assert_refused(store.rotate_oauth_client_secret(rotation).await, reason);
        let removal = DeleteOAuthClient {
            context,
            ..removal("app", false)
        };
        assert_refused(store.delete_oauth_client(removal).await, reason);
    }
    assert_eq!(store.list_oauth_clients().await.unwrap(), [before]);
}

async fn sessions_of_a_client_are_counted(store: &dyn Store) {
    let id = with_clients(store).await;
    for text in ["one", "two"] {
        client_session(store, id, text, "openid").await;
    }
    let count = async |id| store.count_oauth_client_sessions(id).await.unwrap();
    assert_eq!((count("app").await, count("own").await), (2, 0));
    assert_eq!(count("unknown").await, 0);
}
