//! Benchmarks of single components: `cargo bench`.
//!
//! `cargo bench --bench load` measures the whole server.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a failed benchmark panics; criterion's macros generate undocumented functions"
)]

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use accounts_server::app::App;
use accounts_server::bootstrap::open_app;
use accounts_server::clock::{Clock, SystemClock};
use accounts_server::config::Config;
use accounts_server::crypto::tokens::TokenSubject;
use accounts_server::domain::{
    AuthMethod, Authentication, EmailAddress, Fields, Input, Profile, SessionLifetimes, SessionRef,
    User, UserChanges, UserId,
};
use accounts_server::http::routes;
use accounts_server::passwords::{PasswordOptions, Passwords};
use accounts_server::store::{
    NewSession, NewTicket, NewUser, PasswordTry, RequestContext, SignIn, SignInOutcome, TrySource,
    UserUpdate,
};
use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http_body::Body;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower_service::Service;
use warp::reply::Response;

const PASSWORD: &str = "correct horse battery";
const STAFF: &str = "staff@example.com";
const SIGN_IN: &str = "/account/sign-in/";

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
                    method: AuthMethod::Password,
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

/// The routes, without the network.
trait Routes: Service<Request<String>, Response = Response, Error = Infallible> {}

impl<S: Service<Request<String>, Response = Response, Error = Infallible>> Routes for S {}

/// Signs in as a browser does. Returns the cookie of the session.
async fn sign_in(service: &mut impl Routes) -> String {
    let page = Request::get(SIGN_IN).body(String::new()).unwrap();
    let (cookie, page) = answer(service, page).await;
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap();
    let token = rest.split('"').next().unwrap();
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("form_token", token),
            ("email", STAFF),
            ("password", PASSWORD),
        ])
        .finish();
    let submit = Request::post(SIGN_IN)
        .header(COOKIE, cookie)
        .header("sec-fetch-site", "same-origin")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form)
        .unwrap();
    answer(service, submit).await.0
}

/// The cookies that an answer sets, and its body.
async fn answer(service: &mut impl Routes, request: Request<String>) -> (String, String) {
    let answer = service.call(request).await.unwrap();
    let cookies: Vec<_> = answer
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
        .filter(|cookie| !cookie.ends_with('='))
        .map(str::to_owned)
        .collect();
    let mut body = pin!(answer.into_body());
    let mut text = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        text.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    (cookies.join("; "), String::from_utf8(text).unwrap())
}

/// Whole requests for pages, without the network: sessions, statements, template.
fn pages(criterion: &mut Criterion) {
    let one = One::new();
    let mut fields = Fields::json();
    fields.insert("email".into(), Input::Text(STAFF.into()));
    fields.insert("password".into(), Input::Text(PASSWORD.into()));
    let created = accounts_server::accounts::create_user(&one.app, &fields, true);
    one.runtime.block_on(created).unwrap();
    let mut service = warp::service(routes(Arc::clone(&one.app)));
    let cookie = one.runtime.block_on(sign_in(&mut service));
    for (name, path, cookie) in [
        ("sign-in", SIGN_IN, ""),
        ("profile", "/account/profile/", &*cookie),
        ("console", "/console/", &*cookie),
        ("users", "/console/users/", &*cookie),
        ("a user", "/console/users/1/", &*cookie),
        ("settings", "/console/settings/", &*cookie),
    ] {
        criterion.bench_function(&format!("page: {name}"), |bencher| {
            bencher.iter(|| {
                let request = Request::get(path)
                    .header(COOKIE, cookie)
                    .body(String::new())
                    .unwrap();
                let answer = one.runtime.block_on(service.call(request)).unwrap();
                assert_eq!(answer.status(), 200, "{path}");
            });
        });
    }
}

criterion_group!(benches, parts, pages);
criterion_main!(benches);
