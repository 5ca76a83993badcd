//! The program: parses its arguments, runs a command, turns the outcome into an exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    accounts_server::cli::run(std::env::args_os())
}
