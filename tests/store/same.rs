//! The same operations, drawn at random, have the same outcomes on every engine.

use std::collections::BTreeMap;

use accounts_server::store::UserQuery;

use crate::support::*;

/// Operations that are compared.
const OPERATIONS: usize = 10_000;

/// Addresses that they are about.
const ADDRESSES: u64 = 12;

/// Numbers that are the same in every run (a linear congruential generator).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A store with the ids that it has given: another one may leave out numbers.
struct Tried {
    store: SharedStore,
    ids: BTreeMap<String, UserId>,
}

impl Tried {
    fn new(store: SharedStore) -> Self {
        Self {
            store,
            ids: BTreeMap::new(),
        }
    }

    fn id(&self, email: &str) -> UserId {
        self.ids.get(email).copied().unwrap_or(1_000_000)
    }

    /// Does one operation. Returns its outcome, without the ids of this store.
    #[expect(clippy::too_many_lines, reason = "it is one table of operations")]
    async fn run(&mut self, operation: u64, numbers: [u64; 4], now: Timestamp) -> String {
        let store = &*self.store;
        let email = format!("user{}@example.com", numbers[0] % ADDRESSES);
        let other = format!("user{}@example.com", numbers[1] % ADDRESSES);
        let code = format!("code{}", numbers[2] % 3);
        let name = format!("session {}", numbers[3] % 40);
        let id = self.id(&email);
        let context = RequestContext::default;
        match operation {
            0 | 1 => match store
                .create_sign_up(sign_up(&email, "hash", &code, now))
                .await
            {
                Ok(SignUpOutcome::Created(id)) => {
                    self.ids.insert(email, id);
                    "created".to_owned()
                }
                other => format!("{other:?}"),
            },
            2 | 3 => {
                let session = session(&format!("{name} {}", now.unix_millis()), now);
                let confirmation = confirmation(attempt(&email, &code, now), session);
                let confirmed = store.confirm_sign_up(confirmation).await;
                format!("{:?}", confirmed.map(|done| done.is_some()))
            }
            4 | 5 => {
                let hash = if numbers[2].is_multiple_of(4) {
                    "wrong"
                } else {
                    "hash"
                };
                let mut request = sign_in(id, hash, &name, now);
                request.tried.account = email.clone().into_bytes();
                request.session.refresh_id = format!("{name} 0");
                match store.create_session(request).await {
                    Ok(SignInOutcome::Started { user, .. }) => format!("signed in {}", user.email),
                    other => format!("{other:?}"),
                }
            }
            6 => {
                let user_id = self.ids.get(&email).copied();
                let tried = try_from(&format!("network {}", numbers[1] % 3), &email, user_id, now);
                format!("{:?}", store.count_failed_password(tried).await)
            }
            7 | 8 => {
                let (from, to) = (numbers[1] % 4, numbers[2] % 4);
                let rotation = rotation(
                    &name,
                    &format!("{name} {from}"),
                    &format!("{name} {to}"),
                    now,
                );
                match store.rotate_refresh_token(rotation).await {
                    Ok(Rotation::Rotated {
                        user, refresh_id, ..
                    }) => format!("rotated {} to {refresh_id}", user.email),
                    other => format!("{other:?}"),
                }
            }
            9 | 10 => {
                let changes = match numbers[2] % 3 {
                    0 => moved(&other),
                    _ => renamed(&format!("Name {}", numbers[3] % 9)),
                };
                match store.update_user(update(id, changes, &code, now)).await {
                    Ok(UpdateOutcome::Updated { user, mail, .. }) => {
                        let shown = user.shown_email();
                        format!("{shown} {} {mail:?}", user.profile.first_name)
                    }
                    other => format!("{other:?}"),
                }
            }
            11 => {
                let request = AccountOtp {
                    user_id: id,
                    attempt: attempt(&other, &code, now),
                    notices: Vec::new(),
                };
                let confirmed = store.confirm_email_change(request).await;
                format!("{:?}", confirmed.map(|user| user.map(|user| user.email)))
            }
            12 => format!("{:?}", store.delete_session(&name, context(), now).await),
            13 => {
                let ended = store.delete_other_sessions(id, &name, context(), now).await;
                format!("{ended:?}")
            }
            14 => {
                let sessions = store.list_sessions(id, now).await.unwrap();
                let names: Vec<_> = sessions.into_iter().map(|session| session.id).collect();
                format!("{names:?}")
            }
            15 => {
                let claimed = claim(store, now, 3, 1).await;
                for mail in &claimed.mails {
                    store.delete_mail(mail.id).await.unwrap();
                }
                format!("{:?}", contents(&claimed))
            }
            16 if numbers[2].is_multiple_of(4) => {
                let request = DeleteUser {
                    context: context(),
                    user_id: id,
                    address_hash: email.clone().into_bytes(),
                    needs_staff: false,
                    keep_last_staff: false,
                    notices: Vec::new(),
                    now,
                };
                self.ids.remove(&email);
                format!("{:?}", store.delete_user(request).await)
            }
            17 => {
                let listed = store.list_user_events(id, PageRequest::Number(1), 20).await;
                let kinds = listed.map(|page| {
                    page.map(|page| {
                        let events = page.items.into_iter();
                        events
                            .map(|event| (event.kind, event.detail, event.count))
                            .collect::<Vec<_>>()
                    })
                });
                format!("{kinds:?}")
            }
            _ => {
                let query = UserQuery {
                    words: match numbers[1] % 3 {
                        0 => vec![format!("name {}", numbers[3] % 9)],
                        1 => vec![format!("ser{}", numbers[3] % 9)],
                        _ => Vec::new(),
                    },
                    is_verified: [None, Some(true), Some(false)][(numbers[2] % 3) as usize],
                    order: vec![(
                        accounts_server::store::UserOrder::Email,
                        numbers[0].is_multiple_of(2),
                    )],
                    external_id: None,
                    is_active: None,
                    only_staff: false,
                    page: PageRequest::Number(1 + numbers[3] % 2),
                    page_size: 5,
                };
                let listed = store.list_users(query).await.unwrap();
                let emails = listed.map(|page| {
                    let users = page.items.iter();
                    let emails: Vec<_> = users.map(|user| user.shown_email().to_owned()).collect();
                    (page.count, emails)
                });
                format!("{emails:?}")
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_operations_have_the_same_outcomes() {
    let (_dir, file) = on_a_file();
    let mut stores = vec![Tried::new(file), Tried::new(in_memory())];
    let postgres = on_postgres().await;
    if let Some((_, store)) = &postgres {
        stores.push(Tried::new(Arc::clone(store)));
    }
    let mut numbers = Numbers(14);
    let mut seconds = 0;
    for step in 0..OPERATIONS {
        let operation = numbers.below(19);
        let drawn = [0; 4].map(|_| numbers.below(1_000_000));
        seconds += i64::try_from(numbers.below(90)).unwrap();
        let mut outcomes = Vec::new();
        for tried in &mut stores {
            outcomes.push(tried.run(operation, drawn, at(seconds)).await);
        }
        let first = &outcomes[0];
        for outcome in &outcomes {
            assert_eq!(outcome, first, "step {step}, operation {operation}");
        }
    }
}
