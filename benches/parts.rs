//! Benchmarks of single components: `cargo bench`.
//!
//! `cargo bench --bench load` measures the whole server.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a failed benchmark panics; criterion's macros generate undocumented functions"
)]

use std::sync::Arc;

use accounts_server::app::App;
use accounts_server::bootstrap::open_app;
use accounts_server::clock::{Clock, SystemClock};
use accounts_server::config::Config;
use accounts_server::crypto::tokens::TokenSubject;
use accounts_server::domain::{
    AuthMethod, Authentication, EmailAddress, Profile, SessionLifetimes, SessionRef, User,
    UserChanges, UserId,
};
use accounts_server::http::routes;
use accounts_server::passwords::{PasswordOptions, Passwords};
use accounts_server::store::{
    NewSession, NewTicket, NewUser, PasswordTry, RequestContext, SignIn, SignInOutcome, TrySource,
    UserUpdate,
};
use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http::header::AUTHORIZATION;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower_service::Service;

const PASSWORD: &str = "correct horse battery";

/// A database with one signed-in account.
struct One {
    runtime: Runtime,
    app: Arc<App>,
    user: User,
    session_id: String,
    authentication: Authentication,
    token: String,
    _dir: TempDir,
}

impl One {
    fn subject(&self) -> TokenSubject<'_> {
        TokenSubject {
            user: &self.user,
            session_id: &self.session_id,
            authentication: &self.authentication,
            session_end: None,
        }
    }

    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::defaults(true);
        config.database.path = dir.path().join("users.db").display().to_string();
        let runtime = Runtime::new().unwrap();
        let app = runtime
            .block_on(open_app(config, Arc::new(SystemClock), 8000))
            .unwrap();
        let now = SystemClock.now();
        let authentication = Authentication::by(AuthMethod::Password, now);
        let session_id = "0123456789abcdef0123456789abcdef".to_owned();
        let user = runtime.block_on(async {
            let hash = app.passwords.hash(PASSWORD.into(), [7; 16]).await.unwrap();
            let id = app.store.create_verified_user(new_user(&hash)).await;
            let session = NewSession {
                id: session_id.clone(),
                refresh_id: "r".into(),
                now,
                authentication: authentication.clone(),
                expires_at: now.plus(app.keys.refresh_life()),
                lifetimes: SessionLifetimes::default(),
                access_lifetime: Duration::from_mins(5),
                ip: "127.0.0.1".into(),
                network: "127.0.0.1".into(),
                user_agent: String::new(),
                secret_hash: None,
            };
            let sign_in = SignIn {
                user_id: id.unwrap().unwrap(),
                password_hash: hash,
                tried: PasswordTry {
                    account: Vec::new(),
                    user_id: None,
                    source: TrySource::Network("127.0.0.1".into()),
                    now,
                    limits: None,
                    context: RequestContext::default(),
                },
                session,
                notice: None,
                factor: None,
                ticket: NewTicket {
                    token_hash: Vec::new(),
                    expires_at: now,
                },
            };
            match app.store.create_session(sign_in).await.unwrap() {
                SignInOutcome::Started { user, .. } => *user,
                other => panic!("{other:?}"),
            }
        });
        let pair = app
            .keys
            .tokens()
            .issue(
                TokenSubject {
                    user: &user,
                    session_id: &session_id,
                    authentication: &authentication,
                    session_end: None,
                },
                "a",
                "r",
                now,
            )
            .unwrap();
        Self {
            runtime,
            app: Arc::new(app),
            user,
            session_id,
            authentication,
            token: pair.access,
            _dir: dir,
        }
    }
}

fn new_user(password_hash: &str) -> NewUser {
    NewUser {
        email: EmailAddress::parse("ann@example.com").unwrap(),
        password_hash: password_hash.to_owned(),
        profile: Profile {
            first_name: "Ann".into(),
            last_name: "Smith".into(),
            ..Profile::default()
        },
        is_staff: false,
        now: SystemClock.now(),
        context: RequestContext::default(),
    }
}

fn rename(app: &App, user_id: UserId, number: u64) -> UserUpdate {
    UserUpdate {
        user_id,
        changes: UserChanges {
            first_name: Some(format!("Ann {number}")),
            ..UserChanges::default()
        },
        email_change: None,
        promotion_notice: None,
        keep_last_staff: true,
        now: app.clock.now(),
        context: RequestContext::default(),
    }
}

fn parts(criterion: &mut Criterion) {
    let one = One::new();
    let (app, runtime) = (&one.app, &one.runtime);
    let now = SystemClock.now();

    criterion.bench_function("token: check of one that was verified before", |bencher| {
        bencher.iter(|| app.keys.tokens().verify(&one.token, now).unwrap());
    });
    criterion.bench_function("token: issue a pair", |bencher| {
        bencher.iter(|| app.keys.tokens().issue(one.subject(), "a", "r", now));
    });
    // The benchmark runs several times, and no run may reuse the tokens of another.
    let mut number = 0;
    criterion.bench_function("token: check of one that was never seen", |bencher| {
        bencher.iter_batched(
            || {
                number += 1;
                let id = format!("{number}");
                let pair = app.keys.tokens().issue(one.subject(), &id, &id, now);
                pair.unwrap().access
            },
            |token| app.keys.tokens().verify(&token, now).unwrap(),
            criterion::BatchSize::SmallInput,
        );
    });
    let session = SessionRef::new(one.session_id.clone(), one.user.id);
    criterion.bench_function("store: the account behind a session", |bencher| {
        bencher.iter(|| {
            let found = app.store.find_session_user(&session);
            runtime.block_on(found).unwrap().unwrap()
        });
    });
    criterion.bench_function("store: an account by its number", |bencher| {
        bencher.iter(|| {
            runtime
                .block_on(app.store.find_user(one.user.id))
                .unwrap()
                .unwrap()
        });
    });
    criterion.bench_function("store: a lone commit", |bencher| {
        let mut number = 0;
        bencher.iter(|| {
            number += 1;
            let update = rename(app, one.user.id, number);
            runtime.block_on(app.store.update_user(update)).unwrap()
        });
    });
    criterion.bench_function("http: a profile, without the network", |bencher| {
        let mut service = warp::service(routes(Arc::clone(app)));
        let bearer = format!("Bearer {}", one.token);
        bencher.iter(|| {
            let request = Request::get("/api/v1/accounts/users/me/")
                .header(AUTHORIZATION, &bearer)
                .body(String::new())
                .unwrap();
            let answer = runtime.block_on(service.call(request)).unwrap();
            assert_eq!(answer.status(), 200);
        });
    });
    criterion.bench_function(
        "passwords: a hash of the least cost by way of the pool",
        |bencher| {
            let options = PasswordOptions {
                breached: None,
                cost: 4,
                threads: 1,
                queue: 0,
                min_length: 8,
            };
            let passwords = Passwords::start(options);
            bencher.iter(|| {
                runtime
                    .block_on(passwords.hash(PASSWORD.into(), [7; 16]))
                    .unwrap()
            });
        },
    );
}

criterion_group!(benches, parts);
criterion_main!(benches);
