//! Photos: notes of unused ones, and content where the database keeps it.

use crate::support::*;

on_every_engine![
    noted_photo_is_unused_until_an_account_gets_it,
    replaced_and_removed_photos_are_noted,
    photo_of_a_deleted_account_is_unused,
    first_note_counts,
    content_is_kept_where_servers_share_the_store,
    forgotten_photo_has_neither_note_nor_content,
    first_content_counts,
];

async fn unused(store: &dyn Store, noted_before: Timestamp) -> Vec<String> {
    let mut names = store.list_unused_photos(noted_before).await.unwrap();
    names.sort();
    names
}

/// Sets or removes the photo of an account. Returns the one that it had.
async fn set_photo(store: &dyn Store, id: UserId, photo: Option<&str>) -> Option<String> {
    let changes = UserChanges {
        photo: Some(photo.map(str::to_owned)),
        ..UserChanges::default()
    };
    let update = update(id, changes, "", at(20));
    match store.update_user(update).await.unwrap() {
        UpdateOutcome::Updated { old_photo, .. } => old_photo,
        other => panic!("{other:?}"),
    }
}

async fn noted_photo_is_unused_until_an_account_gets_it(store: &dyn Store) {
    let id = account(store, "ann@example.com").await;
    store.note_photo("face.jpg", at(10)).await.unwrap();
    store.note_photo("other.jpg", at(11)).await.unwrap();
    assert!(unused(store, at(10)).await.is_empty());
    assert_eq!(unused(store, at(11)).await, ["face.jpg"]);
    assert_eq!(unused(store, at(12)).await, ["face.jpg", "other.jpg"]);
    assert_eq!(set_photo(store, id, Some("face.jpg")).await, None);
    assert_eq!(unused(store, at(100)).await, ["other.jpg"]);
    assert_eq!(user(store, id).await.photo.as_deref(), Some("face.jpg"));
}

async fn replaced_and_removed_photos_are_noted(store: &dyn Store) {
    let id = account(store, "ann@example.com").await;
    set_photo(store, id, Some("first.jpg")).await;
    let old = set_photo(store, id, Some("first.jpg")).await;
    assert_eq!(old, None, "the same photo again");
    let old = set_photo(store, id, Some("second.jpg")).await;
    assert_eq!(old.as_deref(), Some("first.jpg"));
    assert!(unused(store, at(20)).await.is_empty());
    assert_eq!(unused(store, at(21)).await, ["first.jpg"]);
    let old = set_photo(store, id, None).await;
    assert_eq!(old.as_deref(), Some("second.jpg"));
    assert_eq!(unused(store, at(21)).await, ["first.jpg", "second.jpg"]);
    assert_eq!(set_photo(store, id, None).await, None);
}

async fn photo_of_a_deleted_account_is_unused(store: &dyn Store) {
    let id = account(store, "ann@example.com").await;
    set_photo(store, id, Some("face.jpg")).await;
    let photo = Some("face.jpg".to_owned());
    let outcome = store.delete_user(deletion(id)).await.unwrap();
    assert_eq!(outcome, DeleteOutcome::Deleted { photo });
    assert_eq!(unused(store, at(1)).await, ["face.jpg"]);
}

async fn first_note_counts(store: &dyn Store) {
    for now in [at(10), at(50)] {
        store.note_photo("face.jpg", now).await.unwrap();
    }
    assert_eq!(unused(store, at(11)).await, ["face.jpg"]);
}

async fn content_is_kept_where_servers_share_the_store(store: &dyn Store) {
    if !store.keeps_photos() {
        return;
    }
    assert!(store.list_photos().await.unwrap().is_empty());
    for name in ["b.jpg", "a.jpg"] {
        store
            .save_photo(name, name.as_bytes().to_vec())
            .await
            .unwrap();
    }
    assert_eq!(store.list_photos().await.unwrap(), ["a.jpg", "b.jpg"]);
    assert!(store.has_photo("a.jpg").await.unwrap());
    assert!(!store.has_photo("c.jpg").await.unwrap());
    let content = store.find_photo("a.jpg").await.unwrap();
    assert_eq!(content.as_deref(), Some(&b"a.jpg"[..]));
    assert_eq!(store.find_photo("c.jpg").await.unwrap(), None);
}

async fn forgotten_photo_has_neither_note_nor_content(store: &dyn Store) {
    for name in ["a.jpg", "b.jpg"] {
        store.note_photo(name, at(10)).await.unwrap();
        if store.keeps_photos() {
            store.save_photo(name, b"content".to_vec()).await.unwrap();
        }
    }
    store.forget_photo("a.jpg").await.unwrap();
    store.forget_photo("unknown.jpg").await.unwrap();
    assert_eq!(unused(store, at(11)).await, ["b.jpg"]);
    if store.keeps_photos() {
        assert_eq!(store.list_photos().await.unwrap(), ["b.jpg"]);
    }
}

async fn first_content_counts(store: &dyn Store) {
    if store.keeps_photos() {
        for content in [b"first", b"later"] {
            store.save_photo("a.jpg", content.to_vec()).await.unwrap();
        }
        let content = store.find_photo("a.jpg").await.unwrap();
        assert_eq!(content.as_deref(), Some(&b"first"[..]));
    }
}
