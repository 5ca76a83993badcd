//! The log: lines on standard error, for people or for programs, and how much of them. Both can change while it runs.
//!
//! Every line that is written on the way of a request has its id, whoever writes it. Lines that repeat are written a bounded
//! number of times a minute and then counted; where `debug` is logged, all are written.

mod repeats;

use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use env_logger::Target;
use env_logger::fmt::Formatter;
use log::{Level, Log, Metadata, Record};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::{Clock as _, SystemClock};
use crate::config::{LogConfig, LogFormat};
use crate::domain::printable;
use crate::observability::request_id;
use crate::output::{TimeoutWriter, has_room};
use repeats::Repeats;

/// How often it is told what was left out.
const PERIOD: Duration = Duration::from_mins(1);

/// How long a line waits for whoever reads standard error, before it is lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many lines nobody took.
static LOST: AtomicU64 = AtomicU64::new(0);

/// What is logged where nothing is said about it.
const USUAL_LEVEL: &str = "info";

/// The logger of the program.
struct Logger {
    /// It is behind a lock so that it can be replaced.
    writer: RwLock<Option<env_logger::Logger>>,
    repeats: Mutex<Repeats>,
}

static LOGGER: Logger = Logger {
    writer: RwLock::new(None),
    repeats: Mutex::new(Repeats::NONE),
};

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner);
        writer
            .as_ref()
            .is_some_and(|writer| writer.enabled(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = &*writer
            && writer.matches(record)
            && (is_complete(writer, record.target()) || self.admits(record))
        {
            tell_lost(writer);
            writer.log(record);
        }
    }

    /// Tells what was left out since the last time.
    fn flush(&self) {
        let left_out = self
            .repeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end_period();
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = &*writer else { return };
        for lines in left_out {
            writer.log(
                &Record::builder()
                    .level(lines.level)
                    .target(lines.module)
                    .args(format_args!(
                        "{} more lines like this were left out: {}",
                        lines.count, lines.text
                    ))
                    .build(),
            );
        }
    }
}

/// Whether lines are written however often they come: where everything is asked for.
fn is_complete(writer: &env_logger::Logger, target: &str) -> bool {
    writer.enabled(
        &Metadata::builder()
            .level(Level::Debug)
            .target(target)
            .build(),
    )
}

/// Lines for a stream, which may be a pipe that nobody reads.
struct Lines<S> {
    stream: S,
    /// Whether the last thing that was written was the beginning of a line and no more.
    is_torn: bool,
}

impl<S: AsFd> Lines<S> {
    /// Writes a line, or as much of it as there is room for.
    fn write_line(&mut self, line: &[u8], patience: Duration) -> io::Result<()> {
        let mut stream = TimeoutWriter::new(&self.stream, patience);
        if self.is_torn {
            // The next line does not begin in the middle of the last one.
            stream.write_all(b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let written = stream.write(rest).inspect_err(|_| {
                self.is_torn = rest.len() < line.len();
            })?;
            rest = &rest[written..];
        }
        Ok(())
    }
}

impl<S: AsFd> Write for Lines<S> {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Where one was lost the next ones do not wait: whoever logs has other things to do.
        let patience = match LOST.load(Ordering::Relaxed) {
            0 => PATIENCE,
            _ => Duration::ZERO,
        };
        self.write_line(line, patience).inspect_err(|_| {
            LOST.fetch_add(1, Ordering::Relaxed);
        })?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says how many lines were lost, once there is room for it.
fn tell_lost(writer: &env_logger::Logger) {
    if LOST.load(Ordering::Relaxed) == 0 || !has_room(io::stderr(), Duration::ZERO).unwrap_or(false)
    {
        return;
    }
    let lost = LOST.swap(0, Ordering::Relaxed);
    if lost == 0 {
        // Another thread has just said so.
        return;
    }
    writer.log(
        &Record::builder()
            .level(Level::Warn)
            .target(module_path!())
            .args(format_args!(
                "{lost} lines before this one are lost: nobody was reading standard error"
            ))
            .build(),
    );
}

impl Logger {
    fn admits(&self, record: &Record<'_>) -> bool {
        let text = record.args().to_string();
        let mut repeats = self.repeats.lock().unwrap_or_else(PoisonError::into_inner);
        repeats.admit(record, &text)
    }
}

/// Tells once a minute what was left out, for as long as it is waited for.
pub async fn tell_left_out() {
    let mut periods = interval(PERIOD);
    periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        periods.tick().await;
        log::logger().flush();
    }
}

/// Begins to log, before there is a configuration.
pub fn start() {
    set(USUAL_LEVEL, LogFormat::Text);
    // A second start in one process (a test) keeps the first logger.
    if log::set_logger(&LOGGER).is_ok() {
        // What panics says so in the log, in its format.
        std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    }
}

/// Logs as the settings say from now on. The variable `RUST_LOG` has the last word on how much.
pub fn configure(config: &LogConfig) {
    set(&config.level, config.format);
}

fn set(level: &str, format: LogFormat) {
    let filter = env_logger::Env::default().default_filter_or(level);
    // A terminal is looked at by somebody, and shows colours.
    let target = match io::stderr().is_terminal() {
        true => Target::Stderr,
        false => Target::Pipe(Box::new(Lines {
            stream: io::stderr(),
            is_torn: false,
        })),
    };
    let logger = env_logger::Builder::from_env(filter)
        .target(target)
        .format(match format {
            LogFormat::Text => text,
            LogFormat::Json => json,
        })
        .build();
    log::set_max_level(logger.filter());
    *LOGGER
        .writer
        .write()
        .unwrap_or_else(PoisonError::into_inner) = Some(logger);
}

fn text(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let now = SystemClock.now();
    let level = record.level();
    let style = out.default_level_style(level);
    write!(out, "{now} {style}{level:5}{style:#} ")?;
    let message = one_line(&record.args().to_string());
    match request_id::current() {
        Some(id) => writeln!(out, "{}: {message}", id.as_str()),
        None => writeln!(out, "{message}"),
    }
}

/// A message in one line that does nothing but say something: a part of it may come from elsewhere.
fn one_line(message: &str) -> String {
    printable(&message.replace('\n', " ")).into_owned()
}

fn json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let mut line = json!({
        "time": SystemClock.now().to_string(),
        "level": record.level().as_str().to_ascii_lowercase(),
        "target": record.target(),
        "message": record.args().to_string(),
    });
    if let Some(id) = request_id::current() {
        line["request_id"] = json!(id.as_str());
    }
    writeln!(out, "{line}")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_line_that_is_cut_short_ends_before_the_next_one() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines {
            stream: &writer,
            is_torn: false,
        };
        let long = format!("{}\n", "x".repeat(200_000));
        assert!(lines.write_line(long.as_bytes(), Duration::ZERO).is_err());
        // Room for the end of the line, and for the next one.
        reader.read_exact(&mut vec![0; 16_384]).unwrap();
        lines.write_line(b"next\n", Duration::ZERO).unwrap();
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("x\nnext\n"));
    }

    #[test]
    fn a_message_is_one_line_without_power_over_the_terminal() {
        for (message, line) in [
            ("panicked at x.rs:1:\nno", "panicked at x.rs:1: no"),
            (
                "550 no\r\n2024-12-03T12:00:00Z INFO  user 1: signed in",
                "550 no\u{fffd} 2024-12-03T12:00:00Z INFO  user 1: signed in",
            ),
            ("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}"),
        ] {
            assert_eq!(one_line(message), line);
        }
    }
}
