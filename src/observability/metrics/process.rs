//! What the system knows of this process: the figures that Prometheus' client libraries give, under their names. Linux
//! tells them in `/proc`; elsewhere they are left out.

use std::fs;

use super::page::Page;

/// Clock ticks a second in `/proc/self/stat`: fixed by the kernel's interface (`USER_HZ`), whatever its real clock does.
const TICKS_A_SECOND: f64 = 100.0;

/// Adds the figures of this process.
pub(super) fn write(page: &mut Page) {
    if let Some(seconds) = cpu_seconds() {
        page.single(
            "process_cpu_seconds_total",
            "counter",
            "Processor time that the process has used.",
            seconds,
        );
    }
    if let Some(bytes) = memory_bytes("VmRSS:") {
        page.single(
            "process_resident_memory_bytes",
            "gauge",
            "Memory of the process that is in use.",
            bytes,
        );
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        page.single(
            "process_open_fds",
            "gauge",
            "Files and sockets that are open.",
            // The one that is open for reading the folder does not count.
            files.count().saturating_sub(1),
        );
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        page.single(
            "process_max_fds",
            "gauge",
            "Most files and sockets that may be open.",
            most,
        );
    }
}

fn cpu_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program stands in brackets and may hold blanks; user and system time are the 14th and 15th field.
    let fields = text.rsplit_once(')')?.1;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_A_SECOND)
}

fn memory_bytes(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
