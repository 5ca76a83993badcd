//! The load program: starts the built server on a temporary database, drives it over loopback from this process, and
//! prints what it did beside a bare warp handler that is measured in turn in the same run.
//!
//! ```text
//! cargo bench --bench load -- all                everything
//! cargo bench --bench load -- reads writes       some of it
//! cargo bench --bench load -- --help             sizes, times, where plots go
//! ```
//!
//! Absolute figures differ from machine to machine; only ratios within one run say something.

mod bare;
mod client;
mod population;
mod process;
mod report;
mod scenarios;
mod stopwatch;

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Profiles by id against a bare warp handler.
    Reads,
    /// Changes of profiles: alone, many at once, and many at once with a commit for each.
    Writes,
    /// Sign-ups and sign-ins against what the cores can hash.
    Passwords,
    /// Reads under a flood of sign-ins, sign-ins under floods of reads and of sign-ins.
    Attack,
    /// Memory, size, start.
    Small,
    /// The same questions to databases of growing size.
    Growth,
    /// All of these.
    All,
}

/// Measures the built server over loopback, beside a bare warp handler.
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
    /// Rounds of what is measured in turn; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Connections of the load.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Folder in which databases are kept from run to run.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Folder that plots are written to.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// `cargo bench` says so.
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
        keep: arguments.keep,
        plots: arguments.plots,
        can_pin: process::can_pin(),
    };
    let mut chosen = arguments.scenarios;
    if chosen.is_empty() {
        // `cargo bench` comes by here on its way through the parts.
        println!("say what to measure: cargo bench --bench load -- all, or -- --help");
        return Ok(());
    }
    if chosen.contains(&Scenario::All) {
        chosen = Scenario::value_variants().to_vec();
    }
    // What needs all cores comes before this process pins itself to one of them.
    chosen.sort_by_key(|scenario| !matches!(scenario, Scenario::Passwords | Scenario::Small));
    bench.print_surroundings();
    for scenario in chosen {
        match scenario {
            Scenario::Reads => bench.reads()?,
            Scenario::Writes => bench.writes()?,
            Scenario::Passwords => bench.passwords()?,
            Scenario::Attack => bench.attack()?,
            Scenario::Small => bench.small()?,
            Scenario::Growth => bench.growth()?,
            Scenario::All => {}
        }
    }
    Ok(())
}
