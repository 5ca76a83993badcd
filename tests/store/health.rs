//! The health of the store.

use crate::support::*;

on_every_engine![
    writes_are_checked,
    size_is_that_of_files,
    clock_is_compared_where_it_is_another
];

async fn writes_are_checked(store: &dyn Store) {
    for _ in 0..2 {
        store.check_writable().await.unwrap();
    }
    let state = store.find_setup_state().await.unwrap();
    assert!(!state.has_accounts, "nothing is left of it");
}

async fn size_is_that_of_files(store: &dyn Store) {
    account(store, "ann@example.com").await;
    let size = store.size().await;
    assert!(size.database_bytes != Some(0), "{size:?}");
    if store.keeps_photos() {
        assert_eq!(size, StoreSize::default());
    }
}

async fn clock_is_compared_where_it_is_another(store: &dyn Store) {
    let offset = store.clock_offset();
    assert_eq!(offset.is_some(), store.keeps_photos());
    // The test database runs on this machine.
    assert!(
        offset.is_none_or(|offset| offset.abs() < 2_000),
        "{offset:?}"
    );
}
