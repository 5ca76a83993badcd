//! A server for tests of other Rust programs (cargo feature `testing`).
//!
//! It starts in milliseconds, on a free port and a temporary database, with cheap password hashes,
//! an inbox and a settable clock.
//!
//! ```
//! # use std::time::Duration;
//! # use accounts_server::testing::TestServer;
//! let server = TestServer::start();
//! let alice = server.user("alice@example.com");
//! let staff = server.staff("root@example.com");
//! // Your program: point it at `server.url()`, and give it `alice.access`.
//! # assert!(server.url().starts_with("http://127.0.0.1:"));
//! # assert_ne!((alice.id, &alice.access), (staff.id, &staff.access));
//! server.advance(Duration::from_secs(600));
//! assert!(server.mails("alice@example.com").is_empty());
//! ```
//!
//! Methods panic on failure, as a test should. They work in synchronous tests and inside any async
//! runtime.

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::accounts::{self, Client, SessionKind};
use crate::app::SharedApp;
use crate::config::Config;
use crate::dev;
use crate::domain::{Fields, Input, UserId};
use crate::mail::InboxEntry;
use crate::server::Server;

/// Password of the accounts that [`TestServer`] creates.
pub const PASSWORD: &str = "securepassword123";

/// A running server, stopped and removed on drop.
pub struct TestServer {
    // Both are `Some` until drop.
    server: Option<Server>,
    runtime: Option<Runtime>,
}

/// A signed-in user.
#[derive(Clone, Debug)]
pub struct TestUser {
    /// The id of the account.
    pub id: UserId,
    /// The mail address.
    pub email: String,
    /// An access token, for `Authorization: Bearer`.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

impl TestServer {
    /// Starts a server with the settings of `--dev --ephemeral`.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts a server with settings changed by `change`.
    pub fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::defaults(true);
        config.server.listen = "127.0.0.1:0".parse().expect("this is an address");
        config.development.ephemeral = true;
        config.mail.transport = Some(crate::config::MailTransportKind::File);
        // The inbox keeps mails, so no files are needed.
        config.mail.dir = std::env::temp_dir()
            .join("accounts-server-mails")
            .display()
            .to_string();
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("the system can start a thread");
        let mut this = Self {
            server: None,
            runtime: Some(runtime),
        };
        let server = this.run(Server::start(config));
        this.server = Some(server.unwrap_or_else(|e| panic!("the server did not start: {e}")));
        this
    }

    /// The base URL, such as `http://127.0.0.1:40000`.
    pub fn url(&self) -> String {
        self.app().public_url.to_string()
    }

    /// Creates a verified account with [`PASSWORD`] and signs in.
    pub fn user(&self, email: &str) -> TestUser {
        self.create(email, false)
    }

    /// Creates a staff account with [`PASSWORD`] and signs in.
    pub fn staff(&self, email: &str) -> TestUser {
        self.create(email, true)
    }

    /// The mails to an address, newest first.
    pub fn mails(&self, to: &str) -> Vec<InboxEntry> {
        let app = self.app();
        let inbox = app.inbox.as_ref();
        inbox.map(|inbox| inbox.list(Some(to))).unwrap_or_default()
    }

    /// The one-time password in the newest mail to an address.
    pub fn otp(&self, to: &str) -> String {
        let newest = self.mails(to).into_iter().find_map(|mail| mail.otp);
        newest.unwrap_or_else(|| panic!("no mail with a one-time password to {to}"))
    }

    /// Advances the server's clock, so that codes, tokens and limits expire without waiting.
    pub fn advance(&self, by: Duration) {
        let app = self.app();
        let moved = self.run(async move { dev::advance_clock(&app, by).await });
        assert!(moved.is_some(), "this clock cannot be moved");
    }

    /// Restores the initial state: no accounts, or those of `[dev] seed`.
    pub fn reset(&self) {
        let app = self.app();
        let outcome = self.run(async move { dev::reset(&app).await });
        assert!(outcome.expect("the database works"), "nothing was kept");
    }

    fn create(&self, email: &str, is_staff: bool) -> TestUser {
        let app = self.app();
        let mut fields = Fields::json();
        fields.insert("email".into(), Input::Text(email.into()));
        fields.insert("password".into(), Input::Text(PASSWORD.into()));
        let client = Client {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            user_agent: String::new(),
            accept_language: String::new(),
            session_kind: SessionKind::Tokens,
        };
        let made = self.run(async move {
            let id = accounts::create_user(&app, &fields, is_staff).await?;
            let pair = accounts::sign_in(&app, &fields, &client)
                .await?
                .into_tokens()?;
            Ok::<_, accounts::AccountError>((id, pair))
        });
        let (id, pair) = made.unwrap_or_else(|e| panic!("{email} was not made: {e}"));
        TestUser {
            id,
            email: email.to_owned(),
            access: pair.access,
            refresh: pair.refresh,
        }
    }

    fn app(&self) -> SharedApp {
        let server = self.server.as_ref();
        server.expect("the server runs until drop").app()
    }

    /// Blocks on a future on another thread, because the caller's may belong to a runtime.
    fn run<T: Send>(&self, future: impl Future<Output = T> + Send) -> T {
        let runtime = self.runtime.as_ref().expect("it is there until drop");
        thread::scope(|scope| {
            let done = scope.spawn(|| runtime.block_on(future)).join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.run(server.shutdown());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
