//! The server over PostgreSQL, beside `pgbench` on the same database server.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use accounts_server::app::App;
use accounts_server::domain::SessionRef;
use futures_util::future::join_all;
use tokio::task::LocalSet;

use crate::client::{Connection, Load, Outcome, Requests, drive_all, send};
use crate::population::{PASSWORD, Population, SignedIn};
use crate::process::ServerProcess;
use crate::report::{Table, median, ratio, thousands};
use crate::scenarios::{Bench, sign_in_request};
use crate::stopwatch::Stopwatch;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Clients, of the server and of `pgbench`.
const CLIENTS: usize = 64;

/// Accounts in the database, and those of them that have a session.
const USERS: u64 = 10_000;
const SESSIONS: usize = 4001;

/// Where the server's tables are, so that `pgbench` can have the others.
const SCHEMA: &str = "accounts_bench";

impl Bench {
    /// Session look-ups beside `pgbench -S`, refreshes beside `pgbench -N`, and sign-ins of one server
    /// and of two with a core each. The database is expected to be empty or that of an earlier run.
    pub(crate) fn postgres(&self) -> Result<()> {
        let url = self.postgres.as_deref();
        let url = url.ok_or("name a database for this: --postgres postgres://…")?;
        run(
            "psql",
            &[
                url,
                "-qc",
                &format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}"),
            ],
        )?;
        if run("pgbench", &["-S", "-t", "1", url]).is_err() {
            run("pgbench", &["-i", "-q", "-s", "10", url])?;
        }
        let separator = if url.contains('?') { '&' } else { '?' };
        let own = format!("{url}{separator}options=-c%20search_path%3D{SCHEMA}");
        let dir = tempfile::tempdir()?;
        let population = Population::on_postgres(&own, USERS, SESSIONS, dir.path())?;
        run("psql", &[url, "-qc", "VACUUM ANALYZE"])?;
        self.look_ups_and_refreshes(url, &own, &population, dir.path())?;
        self.two_servers(&own, &population, dir.path())
    }

    fn look_ups_and_refreshes(
        &self,
        url: &str,
        own: &str,
        population: &Population,
        dir: &Path,
    ) -> Result<()> {
        let mut table = Table::new(&[
            "round",
            "pgbench -S",
            "session look-ups",
            "of it",
            "pgbench -N",
            "refreshes",
            "of it",
        ]);
        let (mut look_up_ratios, mut refresh_ratios) = (Vec::new(), Vec::new());
        let mut tokens: Vec<String> = population
            .people
            .iter()
            .map(|person| person.refresh.clone())
            .collect();
        let app = crate::population::open(own, dir)?;
        for round in 1..=self.rounds {
            let selects = self.pgbench(url, "-S")?;
            let look_ups = look_ups(&app, &population.people, self.duration)?;
            let updates = self.pgbench(url, "-N")?;
            let more = ["--database-connections", "16"];
            let server = ServerProcess::on(own, dir, None, &more)?;
            let refreshes = refreshes(&server, &mut tokens, self.duration)?;
            look_up_ratios.push(look_ups / selects);
            refresh_ratios.push(refreshes / updates);
            table.row([
                round.to_string(),
                thousands(selects),
                thousands(look_ups),
                ratio(look_ups / selects),
                thousands(updates),
                thousands(refreshes),
                ratio(refreshes / updates),
            ]);
        }
        table.print(&format!(
            "PostgreSQL: per second, {CLIENTS} clients, {USERS} people, server and database on the same cores"
        ));
        println!(
            "\nMedians: look-ups {} of pgbench -S, refreshes {} of pgbench -N.",
            ratio(median(look_up_ratios)),
            ratio(median(refresh_ratios))
        );
        Ok(())
    }

    /// Sign-ins of one server on a core, and of two with a core each.
    fn two_servers(&self, own: &str, population: &Population, dir: &Path) -> Result<()> {
        if !self.can_pin {
            println!("\nTwo servers are not compared: processes cannot be pinned here.");
            return Ok(());
        }
        let duration = self.duration.max(Duration::from_secs(10));
        let requests = population
            .people
            .iter()
            .map(|person| sign_in_request(&person.email, PASSWORD));
        let requests = Requests::new(requests);
        let mut table = Table::new(&["round", "one server", "two servers", "of it"]);
        let mut ratios = Vec::new();
        for round in 1..=self.rounds {
            let sign_ins = |cores: &[usize]| -> Result<f64> {
                let started = cores
                    .iter()
                    .map(|core| ServerProcess::on(own, dir, Some(*core), &[]));
                let servers: Vec<ServerProcess> = started.collect::<io::Result<_>>()?;
                let loads: Vec<Load> = servers
                    .iter()
                    .map(|server| Load::new(server.address, requests.clone(), 8))
                    .collect();
                let outcomes = drive_all(&loads.iter().collect::<Vec<_>>(), duration)?;
                Ok(outcomes.iter().map(Outcome::per_second).sum())
            };
            let (one, two) = (sign_ins(&[0])?, sign_ins(&[0, 1])?);
            ratios.push(two / one);
            table.row([
                round.to_string(),
                format!("{one:.2}"),
                format!("{two:.2}"),
                ratio(two / one),
            ]);
        }
        table.print("PostgreSQL: sign-ins per second, a core for each server");
        println!("\nMedian: {} of one server.", ratio(median(ratios)));
        Ok(())
    }

    /// Transactions per second of one of the scripts of `pgbench`.
    fn pgbench(&self, url: &str, script: &str) -> Result<f64> {
        let seconds = self.duration.as_secs().max(1).to_string();
        let clients = CLIENTS.to_string();
        let words = [
            script, "-c", &clients, "-j", "2", "-M", "prepared", "-T", &seconds, url,
        ];
        let text = run("pgbench", &words)?;
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.ok_or_else(|| format!("pgbench printed no rate: {text}").into())
    }
}

/// Look-ups of sessions per second, without HTTP.
fn look_ups(app: &App, people: &[SignedIn], duration: Duration) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let watch = Stopwatch::start();
    let asked = runtime.block_on(join_all((0..CLIENTS).map(|client| async move {
        let mut count = 0_u32;
        for person in people.iter().cycle().skip(client * 37) {
            if watch.elapsed() >= duration {
                break;
            }
            let session = SessionRef::new(person.session_id.clone(), person.id);
            let found = app.store.find_session_user(&session).await?;
            found.ok_or("a session is missing")?;
            count += 1;
        }
        Ok::<_, Box<dyn Error>>(count)
    })));
    let counts: Vec<u32> = asked.into_iter().collect::<Result<_>>()?;
    Ok(f64::from(counts.iter().sum::<u32>()) / watch.elapsed().as_secs_f64())
}

/// Refreshes per second over HTTP: each session in turn, by its latest token.
fn refreshes(server: &ServerProcess, tokens: &mut [String], duration: Duration) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let watch = Stopwatch::start();
    let load = Rc::new(Load::new(server.address, Requests::new([]), CLIENTS));
    let share = tokens.len().div_ceil(CLIENTS);
    let clients = tokens.chunks_mut(share).map(|tokens| {
        let mut connection = Connection::new(&load);
        async move {
            let mut count = 0_u32;
            while watch.elapsed() < duration {
                for token in &mut *tokens {
                    let body = serde_json::json!({ "refresh": token }).to_string();
                    let request = send("POST", "/api/v1/accounts/token/refresh/", None, &body);
                    let answer: serde_json::Value =
                        serde_json::from_slice(&connection.body_of(&request).await?)?;
                    let next = answer["refresh"].as_str().ok_or("no token was answered")?;
                    next.clone_into(token);
                    count += 1;
                    if watch.elapsed() >= duration {
                        break;
                    }
                }
            }
            Ok::<_, Box<dyn Error>>(count)
        }
    });
    let done = LocalSet::new().block_on(&runtime, join_all(clients));
    let counts: Vec<u32> = done.into_iter().collect::<Result<_>>()?;
    Ok(f64::from(counts.iter().sum::<u32>()) / watch.elapsed().as_secs_f64())
}

/// Runs a program of PostgreSQL, and returns what it prints.
fn run(program: &str, words: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(words)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}
