//! The staff user list is the same on every engine: order, counts, pages and matches, drawn at random.

use accounts_server::store::{ImportRefusal, ImportSource, ImportedUser, UserOrder, UserQuery};

use super::same::Numbers;
use crate::support::*;

/// Accounts at the beginning; their ids are in several blocks of those that are counted together.
const ACCOUNTS: u64 = 2_500;

/// The highest id.
const IDS: u64 = 9_000;

const NAMES: &[&str] = &[
    "",
    "",
    "Ann",
    "ann",
    "Anna",
    "Élodie",
    "élodie",
    "100%",
    "a_b",
    "back\\slash",
    "O'Brien",
    "12",
    "李",
    "李王伟",
    "王 小明",
    "Zoë Ann",
    "Иван",
    "Mu\u{308}nchen",
    "München",
    "김",
    "이",
    "עדי",
];

const WORDS: &[&str] = &[
    "a",
    "ANN",
    "nn",
    "12",
    "1",
    "example",
    "U12",
    "é",
    "É",
    "e",
    "ELO",
    "E\u{301}lo",
    "\u{301}",
    "иван",
    "ИВ",
    "munch",
    "Zoe",
    "%",
    "_b",
    "\\",
    "+491",
    "o'b",
    "u1",
    "new",
    "李",
    "王伟",
    "李伟",
    "伟李",
    "小",
    "明a",
    "김",
    "이",
    "די",
    "х李",
    "x.org",
    "zzz",
];

const COLUMNS: &[UserOrder] = &[
    UserOrder::Id,
    UserOrder::Email,
    UserOrder::FirstName,
    UserOrder::LastName,
    UserOrder::CreatedAt,
    UserOrder::UpdatedAt,
    UserOrder::LastLogin,
];

fn pick<T: Copy>(numbers: &mut Numbers, from: &[T]) -> T {
    from[usize::try_from(numbers.below(from.len() as u64)).unwrap()]
}

/// True once in this many times.
fn one_in(numbers: &mut Numbers, many: u64) -> bool {
    numbers.below(many) == 0
}

/// A time; many are the same.
fn time(numbers: &mut Numbers) -> Timestamp {
    at(i64::try_from(numbers.below(500)).unwrap())
}

fn account(id: u64, numbers: &mut Numbers) -> ImportedUser {
    ImportedUser {
        id: Some(id.try_into().unwrap()),
        email: address(&format!(
            "{}{id}@{}",
            pick(numbers, &["u", "U", "ann"]),
            pick(numbers, &["example.com", "x.org", "李王.org"])
        )),
        password_hash: "hash".into(),
        profile: Profile {
            first_name: pick(numbers, NAMES).into(),
            last_name: pick(numbers, NAMES).into(),
            phone: pick(numbers, &["", "+4912", "+4913"]).into(),
            ..Profile::default()
        },
        is_active: !one_in(numbers, 40),
        is_staff: one_in(numbers, 50),
        verified_at: (!one_in(numbers, 12)).then(|| time(numbers)),
        last_login_at: (!one_in(numbers, 3)).then(|| time(numbers)),
        created_at: time(numbers),
        updated_at: time(numbers),
        language: "de".into(),
        external_id: one_in(numbers, 4).then(|| format!("ext-{id}")),
        totp: None,
        passkeys: None,
        identities: Vec::new(),
    }
}

struct Accounts(std::vec::IntoIter<ImportedUser>);

impl ImportSource for Accounts {
    fn next_user(&mut self) -> Option<ImportedUser> {
        self.0.next()
    }

    fn imported(&mut self, outcome: Result<UserId, ImportRefusal>) {
        outcome.unwrap();
    }

    fn notifies_webhooks(&self) -> bool {
        false
    }

    fn keep(&mut self) -> bool {
        true
    }
}

fn query(numbers: &mut Numbers) -> UserQuery {
    let flag = |numbers: &mut Numbers| pick(numbers, &[None, None, Some(true), Some(false)]);
    let words = 0..numbers.below(3) * numbers.below(2);
    let columns = 0..numbers.below(4);
    UserQuery {
        words: words.map(|_| pick(numbers, WORDS).to_owned()).collect(),
        external_id: one_in(numbers, 30).then(|| format!("ext-{}", numbers.below(IDS))),
        is_active: flag(numbers),
        is_verified: flag(numbers),
        only_staff: one_in(numbers, 8),
        order: columns
            .map(|_| (pick(numbers, COLUMNS), one_in(numbers, 2)))
            .collect(),
        page: match numbers.below(4) {
            0 => PageRequest::Last,
            1 => PageRequest::Number(1),
            2 => PageRequest::Number(numbers.below(8)),
            _ => PageRequest::Number(numbers.below(120)),
        },
        page_size: u32::try_from(1 + numbers.below(40)).unwrap(),
    }
}

/// Compares the answers of two stores.
async fn compare(stores: [&dyn Store; 2], numbers: &mut Numbers, times: usize) {
    for _ in 0..times {
        let query = query(numbers);
        let after = UserId::try_from(numbers.below(IDS)).unwrap();
        let (mut pages, mut walks) = (Vec::new(), Vec::new());
        for store in stores {
            let page = store.list_users(query.clone()).await.unwrap();
            pages.push(page);
            let walk = store.list_matching_users(query.clone(), after, 30).await;
            walks.push(walk.unwrap());
        }
        assert_eq!(pages[0], pages[1], "{query:?}");
        assert_eq!(walks[0], walks[1], "{query:?} after {after}");
    }
}

/// Changes accounts in the same way in both stores.
async fn change(stores: [&dyn Store; 2], numbers: &mut Numbers, times: usize) {
    for step in 0..times {
        let id = UserId::try_from(1 + numbers.below(IDS)).unwrap();
        let changes = match numbers.below(4) {
            0 => UserChanges {
                last_name: Some(pick(numbers, NAMES).into()),
                phone: Some(pick(numbers, &["", "+4914"]).into()),
                ..UserChanges::default()
            },
            1 => UserChanges {
                is_active: Some(one_in(numbers, 2)),
                ..UserChanges::default()
            },
            2 => moved(&format!("New{id}@{}.org", pick(numbers, &["x", "李王"]))),
            _ => renamed(pick(numbers, NAMES)),
        };
        let now = at(1_000 + i64::try_from(step / 5).unwrap());
        let code = format!("code {step}");
        let mut outcomes = Vec::new();
        for store in stores {
            let update = update(id, changes.clone(), &code, now);
            let outcome = store.update_user(update).await.unwrap();
            outcomes.push(matches!(outcome, UpdateOutcome::Updated { .. }));
        }
        assert_eq!(outcomes[0], outcomes[1], "{id}");
    }
}

async fn delete(stores: [&dyn Store; 2], ids: impl Iterator<Item = u64>) {
    for id in ids {
        for store in stores {
            let request = DeleteUser {
                context: RequestContext::default(),
                user_id: id.try_into().unwrap(),
                address_hash: id.to_be_bytes().to_vec(),
                needs_staff: false,
                keep_last_staff: false,
                notices: Vec::new(),
                now: at(2_000),
            };
            store.delete_user(request).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_the_same_on_both_engines() {
    let Some((_schema, postgres)) = on_postgres().await else {
        return;
    };
    let (_dir, file) = on_a_file();
    let stores = [&*file, &*postgres];
    let mut numbers = Numbers(42);
    compare(stores, &mut numbers, 30).await;
    // In no order of the ids: imported accounts may bring their own.
    let mut ids: Vec<u64> = (0..ACCOUNTS).map(|_| 1 + numbers.below(IDS)).collect();
    let mut seen = std::collections::BTreeSet::new();
    ids.retain(|id| seen.insert(*id));
    let accounts: Vec<_> = ids.iter().map(|id| account(*id, &mut numbers)).collect();
    for store in stores {
        let source = Accounts(accounts.clone().into_iter());
        let context = RequestContext::default();
        store
            .import_users(Box::new(source), Box::new(|_, _| None), 1, context, at(0))
            .await
            .unwrap();
    }
    compare(stores, &mut numbers, 400).await;
    change(stores, &mut numbers, 600).await;
    // A block without accounts, and one that ends in the middle.
    let gone: Vec<u64> = ids
        .iter()
        .copied()
        .filter(|id| (3_000..5_500).contains(id))
        .collect();
    delete(stores, gone.into_iter()).await;
    compare(stores, &mut numbers, 400).await;
    delete(stores, ids.into_iter()).await;
    compare(stores, &mut numbers, 30).await;
}
