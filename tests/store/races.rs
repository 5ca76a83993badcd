//! Races of many requests through two servers: one wins, whatever the engine.

use tempfile::TempDir;

use crate::support::*;
use crate::test_schema::TestSchema;

/// Rounds of each race.
const ROUNDS: i64 = 200;

/// Requests in a round.
const REQUESTS: usize = 16;

/// Two stores over one database, on every engine there is.
async fn pairs() -> Vec<(Keep, SharedStore, SharedStore)> {
    let (dir, first) = on_a_file();
    let second = open(&dir, Duration::from_secs(5));
    let mut pairs = vec![(Keep::Folder(dir), first, second)];
    if let Some((schema, first)) = on_postgres().await {
        let second = open_postgres(&schema).await.into();
        pairs.push((Keep::Schema(schema), first, second));
    }
    pairs
}

/// What the stores need as long as they are used.
enum Keep {
    #[expect(dead_code, reason = "it deletes the files when it is dropped")]
    Folder(TempDir),
    #[expect(dead_code, reason = "it deletes the schema when it is dropped")]
    Schema(TestSchema),
}

/// Runs the requests of a round at once, on both stores in turn.
async fn race<T: Send + 'static>(
    stores: &[SharedStore; 2],
    request: impl AsyncFn(SharedStore, usize) -> T,
) -> Vec<T> {
    let all = (0..REQUESTS).map(|number| request(Arc::clone(&stores[number % 2]), number));
    join_all(all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_confirms_once() {
    for (_keep, first, second) in pairs().await {
        let stores = [first, second];
        for round in 0..ROUNDS {
            let email = format!("race{round}@example.com");
            let signed_up = stores[0].create_sign_up(sign_up(&email, "hash", "code", at(round)));
            created(signed_up.await.unwrap());
            let confirmed = race(&stores, async |store, number| {
                let session = session(&format!("{email} {number}"), at(round));
                let confirmation = confirmation(attempt(&email, "code", at(round)), session);
                store.confirm_sign_up(confirmation).await.unwrap().is_some()
            })
            .await;
            let winners = confirmed.iter().filter(|won| **won).count();
            assert_eq!(winners, 1, "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_is_exchanged_once_without_a_grace() {
    for (_keep, first, second) in pairs().await {
        let stores = [first, second];
        for round in 0..ROUNDS {
            let email = format!("race{round}@example.com");
            verified(&*stores[0], &email, at(round)).await;
            let rotated = race(&stores, async |store, number| {
                let rotation = RotateRefreshToken {
                    grace: Duration::ZERO,
                    ..rotation(
                        &email,
                        &format!("{email}-r"),
                        &format!("{email} {number}"),
                        at(round),
                    )
                };
                store.rotate_refresh_token(rotation).await.unwrap()
            })
            .await;
            let won = |outcome: &&Rotation| matches!(outcome, Rotation::Rotated { .. });
            assert!(rotated.iter().filter(won).count() <= 1, "round {round}");
            let reused = rotated
                .iter()
                .filter(|outcome| **outcome == Rotation::Reused);
            assert_eq!(reused.count(), 1, "round {round}: {rotated:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authorization_code_is_redeemed_once() {
    for (_keep, first, second) in pairs().await {
        let stores = [first, second];
        let id = with_clients(&*stores[0]).await;
        for round in 0..ROUNDS {
            let text = format!("code {round}");
            issue(&*stores[0], code(id, &text, "openid")).await;
            let redeemed = race(&stores, async |store, _| {
                store.redeem_code(redemption(&text)).await.unwrap()
            })
            .await;
            let won = |outcome: &&RedeemOutcome| matches!(outcome, RedeemOutcome::Started { .. });
            assert_eq!(redeemed.iter().filter(won).count(), 1, "round {round}");
            let reused = redeemed
                .iter()
                .filter(|outcome| **outcome == RedeemOutcome::Reused);
            assert_eq!(reused.count(), REQUESTS - 1, "round {round}: {redeemed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_one_account() {
    for (_keep, first, second) in pairs().await {
        let stores = [first, second];
        for round in 0..ROUNDS {
            let email = format!("race{round}@example.com");
            let ids = race(&stores, async |store, number| {
                let code = format!("code {number}");
                let signed_up = store.create_sign_up(sign_up(&email, "hash", &code, at(round)));
                created(signed_up.await.unwrap())
            })
            .await;
            assert!(ids.iter().all(|id| *id == ids[0]), "round {round}: {ids:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_passwords_are_all_counted() {
    for (_keep, first, second) in pairs().await {
        let stores = [first, second];
        for round in 0..ROUNDS / 10 {
            let account = format!("race{round}@example.com");
            // Five are free, and the pause after them begins at once.
            let paused = race(&stores, async |store, _| {
                let tried = try_from("203.0.113.7", &account, None, at(round));
                store.count_failed_password(tried).await.unwrap().is_some()
            })
            .await;
            let free = paused.iter().filter(|paused| !**paused).count();
            assert_eq!(free, 5, "round {round}");
        }
    }
}
