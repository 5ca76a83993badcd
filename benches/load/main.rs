//! The load program: drives the built server over loopback and prints throughput and latency.
//!
//! It starts the server on a temporary database, and measures a bare warp handler in turn for
//! comparison.
//!
//! ```text
//! cargo bench --bench load -- all                everything
//! cargo bench --bench load -- reads writes       some of it
//! cargo bench --bench load -- --help             sizes, times, where plots go
//! ```
//!
//! Absolute numbers differ between machines; compare ratios within one run.

mod bare;
mod client;
mod population;
mod postgres;
mod process;
#[path = "../../tests/support/receiver.rs"]
#[allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "it is a part of the tests"
)]
mod receiver;
mod report;
mod scenarios;
mod stopwatch;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// A group of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Profiles by id, compared with a bare warp handler.
    Reads,
    /// Profile changes: one at a time, concurrent, and concurrent with a commit each.
    Writes,
    /// Profile changes while a webhook tells of each, compared with those without one.
    Webhooks,
    /// Sign-ups and sign-ins, compared with the hashing capacity of the cores.
    Passwords,
    /// Reads under a flood of sign-ins, sign-ins under floods of reads and of sign-ins.
    Attack,
    /// Memory, binary size, start-up time.
    Small,
    /// The same requests to databases of growing size.
    Growth,
    /// The server over the database of `--postgres`, beside `pgbench`.
    Postgres,
    /// All of these, but not `postgres`.
    All,
}

/// Measures the built server over loopback, compared with a bare warp handler.
#[derive(Parser)]
#[command(about, name = "load")]
struct Arguments {
    /// What to measure.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Accounts in the database.
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Sizes of the databases that `growth` compares.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    sizes: Vec<u64>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds of alternating measurements; the median is reported.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections of the load.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// A database for `postgres`: its tables of `pgbench` and its schema `accounts_bench` are replaced.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// Folder in which databases are kept between runs.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Folder for plots.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("bare") {
        let bytes = words.next().unwrap_or_default().parse()?;
        return Ok(bare::serve(bytes)?);
    }
    let arguments = Arguments::parse();
    let bench = scenarios::Bench {
        users: arguments.users,
        sizes: arguments.sizes,
        duration: Duration::from_secs_f64(arguments.seconds),
        rounds: arguments.rounds,
        connections: arguments.connections,
        postgres: arguments.postgres,
        keep: arguments.keep,
        plots: arguments.plots,
        can_pin: process::can_pin(),
    };
    let mut chosen = arguments.scenarios;
    if chosen.is_empty() {
        // `cargo bench` without a target runs this program too.
        println!("say what to measure: cargo bench --bench load -- all, or -- --help");
        return Ok(());
    }
    if chosen.contains(&Scenario::All) {
        chosen = Scenario::value_variants().to_vec();
        chosen.retain(|scenario| *scenario != Scenario::Postgres);
    }
    // Measurements that need all cores run before this process pins itself to one.
    chosen.sort_by_key(|scenario| {
        !matches!(
            scenario,
            Scenario::Postgres | Scenario::Passwords | Scenario::Small
        )
    });
    bench.print_surroundings();
    for scenario in chosen {
        match scenario {
            Scenario::Reads => bench.reads()?,
            Scenario::Writes => bench.writes()?,
            Scenario::Webhooks => bench.webhooks()?,
            Scenario::Passwords => bench.passwords()?,
            Scenario::Attack => bench.attack()?,
            Scenario::Small => bench.small()?,
            Scenario::Growth => bench.growth()?,
            Scenario::Postgres => bench.postgres()?,
            Scenario::All => {}
        }
    }
    Ok(())
}
