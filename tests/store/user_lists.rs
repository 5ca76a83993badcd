//! Lists of accounts.

use crate::support::*;

on_every_engine![
    accounts_are_listed_by_page,
    accounts_are_ordered,
    words_are_searched_everywhere,
    words_are_folded,
    changed_text_is_found_at_once,
    filters_are_combined,
    external_id_finds_one_account,
    matching_accounts_are_listed_after_an_id,
    accounts_are_listed_for_export,
];

fn everything() -> UserQuery {
    UserQuery {
        words: Vec::new(),
        external_id: None,
        is_active: None,
        is_verified: None,
        only_staff: false,
        order: Vec::new(),
        page: PageRequest::Number(1),
        page_size: 100,
    }
}

/// Accounts with these first names, whose addresses are `<number>@example.com`.
async fn accounts(store: &dyn Store, names: &[&str]) -> Vec<UserId> {
    let mut ids = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let id = account(store, &format!("{number}@example.com")).await;
        let renamed = update(id, renamed(name), "", at(10));
        updated(store.update_user(renamed).await.unwrap());
        ids.push(id);
    }
    ids
}

async fn names(store: &dyn Store, query: UserQuery) -> Vec<String> {
    let page = store.list_users(query).await.unwrap().unwrap();
    assert_eq!(page.count, page.items.len() as u64);
    let users = page.items.into_iter();
    users.map(|user| user.profile.first_name).collect()
}

async fn found(store: &dyn Store, words: &[&str]) -> Vec<String> {
    let query = UserQuery {
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        order: vec![(UserOrder::FirstName, false)],
        ..everything()
    };
    names(store, query).await
}

async fn accounts_are_listed_by_page(store: &dyn Store) {
    let ids = accounts(store, &["a", "b", "c", "d", "e"]).await;
    let page = async |page| {
        let query = UserQuery {
            page,
            page_size: 2,
            ..everything()
        };
        store.list_users(query).await.unwrap()
    };
    let last = page(PageRequest::Last).await.unwrap();
    assert_eq!((last.count, last.number, last.pages), (5, 3, 3));
    let shown: Vec<_> = last.items.iter().map(|user| user.id).collect();
    assert_eq!(shown, [ids[4]]);
    let second = page(PageRequest::Number(2)).await.unwrap();
    let shown: Vec<_> = second.items.iter().map(|user| user.id).collect();
    assert_eq!(shown, [ids[2], ids[3]]);
    assert_eq!(page(PageRequest::Number(4)).await, None);
    assert_eq!(page(PageRequest::Number(0)).await, None);
}

async fn accounts_are_ordered(store: &dyn Store) {
    accounts(store, &["b", "a", "a", "c"]).await;
    let ordered = async |order| {
        let query = UserQuery {
            order,
            ..everything()
        };
        let page = store.list_users(query).await.unwrap().unwrap();
        let users = page.items.into_iter();
        users
            .map(|user| user.email[..1].to_owned())
            .collect::<String>()
    };
    for (order, expected) in [
        (vec![], "0123"),
        (vec![(UserOrder::Id, true)], "3210"),
        (vec![(UserOrder::FirstName, false)], "1203"),
        (vec![(UserOrder::FirstName, true)], "3012"),
        (
            vec![(UserOrder::FirstName, false), (UserOrder::Email, true)],
            "2103",
        ),
        (
            vec![(UserOrder::CreatedAt, false), (UserOrder::Id, true)],
            "3210",
        ),
        (vec![(UserOrder::LastName, false)], "0123"),
        (vec![(UserOrder::Email, true)], "3210"),
        (vec![(UserOrder::UpdatedAt, false)], "0123"),
    ] {
        assert_eq!(ordered(order.clone()).await, expected, "{order:?}");
    }
    let third = store
        .find_user_by_email("2@example.com")
        .await
        .unwrap()
        .unwrap();
    session_of(store, third.id, "s").await;
    let newest = ordered(vec![(UserOrder::LastLogin, true)]).await;
    assert!(newest.starts_with('2') || newest.ends_with('2'), "{newest}");
}

async fn words_are_searched_everywhere(store: &dyn Store) {
    let ids = accounts(store, &["Anna", "Hannah", "Bob"]).await;
    let changes = UserChanges {
        last_name: Some("Miller".into()),
        phone: Some("+491234567".into()),
        ..moved("bobby@example.net")
    };
    apply_update(store, update(ids[2], changes, "b", at(20))).await;
    for (words, expected) in [
        (&["ann"][..], &["Anna", "Hannah"][..]),
        (&["ANN", "anna"], &["Anna", "Hannah"]),
        (&["hann"], &["Hannah"]),
        (&["ill", "bo"], &["Bob"]),
        (&["ill", "ann"], &[]),
        (&["4912345"], &["Bob"]),
        (&["example.com"], &["Anna", "Bob", "Hannah"]),
        (&["bobby@"], &["Bob"]),
        (&["1@ex"], &["Hannah"]),
        (&["%"], &[]),
        (&["_"], &[]),
        (&["b"], &["Bob"]),
        (&["nobody"], &[]),
    ] {
        assert_eq!(found(store, words).await, expected, "{words:?}");
    }
}

async fn words_are_folded(store: &dyn Store) {
    accounts(store, &["Zoë", "Ünal", "ﬁn"]).await;
    for (word, expected) in [
        ("zoe", &["Zoë"][..]),
        ("ZOË", &["Zoë"]),
        ("unal", &["Ünal"]),
        ("fin", &["ﬁn"]),
        // Accents alone are no word.
        ("\u{301}", &["Zoë", "Ünal", "ﬁn"]),
    ] {
        let mut found = found(store, &[word]).await;
        found.sort();
        assert_eq!(found, expected, "{word:?}");
    }
}

async fn changed_text_is_found_at_once(store: &dyn Store) {
    let ids = accounts(store, &["Before"]).await;
    let renamed = update(ids[0], renamed("After"), "", at(20));
    updated(store.update_user(renamed).await.unwrap());
    assert_eq!(found(store, &["after"]).await, ["After"]);
    assert!(found(store, &["before"]).await.is_empty());
    store.delete_user(deletion(ids[0])).await.unwrap();
    assert!(found(store, &["after"]).await.is_empty());
}

async fn filters_are_combined(store: &dyn Store) {
    let ids = accounts(store, &["a", "b", "c"]).await;
    set_active(store, ids[1], false).await;
    staff(store, "root@example.com").await;
    let signed_up = sign_up("new@example.com", "d", "code", at(0));
    created(store.create_sign_up(signed_up).await.unwrap());
    for (is_active, is_verified, only_staff, words, expected) in [
        (None, None, false, "", &["a", "b", "c", "", "d"][..]),
        (Some(true), None, false, "", &["a", "c", "", "d"]),
        (Some(false), None, false, "", &["b"]),
        (None, Some(true), false, "", &["a", "b", "c", ""]),
        (None, Some(false), false, "", &["d"]),
        (Some(false), Some(false), false, "", &[]),
        (None, None, true, "", &[""]),
        (Some(false), None, true, "", &[]),
        (Some(true), Some(true), false, "@example", &["a", "c", ""]),
        (None, Some(false), false, "new", &["d"]),
    ] {
        let query = UserQuery {
            words: vec![words.to_owned()]
                .into_iter()
                .filter(|word| !word.is_empty())
                .collect(),
            is_active,
            is_verified,
            only_staff,
            ..everything()
        };
        assert_eq!(names(store, query.clone()).await, expected, "{query:?}");
    }
}

async fn external_id_finds_one_account(store: &dyn Store) {
    accounts(store, &["a"]).await;
    let mut imported = crate::imports::imported("old@example.com");
    imported.external_id = Some("old-7".into());
    imported.profile.first_name = "old".into();
    crate::imports::import(store, vec![imported]).await;
    let of = |external_id: &str| UserQuery {
        external_id: Some(external_id.into()),
        ..everything()
    };
    assert_eq!(names(store, of("old-7")).await, ["old"]);
    assert!(names(store, of("old")).await.is_empty());
    let another = UserQuery {
        is_active: Some(false),
        ..of("old-7")
    };
    assert!(names(store, another).await.is_empty());
}

async fn matching_accounts_are_listed_after_an_id(store: &dyn Store) {
    let ids = accounts(store, &["Anna", "Bob", "Hannah", "Joanna"]).await;
    let query = UserQuery {
        words: vec!["ann".into()],
        order: vec![(UserOrder::Id, true)],
        page: PageRequest::Number(7),
        ..everything()
    };
    let list = async |after, limit| {
        let users = store.list_matching_users(query.clone(), after, limit).await;
        users
            .unwrap()
            .iter()
            .map(|user| user.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(list(0, 10).await, [ids[0], ids[2], ids[3]]);
    assert_eq!(list(0, 2).await, [ids[0], ids[2]]);
    assert_eq!(list(ids[0], 10).await, [ids[2], ids[3]]);
    assert!(list(ids[3], 10).await.is_empty());
    let all = store
        .list_matching_users(everything(), 0, 10)
        .await
        .unwrap();
    assert_eq!(all.len(), 4);
}

async fn accounts_are_listed_for_export(store: &dyn Store) {
    let ids = accounts(store, &["a", "b"]).await;
    let signed_up = sign_up("new@example.com", "pending", "code", at(0));
    let pending = created(store.create_sign_up(signed_up).await.unwrap());
    let list = async |after, limit| {
        let users = store.list_users_after(after, limit).await.unwrap();
        let users = users.into_iter();
        users
            .map(|stored| (stored.user.id, stored.password_hash, stored.language))
            .collect::<Vec<_>>()
    };
    let row = |id, hash: &str, language: &str| (id, hash.to_owned(), language.to_owned());
    let all = [
        row(ids[0], "hash", ""),
        row(ids[1], "hash", ""),
        row(pending, "pending", "de"),
    ];
    assert_eq!(list(0, 10).await, all);
    assert_eq!(list(0, 1).await, all[..1]);
    assert_eq!(list(ids[0], 10).await, all[1..]);
    assert!(list(pending, 10).await.is_empty());
}
