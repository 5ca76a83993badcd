//! Signing keys and secrets.

use crate::support::*;

on_every_engine![
    first_caller_creates_the_key,
    clients_have_a_key_for_each_algorithm,
    rotation_retires_what_it_replaces,
    rotation_needs_staff,
    retired_key_is_removed,
    retired_keys_are_deleted_by_age,
    secret_is_created_once,
    key_material_is_replaced_where_it_is_unchanged,
];

fn key(kid: &str, now: Timestamp) -> StoredKey {
    StoredKey {
        kid: kid.into(),
        algorithm: "EdDSA".into(),
        private_key: vec![1, 2],
        is_sealed: false,
        public_key: vec![3, 4],
        created_at: now,
        retired_at: None,
        is_for_clients: false,
    }
}

fn client_key(kid: &str, algorithm: &str, now: Timestamp) -> StoredKey {
    StoredKey {
        algorithm: algorithm.into(),
        is_for_clients: true,
        ..key(kid, now)
    }
}

async fn kids(store: &dyn Store) -> Vec<(String, bool)> {
    let keys = store.list_signing_keys().await.unwrap().into_iter();
    keys.map(|key| (key.kid, key.retired_at.is_some()))
        .collect()
}

fn named_kids(expected: &[(&str, bool)]) -> Vec<(String, bool)> {
    let expected = expected.iter();
    expected
        .map(|(kid, is_retired)| ((*kid).to_owned(), *is_retired))
        .collect()
}

async fn rotate(store: &dyn Store, keys: Vec<StoredKey>, now: Timestamp) {
    let rotation = RotateKeys {
        keys,
        context: RequestContext::default(),
        now,
    };
    store.rotate_keys(rotation).await.unwrap();
}

async fn first_caller_creates_the_key(store: &dyn Store) {
    assert!(store.list_signing_keys().await.unwrap().is_empty());
    for (kid, algorithm) in [("first", "EdDSA"), ("second", "EdDSA"), ("third", "ES256")] {
        let fresh = StoredKey {
            algorithm: algorithm.into(),
            ..key(kid, at(0))
        };
        let keys = store.create_first_signing_key(fresh).await.unwrap();
        assert!(keys == [key("first", at(0))], "{kid}");
    }
    assert!(store.list_signing_keys().await.unwrap() == [key("first", at(0))]);
}

async fn clients_have_a_key_for_each_algorithm(store: &dyn Store) {
    let mut all = Vec::new();
    for fresh in [
        key("own", at(0)),
        client_key("first", "RS256", at(0)),
        client_key("second", "RS256", at(1)),
        client_key("third", "ES256", at(2)),
    ] {
        all = store.create_first_signing_key(fresh).await.unwrap();
    }
    let kids: Vec<_> = all.iter().map(|key| &*key.kid).collect();
    assert_eq!(kids, ["own", "third", "first"]);
}

async fn rotation_retires_what_it_replaces(store: &dyn Store) {
    for fresh in [
        key("own", at(0)),
        client_key("rsa", "RS256", at(0)),
        client_key("ec", "ES256", at(0)),
    ] {
        store.create_first_signing_key(fresh).await.unwrap();
    }
    rotate(store, vec![key("new", at(5))], at(5)).await;
    let expected = [("new", false), ("ec", false), ("rsa", false), ("own", true)];
    assert_eq!(kids(store).await, named_kids(&expected));
    rotate(store, vec![client_key("new rsa", "RS256", at(6))], at(6)).await;
    let expected = [
        ("new", false),
        ("new rsa", false),
        ("ec", false),
        ("own", true),
        ("rsa", true),
    ];
    assert_eq!(kids(store).await, named_kids(&expected));
    let keys = store.list_signing_keys().await.unwrap();
    assert_eq!(keys[4].retired_at, Some(at(6)));
}

async fn rotation_needs_staff(store: &dyn Store) {
    store
        .create_first_signing_key(key("own", at(0)))
        .await
        .unwrap();
    for (context, reason) in outsiders(store).await {
        let rotation = RotateKeys {
            keys: vec![key("new", at(5))],
            context,
            now: at(5),
        };
        assert_refused(store.rotate_keys(rotation).await, reason);
    }
    assert_eq!(kids(store).await, named_kids(&[("own", false)]));
}

async fn retired_key_is_removed(store: &dyn Store) {
    store
        .create_first_signing_key(key("own", at(0)))
        .await
        .unwrap();
    rotate(store, vec![key("new", at(5))], at(5)).await;
    for (kid, is_removed) in [
        ("new", false),
        ("unknown", false),
        ("own", true),
        ("own", false),
    ] {
        let removal = RemoveKey {
            kid: kid.into(),
            context: RequestContext::default(),
            now: at(6),
        };
        let removed = store.remove_key(removal).await.unwrap();
        assert_eq!(removed, is_removed, "{kid}");
    }
    assert_eq!(kids(store).await, named_kids(&[("new", false)]));
}

async fn retired_keys_are_deleted_by_age(store: &dyn Store) {
    store
        .create_first_signing_key(key("a", at(0)))
        .await
        .unwrap();
    let clients = client_key("x", "RS256", at(0));
    store.create_first_signing_key(clients).await.unwrap();
    rotate(
        store,
        vec![key("b", at(5)), client_key("y", "RS256", at(5))],
        at(5),
    )
    .await;
    rotate(store, vec![key("c", at(7))], at(7)).await;
    let delete = async |before, clients_before| {
        let deleted = store.delete_retired_keys(at(before), at(clients_before));
        deleted.await.unwrap()
    };
    assert_eq!(delete(5, 5).await, 0);
    assert_eq!(delete(6, 5).await, 1);
    let expected = [("c", false), ("y", false), ("b", true), ("x", true)];
    assert_eq!(kids(store).await, named_kids(&expected));
    assert_eq!(delete(99, 99).await, 2);
    assert_eq!(kids(store).await, named_kids(&[("c", false), ("y", false)]));
}

async fn secret_is_created_once(store: &dyn Store) {
    for fresh in [vec![1; 32], vec![2; 32]] {
        assert_eq!(secret(store, "name", fresh).await, [1; 32]);
    }
    assert_eq!(secret(store, "other", vec![3]).await, [3]);
    let secrets = store.list_secrets().await.unwrap().into_iter();
    let mut secrets: Vec<_> = secrets.map(|(name, secret)| (name, secret.value)).collect();
    secrets.sort();
    let expected = [
        ("name".to_owned(), vec![1; 32]),
        ("other".to_owned(), vec![3]),
    ];
    assert_eq!(secrets, expected);
}

async fn key_material_is_replaced_where_it_is_unchanged(store: &dyn Store) {
    store
        .create_first_signing_key(key("own", at(0)))
        .await
        .unwrap();
    secret(store, "name", vec![1]).await;
    secret(store, "changed", vec![2]).await;
    let sealed = |value: &[u8]| StoredSecret {
        value: value.to_vec(),
        is_sealed: true,
    };
    let sealed_key = StoredKey {
        private_key: vec![9],
        is_sealed: true,
        ..key("own", at(0))
    };
    let material = KeyMaterial {
        keys: vec![(vec![1, 2], sealed_key.clone())],
        secrets: vec![
            ("name".into(), vec![1], sealed(&[8])),
            ("changed".into(), vec![3], sealed(&[7])),
        ],
        detail: "sealed".into(),
        context: RequestContext::default(),
        now: at(5),
    };
    store.replace_key_material(material).await.unwrap();
    assert!(store.list_signing_keys().await.unwrap() == [sealed_key]);
    for (name, secret) in store.list_secrets().await.unwrap() {
        let expected = match &*name {
            "name" => (vec![8], true),
            _ => (vec![2], false),
        };
        assert_eq!((secret.value, secret.is_sealed), expected, "{name}");
    }
}
