//! The log on standard error, as text or JSON. Format and level can change at runtime.
//!
//! Every line of a request contains its id. Repeated lines are limited per minute and counted; at
//! level `debug` all of them are written.

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

/// How often suppressed lines are reported.
const PERIOD: Duration = Duration::from_mins(1);

/// How long a line waits for the reader of standard error before it is lost.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of lost lines.
static LOST: AtomicU64 = AtomicU64::new(0);

/// The level before the configuration is loaded.
const DEFAULT_LEVEL: &str = "info";

/// The logger of the program.
struct Logger {
    /// Replaced when the configuration changes.
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
            report_lost(writer);
            writer.log(record);
        }
    }

    /// Reports the lines that were suppressed since the last time.
    fn flush(&self) {
        let suppressed = self
            .repeats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .end_period();
        let writer = self.writer.read().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = &*writer else { return };
        for lines in suppressed {
            writer.log(
                &Record::builder()
                    .level(lines.level)
                    .target(lines.module)
                    .args(format_args!(
                        "{} more lines like this were suppressed: {}",
                        lines.count, lines.text
                    ))
                    .build(),
            );
        }
    }
}

/// Whether repeated lines are written as well: at level `debug`.
fn is_complete(writer: &env_logger::Logger, target: &str) -> bool {
    writer.enabled(
        &Metadata::builder()
            .level(Level::Debug)
            .target(target)
            .build(),
    )
}

/// Writes lines to a stream, which may be a pipe that nobody reads.
struct Lines<S> {
    stream: S,
    /// Whether the last line was written in part.
    is_partial: bool,
}

impl<S: AsFd> Lines<S> {
    /// Writes a line, or the part of it that fits.
    fn write_line(&mut self, line: &[u8], patience: Duration) -> io::Result<()> {
        let mut stream = TimeoutWriter::new(&self.stream, patience);
        if self.is_partial {
            // Ends the partial line first.
            stream.write_all(b"\n")?;
            self.is_partial = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            let written = stream.write(rest).inspect_err(|_| {
                self.is_partial = rest.len() < line.len();
            })?;
            rest = &rest[written..];
        }
        Ok(())
    }
}

impl<S: AsFd> Write for Lines<S> {
    /// Writes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // After a lost line the next ones do not wait, so that logging delays nothing.
        let patience = match LOST.load(Ordering::Relaxed) {
            0 => WRITE_TIMEOUT,
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

/// Logs how many lines were lost, once there is room.
fn report_lost(writer: &env_logger::Logger) {
    if LOST.load(Ordering::Relaxed) == 0 || !has_room(io::stderr(), Duration::ZERO).unwrap_or(false)
    {
        return;
    }
    let lost = LOST.swap(0, Ordering::Relaxed);
    if lost == 0 {
        // Another thread has logged it.
        return;
    }
    writer.log(
        &Record::builder()
            .level(Level::Warn)
            .target(module_path!())
            .args(format_args!(
                "{lost} lines before this one were lost: nothing was reading standard error"
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

/// Reports suppressed lines once a minute, until it is dropped.
pub async fn report_suppressed() {
    let mut periods = interval(PERIOD);
    periods.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        periods.tick().await;
        log::logger().flush();
    }
}

/// Starts logging, before the configuration is loaded.
pub fn start() {
    set(DEFAULT_LEVEL, LogFormat::Text);
    // A second start in one process (a test) keeps the first logger.
    if log::set_logger(&LOGGER).is_ok() {
        // Panics are logged as well.
        std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    }
}

/// Applies the settings. The variable `RUST_LOG` overrides the level.
pub fn configure(config: &LogConfig) {
    set(&config.level, config.format);
}

fn set(level: &str, format: LogFormat) {
    let filter = env_logger::Env::default().default_filter_or(level);
    // A terminal has colours, and somebody reads it.
    let target = match io::stderr().is_terminal() {
        true => Target::Stderr,
        false => Target::Pipe(Box::new(Lines {
            stream: io::stderr(),
            is_partial: false,
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

/// The message on one line without control characters, as parts of it may come from clients.
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
    fn a_partial_line_ends_before_the_next_one() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut lines = Lines {
            stream: &writer,
            is_partial: false,
        };
        let long = format!("{}\n", "x".repeat(200_000));
        assert!(lines.write_line(long.as_bytes(), Duration::ZERO).is_err());
        // Makes room for a line break and the next line.
        reader.read_exact(&mut vec![0; 16_384]).unwrap();
        lines.write_line(b"next\n", Duration::ZERO).unwrap();
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("x\nnext\n"));
    }

    #[test]
    fn messages_have_no_control_characters() {
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
