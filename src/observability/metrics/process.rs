//! Metrics of the process, under the names that the client libraries of Prometheus use.
//!
//! They are read from `/proc` on Linux and omitted elsewhere.

use std::fs;

use super::page::Page;

/// Clock ticks per second in `/proc/self/stat`, `USER_HZ` of the kernel's interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds the metrics of this process.
pub(super) fn write(page: &mut Page) {
    if let Some(seconds) = cpu_seconds() {
        page.single(
            "process_cpu_seconds_total",
            "counter",
            "CPU time used by the process in seconds.",
            seconds,
        );
    }
    if let Some(bytes) = memory_bytes("VmRSS:") {
        page.single(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory of the process in bytes.",
            bytes,
        );
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        page.single(
            "process_open_fds",
            "gauge",
            "Open files and sockets.",
            // Reading the directory opens one more.
            files.count().saturating_sub(1),
        );
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        page.single(
            "process_max_fds",
            "gauge",
            "Limit on open files and sockets.",
            most,
        );
    }
}

fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The program name is in parentheses and may contain spaces. User and system time are the fields
    // 14 and 15.
    let fields = text.rsplit_once(')')?.1;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn memory_bytes(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
