//! Checks of photos, free disk space and backups.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Level, MIB, Report, check_writable};
use crate::backup::schedule::Schedule;
use crate::backup::{DataFiles, folder_of};
use crate::config::Config;
use crate::domain::Timestamp;
use crate::store::sqlite::{Examination, free_bytes};

/// Free space below this is a warning, below a sixteenth an error. A larger database needs room
/// for two copies.
const MIN_FREE: u64 = 256 * MIB;

/// Compares the photos in the folder with those of the accounts.
///
/// `listed` are the files before the database was read, `examine_again` reads it once more.
pub(super) fn check_photos(
    dir: &Path,
    listed: &[String],
    examination: Option<&Examination>,
    examine_again: impl Fn() -> Option<Examination>,
    report: &mut Report,
) {
    let shown = dir.display();
    let named = examination.map_or(&[][..], |examination| &examination.photos);
    if !dir.exists() {
        match named.len() {
            0 => report.ok("photos", format!("there are none; their folder is {shown}")),
            count => report.error(
                "photos",
                format!("{count} accounts have one, but the folder {shown} does not exist"),
            ),
        }
        return;
    }
    if let Err(e) = check_writable(dir) {
        report.error("photos", format!("{shown} is not writable: {e}"));
        return;
    }
    let Some(examination) = examination else {
        return;
    };
    let mut missing: Vec<&String> = named
        .iter()
        .filter(|name| !dir.join(name).is_file())
        .collect();
    if !missing.is_empty()
        && let Some(current) = examine_again()
    {
        // An account may have replaced its photo since its row was read.
        missing.retain(|name| current.photos.contains(name));
    }
    if let Some(first) = missing.first() {
        let text = format!(
            "{} of {} are missing in {shown}, such as {first}",
            missing.len(),
            named.len()
        );
        report.error("photos", text);
    }
    let known: BTreeSet<&str> = named
        .iter()
        .chain(&examination.unused_photos)
        .map(String::as_str)
        .collect();
    // A file is recorded in the database before it is written, and it was listed before the rows
    // were read, so an unknown one is an orphan, unless it was removed in between.
    let orphans = listed
        .iter()
        .filter(|name| !known.contains(photo_name(name)) && dir.join(name).exists())
        .count();
    if orphans > 0 {
        let text = format!("{orphans} files in {shown} belong to no account");
        report.warning("photos", text);
    }
    report.ok_if_silent("photos", format!("{} in {shown}", named.len()));
}

/// The name of the photo that a file holds. Partial and retired files have it between a dot and an
/// extension.
fn photo_name(file: &str) -> &str {
    let name = file.strip_prefix('.').unwrap_or(file);
    name.strip_suffix(".part")
        .or_else(|| name.strip_suffix(".old"))
        .unwrap_or(name)
}

/// The names of all files in a folder, none if it cannot be read.
pub(super) fn names_in(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Checks the free space of the file systems of database and photos.
pub(super) fn check_disk(files: &DataFiles, report: &mut Report) {
    let size = files.database.metadata().map_or(0, |data| data.len());
    let wanted = MIN_FREE.max(2 * size);
    let database = folder_of(&files.database);
    let mut folders = vec![database];
    if files.photos.exists() && device_of(&files.photos) != device_of(database) {
        folders.push(&files.photos);
    }
    for folder in folders {
        let Some(free) = free_bytes(folder) else {
            continue;
        };
        let level = match free {
            free if free < wanted / 16 => Level::Error,
            free if free < wanted => Level::Warning,
            _ => continue,
        };
        let text = format!(
            "{} MiB are free on the file system of {}; {} MiB leave room for growth and a copy of \
             the database",
            free / MIB,
            folder.canonicalize().unwrap_or_default().display(),
            wanted.div_ceil(MIB)
        );
        report.add(level, "disk", text);
    }
    report.ok_if_silent("disk", "enough free space");
}

/// The device of an existing folder.
fn device_of(folder: &Path) -> Option<u64> {
    folder.metadata().ok().map(|data| data.dev())
}

/// Checks that scheduled backups are configured and recent.
pub(super) fn check_backups(config: &Config, now: Timestamp, report: &mut Report) {
    let Some(schedule) = Schedule::of(config) else {
        let text = "the server makes no backups; set [backup] dir, unless another tool makes them";
        report.warning("backups", text);
        return;
    };
    let path = schedule.dir();
    let dir = path.display();
    if path.exists()
        && let Err(e) = check_writable(path)
    {
        report.error("backups", format!("{dir} is not writable: {e}"));
        return;
    }
    match schedule.newest(now) {
        Ok(Some(newest)) if now.since(newest) > 2 * schedule.interval() => {
            let text = format!("the newest in {dir} is from {newest}; see the log of the server");
            report.error("backups", text);
        }
        Ok(Some(newest)) => report.ok("backups", format!("the newest in {dir} is from {newest}")),
        _ => {
            let text = format!("there is none in {dir} yet; the server makes one when it starts");
            report.ok("backups", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_and_retired_files_belong_to_their_photo() {
        for file in ["a.jpg", ".a.jpg.part", ".a.jpg.old"] {
            assert_eq!(photo_name(file), "a.jpg");
        }
    }
}
