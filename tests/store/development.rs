//! The mark of a database that is served for development, and snapshots.

use crate::support::*;

on_every_engine![
    first_mark_is_kept,
    snapshot_is_restored_with_the_sequence_of_ids,
    later_snapshot_replaces_the_earlier_one,
    photos_that_nobody_has_any_more_are_named,
    nothing_is_restored_without_a_snapshot,
    too_many_accounts_give_no_snapshot,
    restored_setup_link_is_the_present_one,
];

async fn first_mark_is_kept(store: &dyn Store) {
    assert_eq!(store.find_development_mark().await.unwrap(), None);
    for now in [at(5), at(9)] {
        store.mark_development(now).await.unwrap();
        assert_eq!(store.find_development_mark().await.unwrap(), Some(at(5)));
    }
}

async fn snapshot_is_restored_with_the_sequence_of_ids(store: &dyn Store) {
    let id = verified(store, "ann@example.com", at(0)).await;
    let before = user(store, id).await;
    assert!(store.take_snapshot(10).await.unwrap());
    let next = store.next_user_id().await.unwrap();
    apply_update(store, update(id, renamed("Changed"), "", at(1))).await;
    end_session(store, "ann@example.com").await;
    let later = account(store, "bob@example.com").await;
    assert_eq!(store.restore_snapshot().await.unwrap(), Some(Vec::new()));
    assert_eq!(user(store, id).await, before);
    assert_eq!(store.find_user(later).await.unwrap(), None);
    assert!(is_signed_in(store, id, "ann@example.com").await);
    assert_eq!(store.next_user_id().await.unwrap(), next);
    assert_eq!(account(store, "bob@example.com").await, later);
}

async fn later_snapshot_replaces_the_earlier_one(store: &dyn Store) {
    assert!(store.take_snapshot(10).await.unwrap());
    let id = account(store, "ann@example.com").await;
    assert!(store.take_snapshot(10).await.unwrap());
    for _ in 0..2 {
        store.delete_user(deletion(id)).await.unwrap();
        assert!(store.restore_snapshot().await.unwrap().is_some());
        assert_eq!(user(store, id).await.email, "ann@example.com");
    }
}

async fn photos_that_nobody_has_any_more_are_named(store: &dyn Store) {
    let id = account(store, "ann@example.com").await;
    let set_photo = async |name: &str| {
        let changes = UserChanges {
            photo: Some(Some(name.to_owned())),
            ..UserChanges::default()
        };
        apply_update(store, update(id, changes, "", at(1))).await;
    };
    set_photo("kept.jpg").await;
    assert!(store.take_snapshot(10).await.unwrap());
    set_photo("later.jpg").await;
    let gone = store.restore_snapshot().await.unwrap().unwrap();
    assert_eq!(gone, ["later.jpg"]);
    assert_eq!(user(store, id).await.photo.as_deref(), Some("kept.jpg"));
}

async fn nothing_is_restored_without_a_snapshot(store: &dyn Store) {
    let id = account(store, "ann@example.com").await;
    assert_eq!(store.restore_snapshot().await.unwrap(), None);
    assert!(store.find_user(id).await.unwrap().is_some());
}

async fn too_many_accounts_give_no_snapshot(store: &dyn Store) {
    assert!(store.take_snapshot(1).await.unwrap());
    for email in ["ann@example.com", "bob@example.com"] {
        account(store, email).await;
    }
    assert!(!store.take_snapshot(1).await.unwrap());
    assert_eq!(store.restore_snapshot().await.unwrap(), None);
    assert!(store.take_snapshot(2).await.unwrap());
}

async fn restored_setup_link_is_the_present_one(store: &dyn Store) {
    store.replace_setup_link(b"former", at(100)).await.unwrap();
    assert!(store.take_snapshot(10).await.unwrap());
    store.replace_setup_link(b"latest", at(100)).await.unwrap();
    store.restore_snapshot().await.unwrap().unwrap();
    assert!(store.is_setup_link_valid(b"latest", at(1)).await.unwrap());
    assert!(!store.is_setup_link_valid(b"former", at(1)).await.unwrap());
}
