//! A real server on a free port, with a temporary database, a settable clock and a client that
//! keeps raw responses.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use accounts_server::StartError;
use accounts_server::accounts;
use accounts_server::app::SharedApp;
use accounts_server::clock::{Clock, ManualClock};
use accounts_server::config::{
    Config, IpNetwork, ListenAddr, MailTransportKind, PublicUrl, Secret,
};
use accounts_server::domain::{Fields, SigningAlgorithm, Timestamp};
use accounts_server::mail::InboxEntry;
use accounts_server::server::{Reloaded, Server};
use accounts_server::store::sqlite::add_functions;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::contract::{BAD_TOKEN, DEAD_TOKEN};
use crate::openapi::Schema;
use crate::test_schema::TestSchema;

/// The default password of test users.
pub const PASSWORD: &str = "securepassword123";

/// The initial time of the test clock: 2024-12-03T12:00:00Z.
pub const START: i64 = 1_733_227_200_000;

/// A running server; on drop it stops and its files are deleted.
pub struct TestServer {
    pub clock: Arc<ManualClock>,
    server: Option<Server>,
    runtime: Runtime,
    config: Config,
    agent: ureq::Agent,
    dir: TempDir,
    // Dropped after the server.
    _schema: Option<TestSchema>,
}

/// A raw response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|e| panic!("{e} in answer {} {:?}", self.status, self.body))
    }

    /// The text value of a key in the body.
    pub fn text(&self, key: &str) -> String {
        self.json()[key]
            .as_str()
            .unwrap_or_else(|| panic!("no text {key} in {}", self.body))
            .to_owned()
    }

    /// The text value of a key of `data` in the body.
    pub fn text_of_data(&self, key: &str) -> String {
        self.json()["data"][key]
            .as_str()
            .unwrap_or_else(|| panic!("no text data.{key} in {}", self.body))
            .to_owned()
    }

    /// All values of a header that a response may have several times.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.header(name).into_iter().flat_map(str::lines).collect()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Asserts status and the exact text of the body, key order included.
    #[track_caller]
    pub fn assert(&self, status: u16, body: &str) {
        assert_eq!((self.status, self.body.as_str()), (status, body));
    }

    /// Asserts that the request was throttled, with this wait in seconds.
    #[track_caller]
    pub fn assert_throttled(&self, seconds: u64) {
        let unit = if seconds == 1 { "second" } else { "seconds" };
        self.assert(
            429,
            &format!(
                r#"{{"detail":"Request was throttled. Expected available in {seconds} {unit}."}}"#
            ),
        );
        assert_eq!(self.header("retry-after"), Some(&*seconds.to_string()));
    }

    /// Asserts status and body, in any order of keys.
    #[track_caller]
    pub fn assert_json(&self, status: u16, body: &Value) {
        assert_eq!((self.status, &self.json()), (status, body));
    }
}

/// A binary response.
#[derive(Debug, Clone)]
pub struct Download {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub content: Vec<u8>,
}

impl Download {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl TestServer {
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts a server with settings changed by `change`.
    ///
    /// The defaults are those of `--dev`, without a pause between mails.
    pub fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::defaults(true);
        config.server.listen = ListenAddr::parse("127.0.0.1:0").unwrap();
        config.server.public_url = PublicUrl::parse("http://localhost:8000");
        let schema = TestSchema::reused();
        config.database.path = match &schema {
            Some(schema) => schema.url(),
            None => dir.path().join("users.db").display().to_string(),
        };
        config.database.connections = 2;
        config.mail.transport = Some(MailTransportKind::File);
        config.mail.dir = dir.path().join("mail").display().to_string();
        change(&mut config);
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_millis(START)));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut server = Self {
            clock,
            server: None,
            runtime,
            config,
            agent: agent(),
            dir,
            _schema: schema,
        };
        server.boot();
        server
    }

    /// Starts a server with the default mail limits: one a minute and ten an hour per address.
    pub fn start_with_mail_limits() -> Self {
        Self::start_with(|config| {
            config.otp.resend_seconds = 60;
            config.otp.mails_per_hour = 10;
        })
    }

    /// Starts a server that trusts the client address of [`TestServer::post_from`].
    pub fn start_behind_proxy() -> Self {
        Self::start_with(|config| {
            config.server.trusted_proxies = vec![IpNetwork::parse("127.0.0.1").unwrap()];
        })
    }

    fn boot(&mut self) {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let started = self
            .runtime
            .block_on(Server::start_with_clock(self.config.clone(), clock));
        self.server = Some(started.unwrap());
    }

    /// Restarts the server on the same file.
    pub fn restart(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shutdown());
        }
        self.boot();
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Bytes of request bodies and unsent answers in the server's memory.
    pub fn buffered_bytes(&self) -> usize {
        self.server().app().buffers.total()
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server().address()
    }

    /// The address of `[metrics] listen`.
    pub fn metrics_address(&self) -> Option<std::net::SocketAddr> {
        self.server().metrics_address()
    }

    /// Reloads the settings, certificate and secret files.
    pub fn reload(&self, change: impl FnOnce(&mut Config)) -> Result<Reloaded, StartError> {
        let mut config = self.config.clone();
        change(&mut config);
        self.runtime.block_on(self.server().reload(config))
    }

    /// The URL at which clients reach the server directly.
    pub fn url(&self) -> String {
        self.server().url()
    }

    /// The base URL of the links in its responses.
    pub fn public_url(&self) -> String {
        self.server().app().public_url.to_string()
    }

    /// The temporary folder of the database.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Advances the clock and runs the tasks that are due.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.wake_mail();
    }

    /// Sets the clock back, as a correction of the system time does.
    pub fn turn_back(&self, by: Duration) {
        self.clock.turn_back(by);
    }

    /// Deletes the photo files that no account has, as the server does hourly; returns their
    /// number.
    pub fn remove_unused_photos(&self) -> usize {
        let app = self.server().app();
        self.runtime
            .block_on(accounts::remove_unused_photos(&app))
            .unwrap()
    }

    /// Deletes expired rows, as the server does hourly.
    pub fn clear_expired(&self) {
        let app = self.server().app();
        let cleared = accounts::clear_expired(&app);
        self.runtime.block_on(cleared).unwrap();
    }

    /// Makes the server check its queue of deliveries now instead of some seconds later.
    pub fn wake_mail(&self) {
        let app = self.server().app();
        app.webhooks.wake().notify_one();
        self.runtime.block_on(app.outbox.wake());
    }

    /// Runs an operation of the program inside the server.
    pub fn run<T>(&self, operation: impl AsyncFnOnce(SharedApp) -> T) -> T {
        self.runtime.block_on(operation(self.server().app()))
    }

    /// Starts a server that sends mail by SMTP.
    pub fn start_with_smtp(url: &str) -> Self {
        Self::start_with(|config| {
            config.mail.transport = Some(MailTransportKind::Smtp);
            config.mail.smtp_url = Secret::new(url.to_owned());
        })
    }

    /// The value of a metric in `/metrics`.
    #[track_caller]
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.request("GET", "/metrics", &[], "").body;
        text.lines()
            .find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {series} in {text}"))
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub fn wait_for_metric(&self, series: &str, value: u64) {
        for _ in 0..6_000 {
            if self.metric(series) == value {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{series} is {} and not {value}", self.metric(series));
    }

    /// The time of the clock, in Unix seconds.
    pub fn clock_seconds(&self) -> i64 {
        self.clock.now().unix_seconds()
    }

    pub fn advance_seconds(&self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// The mails to an address, newest first.
    pub fn mails(&self, to: &str) -> Vec<InboxEntry> {
        self.server().app().inbox.as_ref().unwrap().list(Some(to))
    }

    /// The code in the newest mail to an address that has one.
    #[track_caller]
    pub fn otp(&self, to: &str) -> String {
        let newest = self.mails(to).into_iter().find_map(|mail| mail.otp);
        newest.unwrap_or_else(|| panic!("no mail with a code to {to}"))
    }

    /// Sends a request to a full path, such as `/healthz`.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let mut response = self.send(method, path, headers, body);
        let answer = Answer {
            status: response.status().as_u16(),
            headers: headers_of(&response),
            body: response.body_mut().read_to_string().unwrap(),
        };
        if let Err(why) = self.schema().check(method, path, &answer) {
            panic!(
                "{method} {path} answers {}, which is not in the schema: {why}\n{}",
                answer.status, answer.body
            );
        }
        answer
    }

    /// The schema at `/api/schema/`, which is the same for every server.
    fn schema(&self) -> &'static Schema {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| {
            let mut response = self.send("GET", "/api/schema/", &[], "");
            assert_eq!(response.status(), 200);
            Schema::parse(&response.body_mut().read_to_string().unwrap())
        })
    }

    /// Sends a request to a full path; the response may be binary.
    pub fn download(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Download {
        let mut response = self.send(method, path, headers, "");
        Download {
            status: response.status().as_u16(),
            headers: headers_of(&response),
            content: response.body_mut().read_to_vec().unwrap(),
        }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> http::Response<ureq::Body> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.as_ref().to_vec()).unwrap();
        let response = self.agent.run(request);
        response.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// Sends raw bytes, and reads until the server closes the connection.
    pub fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        stream.write_all(request.as_ref()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends a JSON request to a path below `/api/v1/accounts/`, with or without a token.
    pub fn api(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let mut headers = vec![("content-type", "application/json")];
        if let Some(value) = &authorization {
            headers.push(("authorization", value));
        }
        self.request(
            method,
            &format!("/api/v1/accounts/{path}"),
            &headers,
            body.to_string(),
        )
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.api("POST", path, None, body)
    }

    /// Sends a `POST` from a client address that a trusted proxy forwards.
    pub fn post_from(&self, client: &str, path: &str, body: &Value) -> Answer {
        self.request(
            "POST",
            &format!("/api/v1/accounts/{path}"),
            &[
                ("content-type", "application/json"),
                ("x-forwarded-for", client),
            ],
            body.to_string(),
        )
    }

    /// Sends a `GET` to a path below `/api/v1/accounts/`.
    pub fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = authorization
            .iter()
            .map(|value| ("authorization", value.as_str()))
            .collect();
        self.request("GET", &format!("/api/v1/accounts/{path}"), &headers, "")
    }

    pub fn patch(&self, path: &str, user: &User, body: &Value) -> Answer {
        self.api("PATCH", path, Some(&user.access), body)
    }

    /// Signs up with the default password and no optional fields.
    pub fn sign_up(&self, email: &str) -> Answer {
        self.post("users/", &sign_up_body(email))
    }

    /// Confirms the newest sign-up of an address.
    pub fn confirm(&self, email: &str) -> Answer {
        self.post(
            "otp/verify/",
            &json!({"email": email, "otp": self.otp(email)}),
        )
    }

    /// Creates a verified user who is signed in.
    #[track_caller]
    pub fn user(&self, email: &str) -> User {
        let signed_up = self.sign_up(email);
        assert_eq!(signed_up.status, 201, "{}", signed_up.body);
        let confirmed = self.confirm(email);
        assert_eq!(confirmed.status, 200, "{}", confirmed.body);
        User {
            id: signed_up.json()["data"]["id"].as_i64().unwrap(),
            email: email.to_owned(),
            access: confirmed.text("access"),
            refresh: confirmed.text("refresh"),
        }
    }

    /// Creates a staff account as an administrator does, and signs in.
    #[track_caller]
    pub fn staff(&self, email: &str) -> User {
        use accounts_server::domain::Input;
        let mut fields = Fields::json();
        fields.insert("email".into(), Input::Text(email.into()));
        fields.insert("password".into(), Input::Text(PASSWORD.into()));
        let app = self.server().app();
        let id = self
            .runtime
            .block_on(accounts::create_user(&app, &fields, true))
            .unwrap();
        let pair = self.sign_in(email, PASSWORD);
        assert_eq!(pair.status, 200, "{}", pair.body);
        User {
            id,
            email: email.to_owned(),
            access: pair.text("access"),
            refresh: pair.text("refresh"),
        }
    }

    /// A new setup link, as the program prints it at its start.
    pub fn setup_path(&self) -> Option<String> {
        let url = self.runtime.block_on(self.server().setup_url()).unwrap()?;
        let path = url.strip_prefix(&self.public_url()).unwrap();
        Some(path.to_owned())
    }

    pub fn sign_in(&self, email: &str, password: &str) -> Answer {
        self.post("token/", &json!({"email": email, "password": password}))
    }

    /// Asserts that neither token of a session is accepted.
    #[track_caller]
    pub fn assert_ended(&self, user: &User) {
        self.get("users/me/", Some(&user.access))
            .assert(401, BAD_TOKEN);
        self.post("token/refresh/", &json!({"refresh": user.refresh}))
            .assert(401, DEAD_TOKEN);
    }

    /// Rotates the signing keys, as `keys rotate` does.
    pub fn rotate_keys(&self, algorithm: Option<SigningAlgorithm>) {
        let app = self.server().app();
        self.runtime
            .block_on(accounts::rotate_keys(
                &app,
                accounts::Administrator::Operator,
                algorithm,
                &Fields::form(),
            ))
            .unwrap();
    }

    /// Runs a statement on the database while the server runs, for states that no request can create.
    pub fn db_execute(&self, statement: &str) -> usize {
        if let Some(mut client) = self.postgres() {
            return usize::try_from(client.execute(statement, &[]).unwrap()).unwrap();
        }
        self.db().execute(statement, []).unwrap()
    }

    /// Reads a number from the database while the server runs.
    pub fn db_number(&self, query: &str) -> i64 {
        if let Some(mut client) = self.postgres() {
            return postgres_number(&client.simple_query(query).unwrap());
        }
        self.db().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Waits until a number in the database has a value.
    #[track_caller]
    pub fn wait_for_number(&self, query: &str, value: i64) {
        for _ in 0..6_000 {
            if self.db_number(query) == value {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{query} gives {} and not {value}", self.db_number(query));
    }

    /// Reads a text from the database while the server runs.
    pub fn db_text(&self, query: &str) -> String {
        if let Some(mut client) = self.postgres() {
            return client.query_one(query, &[]).unwrap().get(0);
        }
        self.db().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Reads bytes from the database while the server runs.
    pub fn db_blob(&self, query: &str) -> Vec<u8> {
        if let Some(mut client) = self.postgres() {
            return client.query_one(query, &[]).unwrap().get(0);
        }
        self.db().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// The private key that signs the tokens, in PKCS #8 DER.
    pub fn db_signing_key(&self) -> Vec<u8> {
        self.db_blob("SELECT private_key FROM signing_keys")
    }

    /// A connection to the database, if it is one of PostgreSQL.
    fn postgres(&self) -> Option<postgres::Client> {
        self.config.is_postgres().then(|| {
            postgres::Client::connect(&self.config.database.path, postgres::NoTls).unwrap()
        })
    }

    /// Keeps everybody from writing to the database until it is dropped.
    pub fn db_lock(&self) -> rusqlite::Connection {
        let connection = self.db();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    }

    fn db(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(&self.config.database.path).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        add_functions(&connection).unwrap();
        connection
    }
}

/// The number or flag that PostgreSQL has answered, of whatever type.
fn postgres_number(answer: &[postgres::SimpleQueryMessage]) -> i64 {
    let row = answer.iter().find_map(|message| match message {
        postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    match row.unwrap().get(0).unwrap() {
        "t" => 1,
        "f" => 0,
        number => number.parse().unwrap(),
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.shutdown());
        }
    }
}

/// A signed-in user.
#[derive(Debug, Clone)]
pub struct User {
    pub id: i64,
    pub email: String,
    pub access: String,
    pub refresh: String,
}

impl User {
    /// The same user with the tokens of an answer.
    pub fn with_pair(&self, pair: &Answer) -> Self {
        Self {
            access: pair.text("access"),
            refresh: pair.text("refresh"),
            ..self.clone()
        }
    }

    /// The path of the account.
    pub fn path(&self) -> String {
        format!("users/{}/", self.id)
    }
}

/// A sign-up body with the required fields only.
pub fn sign_up_body(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "confirm_password": PASSWORD})
}

/// A sign-up body with some fields changed.
pub fn sign_up_with(email: &str, changes: &Value) -> Value {
    let mut body = sign_up_body(email);
    for (key, value) in changes.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

/// The claims of a token, whose signature is not checked.
pub fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Runs `work` in `count` threads at once; the results are in order.
pub fn at_once<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(count);
    let (start, work) = (&start, &work);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                scope.spawn(move || {
                    start.wait();
                    work(number)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

fn headers_of(response: &http::Response<ureq::Body>) -> HashMap<String, String> {
    let mut headers = HashMap::new();
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|values: &mut String| {
                values.push('\n');
                values.push_str(&value);
            })
            .or_insert_with(|| value.to_string());
    }
    headers
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_mins(1)))
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .build()
        .new_agent()
}
