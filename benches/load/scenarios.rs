//! The scenarios: what is measured, and how it is reported.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use accounts_server::domain::UserChanges;
use accounts_server::passwords::{PasswordOptions, Passwords};
use accounts_server::store::{RequestContext, UserUpdate};

use crate::client::{Load, Outcome, Requests, body_of, drive, drive_all, get, hold_open, send};
use crate::population::{Dice, PASSWORD, Population, SignedIn, open_file};
use crate::process::{self, ServerProcess};
use crate::receiver::Receiver;
use crate::report::{Curve, Table, median, millis, plot, ratio, thousands};
use crate::stopwatch::Stopwatch;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Accounts that read, each with a token of its own.
const READERS: usize = 10_001;

/// The cores of server and load.
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;

/// Parameters of all measurements.
pub(crate) struct Bench {
    pub(crate) users: u64,
    pub(crate) sizes: Vec<u64>,
    pub(crate) duration: Duration,
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
    pub(crate) postgres: Option<String>,
    pub(crate) keep: Option<PathBuf>,
    pub(crate) plots: Option<PathBuf>,
    pub(crate) can_pin: bool,
}

/// One measurement of one server.
struct Run {
    outcome: Outcome,
    /// Share of one core that the server used.
    processor: f64,
    memory: f64,
}

impl Bench {
    /// Prints machine, commit and date.
    pub(crate) fn print_surroundings(&self) {
        let shell = |program: &str, words: &[&str]| {
            std::process::Command::new(program)
                .args(words)
                .output()
                .ok()
                .and_then(|output| String::from_utf8(output.stdout).ok())
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown processor", |(_, name)| name);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!(
            "{}, commit {}, {cores} cores ({processor}), {}; {}",
            shell("date", &["-u", "+%Y-%m-%d"]),
            shell(
                "git",
                &["describe", "--always", "--dirty", "--exclude", "*"]
            ),
            shell("uname", &["-sr"]),
            if self.can_pin {
                "server and load pinned to a core each"
            } else {
                "nothing is pinned"
            }
        );
    }

    /// The core of the server, if it is pinned.
    fn server_core(&self) -> Option<usize> {
        self.can_pin.then_some(SERVER_CORE)
    }

    fn pin_load(&self) {
        if self.can_pin {
            process::pin_self(LOAD_CORE);
        }
    }

    fn population(&self, users: u64) -> Result<Population> {
        let readers = READERS.min(usize::try_from(users)?);
        Population::create(users, readers, self.keep.as_deref())
    }

    fn run(&self, server: &ServerProcess, load: &Load) -> Result<Run> {
        let before = server.processor_seconds();
        let outcome = drive(load, self.duration)?;
        let used = server.processor_seconds() - before;
        // Includes the warm-up, a tenth of the duration.
        let processor = used / (outcome.seconds * 1.1);
        let surprises = outcome.surprises(load);
        if !surprises.is_empty() {
            eprintln!("unexpected answers: {surprises}");
        }
        Ok(Run {
            outcome,
            processor,
            memory: server.memory(),
        })
    }

    /// `GET users/<pk>/` with many tokens, alternating with a bare warp handler.
    pub(crate) fn reads(&self) -> Result<()> {
        let population = self.population(self.users)?;
        self.pin_load();
        let server = ServerProcess::accounts(&population.database, self.server_core(), &[])?;
        let requests = Requests::new(profile_requests(&population));
        let bytes = body_length(&server, &population)?;
        let bare = ServerProcess::bare(bytes, self.server_core())?;
        let ours = Load::new(server.address, requests.clone(), self.connections);
        let theirs = Load::new(bare.address, requests, self.connections);
        let mut table = runs_table("server", "of bare warp");
        let mut ratios = Vec::new();
        for round in 1..=self.rounds {
            let bare_run = self.run(&bare, &theirs)?;
            let run = self.run(&server, &ours)?;
            let share = run.outcome.per_second() / bare_run.outcome.per_second();
            table.row(cells(
                round,
                &format!("bare warp, {bytes} bytes"),
                &bare_run,
                1.0,
            ));
            table.row(cells(round, "GET users/<pk>/", &run, share));
            ratios.push(share);
        }
        table.print(&format!(
            "Reads: {} people, {} connections",
            population.people.len(),
            self.connections
        ));
        println!("\nMedian: {} of bare warp.", ratio(median(ratios)));
        Ok(())
    }

    /// `PATCH users/<pk>/`: concurrent, concurrent with a commit each, and one at a time.
    ///
    /// The last is compared with a lone commit in this process.
    pub(crate) fn writes(&self) -> Result<()> {
        let population = self.population(self.users)?;
        self.pin_load();
        let requests = Requests::new(change_requests(&population));
        let mut table = runs_table("what", "of one per commit");
        let (mut ratios, mut lone_ratios) = (Vec::new(), Vec::new());
        for round in 1..=self.rounds {
            let measure = |more: &[&str], connections| {
                let server =
                    ServerProcess::accounts(&population.database, self.server_core(), more)?;
                self.run(
                    &server,
                    &Load::new(server.address, requests.clone(), connections),
                )
            };
            let single = measure(&["--database-writes-per-commit", "1"], self.connections)?;
            let grouped = measure(&[], self.connections)?;
            let alone = measure(&[], 1)?;
            let base = single.outcome.per_second();
            let share = |run: &Run| run.outcome.per_second() / base;
            table.row(cells(round, "one request per commit", &single, 1.0));
            table.row(cells(round, "default settings", &grouped, share(&grouped)));
            table.row(cells(round, "one connection", &alone, share(&alone)));
            let lone = self.lone_commits(&population)?;
            let lone_ratio = alone.outcome.quantile(0.5) / lone;
            table.row([
                round.to_string(),
                "a lone commit, without HTTP".into(),
                thousands(1000.0 / lone),
                millis(lone),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                format!("one connection takes {} of it", ratio(lone_ratio)),
            ]);
            ratios.push(share(&grouped));
            lone_ratios.push(lone_ratio);
        }
        table.print(&format!(
            "Writes: PATCH of {} people, {} connections",
            population.people.len(),
            self.connections
        ));
        println!(
            "\nMedian: {} of one request per commit; p50 at one connection {} of a lone commit.",
            ratio(median(ratios)),
            ratio(median(lone_ratios))
        );
        Ok(())
    }

    /// Median time of a change in this process, one at a time, in milliseconds.
    fn lone_commits(&self, population: &Population) -> Result<f64> {
        let app = open_file(&population.database)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let started = Stopwatch::start();
        let mut times = Vec::new();
        for (person, name) in population.people.iter().zip(["Eve", "Dan"].iter().cycle()) {
            if started.elapsed() > self.duration {
                break;
            }
            let update = UserUpdate {
                user_id: person.id,
                changes: UserChanges {
                    first_name: Some(format!("{name} {}", times.len())),
                    ..UserChanges::default()
                },
                email_change: None,
                promotion_notice: None,
                keep_last_staff: true,
                now: app.clock.now(),
                context: RequestContext::default(),
            };
            let watch = Stopwatch::start();
            runtime.block_on(app.store.update_user(update))?;
            times.push(watch.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(median(times))
    }

    /// `PATCH users/<pk>/` without and with a webhook. Nothing is pinned: the receiver needs a core too.
    pub(crate) fn webhooks(&self) -> Result<()> {
        let population = self.population(self.users)?;
        let receiver = Receiver::accepting();
        let requests = Requests::new(change_requests(&population));
        let mut table = runs_table("what", "of without");
        let mut ratios = Vec::new();
        let (database, loopback) = (
            &population.database,
            ["--webhooks-allow-networks", "127.0.0.0/8"],
        );
        let command = |words: &[&str]| process::run_command(database, &[&loopback, words].concat());
        for round in 1..=self.rounds {
            let measure = || -> Result<Run> {
                let server = ServerProcess::accounts(database, None, &loopback)?;
                let load = Load::new(server.address, requests.clone(), self.connections);
                self.run(&server, &load)
            };
            let without = measure()?;
            command(&["webhook", "add", &receiver.url("/")])?;
            let with = measure()?;
            command(&["webhook", "remove", &round.to_string()])?;
            let share = with.outcome.per_second() / without.outcome.per_second();
            table.row(cells(round, "without a webhook", &without, 1.0));
            table.row(cells(round, "with a webhook", &with, share));
            ratios.push(share);
        }
        table.print(&format!(
            "Webhooks: PATCH of {} people, {} connections",
            population.people.len(),
            self.connections
        ));
        println!(
            "\nMedian: {} of the changes without a webhook; {} events arrived meanwhile.",
            ratio(median(ratios)),
            receiver.received().len()
        );
        Ok(())
    }

    /// Sign-ups and sign-ins together, compared with the hashing capacity of the cores.
    pub(crate) fn passwords(&self) -> Result<()> {
        let population = self.population(self.users.min(1000))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let duration = self.duration.max(Duration::from_secs(10));
        let ceiling = hashes_per_second(cores, duration)?;
        let server = ServerProcess::accounts(&population.database, None, &[])?;
        let mut requests = Vec::new();
        for (index, person) in population.people.iter().enumerate() {
            requests.push(sign_in_request(&person.email, PASSWORD));
            let email = format!("new{index}@example.org");
            let body = serde_json::json!({
                "email": email, "password": PASSWORD, "confirm_password": PASSWORD,
            });
            requests.push(send(
                "POST",
                "/api/v1/accounts/users/",
                None,
                &body.to_string(),
            ));
        }
        let mut load = Load::new(server.address, Requests::new(requests), 4 * cores);
        load.expected = &[200, 201];
        let outcome = drive(&load, duration)?;
        let mut table = Table::new(&[
            "what",
            "per second",
            "p50 ms",
            "p99 ms",
            "of capacity",
            "other responses",
        ]);
        table.row([
            format!("hashes on {cores} cores and nothing else"),
            format!("{ceiling:.2}"),
            String::new(),
            String::new(),
            ratio(1.0),
            String::new(),
        ]);
        table.row([
            format!("sign-ins and sign-ups, {} connections", load.connections),
            format!("{:.2}", outcome.per_second()),
            millis(outcome.quantile(0.5)),
            millis(outcome.quantile(0.99)),
            ratio(outcome.per_second() / ceiling),
            outcome.surprises(&load),
        ]);
        table.print("Passwords");
        Ok(())
    }

    /// Service to honest clients during an attack.
    pub(crate) fn attack(&self) -> Result<()> {
        const HAMMERING: usize = 64;
        let population = self.population(self.users)?;
        self.pin_load();
        let server = ServerProcess::accounts(&population.database, self.server_core(), &[])?;
        let reads = Load::new(
            server.address,
            Requests::new(profile_requests(&population)),
            self.connections,
        );
        let people = || population.people.iter();
        let right = people().map(|person| sign_in_request(&person.email, PASSWORD));
        let mut sign_ins = Load::new(server.address, Requests::new(right), 8);
        sign_ins.from = [127, 0, 0, 3].into();
        let wrong = people().map(|person| sign_in_request(&person.email, "wrong"));
        let mut flood = Load::new(server.address, Requests::new(wrong), HAMMERING);
        flood.from = [127, 0, 0, 2].into();
        flood.expected = &[401, 503];
        let mut read_flood = reads.clone();
        read_flood.connections = HAMMERING;
        read_flood.from = [127, 0, 0, 2].into();
        let mut one = sign_ins.clone();
        one.connections = 1;

        // A sign-in takes a quarter of a second, so a few seconds would give too few samples.
        let duration = 3 * self.duration;
        let reads_alone = drive(&reads, self.duration)?;
        let sign_ins_alone = drive(&sign_ins, duration)?;
        let one_alone = drive(&one, duration)?;
        let first = |outcomes: Vec<Outcome>| outcomes.into_iter().next().unwrap_or_default();
        let reads_attacked = first(drive_all(&[&reads, &flood], duration)?);
        let sign_ins_attacked = first(drive_all(&[&sign_ins, &read_flood], duration)?);
        let one_attacked = first(drive_all(&[&one, &flood], duration)?);

        let mut table = Table::new(&[
            "what",
            "per second",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "throughput kept",
            "p99 times",
        ]);
        let rows = [
            ("reads", &reads_alone, &reads_alone),
            (
                "reads while 64 hammer sign-in",
                &reads_attacked,
                &reads_alone,
            ),
            ("sign-ins, 8 connections", &sign_ins_alone, &sign_ins_alone),
            (
                "sign-ins while 64 hammer reads",
                &sign_ins_attacked,
                &sign_ins_alone,
            ),
            ("one sign-in after the other", &one_alone, &one_alone),
            (
                "the same while 64 of another address hammer sign-in",
                &one_attacked,
                &one_alone,
            ),
        ];
        for (name, outcome, alone) in rows {
            table.row([
                name.into(),
                thousands(outcome.per_second()),
                millis(outcome.quantile(0.5)),
                millis(outcome.quantile(0.99)),
                millis(outcome.quantile(0.999)),
                ratio(outcome.per_second() / alone.per_second()),
                ratio(outcome.quantile(0.99) / alone.quantile(0.99)),
            ]);
        }
        table.print("Attack");
        let curve = |name: &str, outcome: &Outcome| Curve {
            name: name.into(),
            points: [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
                .iter()
                .map(|share| (*share, outcome.quantile(1.0 - 1.0 / share)))
                .collect(),
        };
        self.write_plot(
            "attack.svg",
            &plot(
                "Latency of reads, alone and under attack",
                "one request in this many takes longer",
                "ms",
                &[
                    curve("reads alone", &reads_alone),
                    curve("while 64 hammer sign-in", &reads_attacked),
                ],
            ),
        )
    }

    /// Memory, binary size and start-up time.
    pub(crate) fn small(&self) -> Result<()> {
        const IDLE_CONNECTIONS: usize = 10_000;
        const STARTS: usize = 7;
        let large = self.population(self.users)?;
        let mut table = Table::new(&["what", "value"]);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a program is smaller than 2^52 bytes"
        )]
        let size = Path::new(process::SERVER).metadata()?.len() as f64;
        table.row([
            "the program".into(),
            format!("{:.1} MiB", size / 1024.0 / 1024.0),
        ]);
        for (name, path) in [
            ("a new file", None),
            ("the large file", Some(&large.database)),
        ] {
            let (mut starts, mut memory) = (Vec::new(), Vec::new());
            for _ in 0..STARTS {
                let dir = tempfile::tempdir()?;
                let new = dir.path().join("users.db");
                let watch = Stopwatch::start();
                let server = ServerProcess::accounts(path.unwrap_or(&new), None, &[])?;
                body_of(server.address, get("/healthz", None))?;
                starts.push(watch.elapsed().as_secs_f64() * 1000.0);
                // Work after the start is done by then.
                std::thread::sleep(Duration::from_millis(300));
                memory.push(server.memory());
            }
            table.row([
                format!("from exec to the first answer, {name}"),
                format!("{} ms", millis(median(starts))),
            ]);
            table.row([
                format!("idle, {name}"),
                format!("{:.1} MiB", median(memory)),
            ]);
        }
        let server = ServerProcess::accounts(&large.database, None, &[])?;
        let person = large.people.first().ok_or("nobody is signed in")?;
        let request = get(&profile_path(person.id), Some(&person.token));
        let held = hold_open(server.address, &request, IDLE_CONNECTIONS)?;
        table.row([
            format!(
                "{} idle connections, each of which has read a profile",
                held.1.len()
            ),
            format!("{:.1} MiB", server.memory()),
        ]);
        drop(held);
        table.print(&format!("Small: the large file has {} people", large.users));
        Ok(())
    }

    /// The same requests to databases of different sizes.
    pub(crate) fn growth(&self) -> Result<()> {
        let mut columns = vec!["what".to_owned()];
        columns.extend(
            self.sizes
                .iter()
                .map(|size| format!("{} people", thousands(to_f64(*size)))),
        );
        columns.push("last to first".into());
        let mut table = Table::new(&columns.iter().map(String::as_str).collect::<Vec<_>>());
        let mut curves: Vec<Curve> = Vec::new();
        let mut measurements: Vec<Vec<(String, f64)>> = Vec::new();
        for size in &self.sizes {
            let population = self.population(*size)?;
            self.pin_load();
            measurements.push(self.questions(&population)?);
        }
        let names: Vec<String> = measurements
            .first()
            .into_iter()
            .flatten()
            .map(|figure| figure.0.clone())
            .collect();
        for (index, name) in names.into_iter().enumerate() {
            let values: Vec<f64> = measurements
                .iter()
                .map(|measurements| measurements[index].1)
                .collect();
            let mut cells = vec![name.clone()];
            cells.extend(values.iter().map(|value| {
                if *value < 0.1 {
                    format!("{value:.4}")
                } else {
                    millis(*value)
                }
            }));
            cells.push(ratio(
                values.last().unwrap_or(&f64::NAN) / values.first().unwrap_or(&f64::NAN),
            ));
            table.row(cells);
            let plotted = [
                "GET",
                "PATCH",
                "sign-in lookup",
                "list, last page",
                "search for a rare word",
                "search for a word that every account has",
            ];
            if plotted.iter().any(|start| name.starts_with(start)) {
                let points = self
                    .sizes
                    .iter()
                    .map(|size| to_f64(*size))
                    .zip(values)
                    .collect();
                curves.push(Curve { name, points });
            }
        }
        table.print("Growth: milliseconds unless noted, one request at a time");
        self.write_plot(
            "growth.svg",
            &plot(
                "Time of one request as the database grows",
                "people in the database",
                "ms",
                &curves,
            ),
        )
    }

    /// Runs every request against one database and returns the median times in milliseconds.
    fn questions(&self, population: &Population) -> Result<Vec<(String, f64)>> {
        let mut measurements = Vec::new();
        measurements.push((
            "bytes per account".to_owned(),
            to_f64(population.bytes()) / to_f64(population.users),
        ));
        measurements.push((
            "sign-in lookup, in process".to_owned(),
            look_up_time(population)?,
        ));
        let server = ServerProcess::accounts(&population.database, self.server_core(), &[])?;
        let reads = Load::new(
            server.address,
            Requests::new(profile_requests(population)),
            1,
        );
        measurements.push((
            "GET users/<pk>/".to_owned(),
            self.run(&server, &reads)?.outcome.quantile(0.5),
        ));
        let many = Load {
            connections: self.connections,
            ..reads
        };
        measurements.push((
            format!("GET, {} connections, per request", self.connections),
            1000.0 / self.run(&server, &many)?.outcome.per_second(),
        ));
        let writes = Load::new(
            server.address,
            Requests::new(change_requests(population)),
            1,
        );
        measurements.push((
            "PATCH users/<pk>/".to_owned(),
            self.run(&server, &writes)?.outcome.quantile(0.5),
        ));
        let many = Load {
            connections: self.connections,
            ..writes
        };
        measurements.push((
            format!("PATCH, {} connections, per request", self.connections),
            1000.0 / self.run(&server, &many)?.outcome.per_second(),
        ));
        let sign_in = |person: &SignedIn| sign_in_request(&person.email, PASSWORD);
        let sign_ins = Requests::new(population.people.iter().map(sign_in));
        let sign_ins = Load::new(server.address, sign_ins, 1);
        measurements.push((
            "a whole sign-in".to_owned(),
            self.run(&server, &sign_ins)?.outcome.quantile(0.5),
        ));
        // One request at a time, with a sleeping load: the server has all cores, as in production.
        drop(server);
        let server = ServerProcess::accounts(&population.database, None, &[])?;
        for (name, query) in list_questions(population)? {
            let path = format!("/api/v1/accounts/users/?{query}");
            let request = get(&path, Some(&population.staff_token));
            let mut times = Vec::new();
            for _ in 0..5 {
                let watch = Stopwatch::start();
                body_of(server.address, request.clone())?;
                times.push(watch.elapsed().as_secs_f64() * 1000.0);
            }
            measurements.push((name, median(times)));
        }
        Ok(measurements)
    }

    fn write_plot(&self, name: &str, svg: &str) -> Result<()> {
        if let Some(folder) = &self.plots {
            std::fs::create_dir_all(folder)?;
            std::fs::write(folder.join(name), svg)?;
            println!("\nPlot: {}", folder.join(name).display());
        }
        Ok(())
    }
}

/// Requests of the staff list: names and queries.
fn list_questions(population: &Population) -> Result<Vec<(String, String)>> {
    let pages = population.users.div_ceil(20);
    let (quarter, middle) = (pages / 4, pages / 2);
    let person = population.people.get(4321).or(population.people.last());
    let person = person.ok_or("nobody is signed in")?;
    let last_name = person.email.split(['.', '@']).nth(1).unwrap_or_default();
    let last_name = last_name.trim_end_matches(char::is_numeric);
    let mut questions = vec![
        ("list, first page".to_owned(), String::new()),
        ("list, middle page".to_owned(), format!("page={middle}")),
        ("list, last page".to_owned(), "page=last".to_owned()),
    ];
    for column in [
        "email",
        "first_name",
        "last_name",
        "created_at",
        "updated_at",
        "last_login",
    ] {
        for order in [column.to_owned(), format!("-{column}")] {
            questions.push((
                format!("list by {order}, first page"),
                format!("ordering={order}"),
            ));
            questions.push((
                format!("list by {order}, middle page"),
                format!("ordering={order}&page={middle}"),
            ));
        }
    }
    let others = [
        (
            "list by last_name,first_name, a quarter in",
            format!("ordering=last_name,first_name&page={quarter}"),
        ),
        ("list of the inactive", "is_active=false".to_owned()),
        (
            "list of the inactive by last_name, last page",
            "is_active=false&ordering=last_name&page=last".to_owned(),
        ),
        (
            "list of the active by -created_at, a quarter in",
            format!("is_active=true&ordering=-created_at&page={quarter}"),
        ),
        (
            "search for a rare word: a whole address",
            format!("search={}", person.email),
        ),
        ("search for a last name", format!("search={last_name}")),
        (
            "search for two words",
            format!("search={last_name}+{}", person.id),
        ),
        (
            "search for a last name, by -created_at",
            format!("search={last_name}&ordering=-created_at"),
        ),
        ("search for three letters", "search=eir".to_owned()),
        ("search for two letters", "search=vo".to_owned()),
        (
            "search for a word that every account has",
            "search=example".to_owned(),
        ),
        ("search without a match", "search=xqxqxq".to_owned()),
    ];
    questions.extend(others.map(|(name, query)| (name.to_owned(), query)));
    Ok(questions)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

/// Hashes of default cost that all cores compute in a second when idle otherwise.
fn hashes_per_second(cores: usize, duration: Duration) -> Result<f64> {
    let cost = accounts_server::Config::defaults(false)
        .passwords
        .bcrypt_cost;
    let passwords = Passwords::start(PasswordOptions {
        breached: None,
        cost,
        threads: cores,
        queue: 0,
        min_length: 8,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let watch = Stopwatch::start();
    runtime.block_on(async {
        let hashing = (0..cores).map(|_| async {
            let mut count = 0;
            while watch.elapsed() < duration {
                passwords.hash(PASSWORD.into(), [7; 16]).await?;
                count += 1;
            }
            // Each thread ends a little after the duration.
            Ok::<_, Box<dyn Error>>(f64::from(count) / watch.elapsed().as_secs_f64())
        });
        let rates = futures_util::future::try_join_all(hashing).await?;
        Ok(rates.into_iter().sum())
    })
}

/// Median time of the account lookup at sign-in, in milliseconds.
fn look_up_time(population: &Population) -> Result<f64> {
    const LOOK_UPS: u64 = 20_000;
    let app = open_file(&population.database)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut dice = Dice(2);
    let mut times = Vec::new();
    for _ in 0..LOOK_UPS {
        let number = 1 + dice.below(population.users);
        let person = crate::population::person(number, "").ok_or("an account has no address")?;
        let watch = Stopwatch::start();
        let found = runtime.block_on(app.store.find_credentials(person.email.key()))?;
        times.push(watch.elapsed().as_secs_f64() * 1000.0);
        found.ok_or("an account is missing")?;
    }
    Ok(median(times))
}

pub(crate) fn sign_in_request(email: &str, password: &str) -> Vec<u8> {
    let body = serde_json::json!({ "email": email, "password": password });
    send("POST", "/api/v1/accounts/token/", None, &body.to_string())
}

/// Two changes of each first name, so that every request changes something.
fn change_requests(population: &Population) -> Vec<Vec<u8>> {
    ["Ann", "Bob"]
        .iter()
        .flat_map(|name| {
            population.people.iter().map(move |person| {
                let body = format!("{{\"first_name\": \"{name}\"}}");
                send(
                    "PATCH",
                    &profile_path(person.id),
                    Some(&person.token),
                    &body,
                )
            })
        })
        .collect()
}

/// A table of runs, whose rows are [`cells`].
fn runs_table(what: &str, share: &str) -> Table {
    Table::new(&[
        "round",
        what,
        "requests/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "core used",
        "memory MiB",
        share,
    ])
}

fn cells(round: usize, name: &str, run: &Run, share: f64) -> Vec<String> {
    let outcome = &run.outcome;
    vec![
        round.to_string(),
        name.to_owned(),
        thousands(outcome.per_second()),
        millis(outcome.quantile(0.5)),
        millis(outcome.quantile(0.99)),
        millis(outcome.quantile(0.999)),
        ratio(run.processor),
        format!("{:.1}", run.memory),
        ratio(share),
    ]
}

fn profile_path(id: i64) -> String {
    format!("/api/v1/accounts/users/{id}/")
}

/// A request for each profile, in an order that defeats caches.
fn profile_requests(population: &Population) -> Vec<Vec<u8>> {
    let mut people: Vec<_> = population.people.iter().collect();
    let mut dice = Dice(1);
    people.sort_by_cached_key(|_| dice.roll());
    people
        .into_iter()
        .map(|person| get(&profile_path(person.id), Some(&person.token)))
        .collect()
}

/// Size of a profile's body in bytes.
fn body_length(server: &ServerProcess, population: &Population) -> Result<usize> {
    let person = population.people.first().ok_or("nobody is signed in")?;
    let request = get(&profile_path(person.id), Some(&person.token));
    Ok(body_of(server.address, request)?.len())
}
