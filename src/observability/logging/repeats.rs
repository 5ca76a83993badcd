//! Rate limiting of repeated log lines, so that clients cannot fill the disk.
//!
//! In each period a limited number of lines with the same text is written and the rest is counted.
//! Warnings and errors are limited by their place in the program as well, as some texts name a file
//! or the error of a decoder. Knows nothing of time: the caller ends a period.

use std::collections::BTreeMap;

use log::{Level, Record};

/// Lines with the same text that are written in a period.
const MAX_SAME_TEXT: u32 = 20;

/// Warnings and errors of one place in the program that are written in a period.
const MAX_SAME_PLACE: u32 = 200;

/// Maximum number of kinds of lines with a count of their own, which bounds memory.
const MAX_KINDS: usize = 10_000;

/// Characters of a text that are compared.
const MAX_TEXT_CHARS: usize = 300;

/// The repeated lines of a period.
pub(super) struct Repeats(BTreeMap<Kind, Count>);

/// Lines that count as the same.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    module: &'static str,
    line: u32,
    /// `None` for all lines of a place.
    text: Option<String>,
}

struct Count {
    written: u32,
    suppressed: u32,
    level: Level,
    /// The text of the last suppressed line.
    text: String,
}

/// Lines that were not written in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    pub(super) module: &'static str,
    pub(super) level: Level,
    pub(super) count: u32,
    /// The text of the last one.
    pub(super) text: String,
}

impl Repeats {
    pub(super) const NONE: Self = Self(BTreeMap::new());

    /// Whether to write a line, which is counted either way.
    pub(super) fn admit(&mut self, record: &Record<'_>, text: &str) -> bool {
        let text: String = text.chars().take(MAX_TEXT_CHARS).collect();
        let kind = |text| Kind {
            module: record.module_path_static().unwrap_or_default(),
            line: record.line().unwrap_or_default(),
            text,
        };
        let same_text = kind(Some(text.clone()));
        let is_counted = self.0.len() < MAX_KINDS || self.0.contains_key(&same_text);
        let mut has_room = |kind, most| {
            let count = self.0.entry(kind).or_insert_with(|| Count {
                written: 0,
                suppressed: 0,
                level: record.level(),
                text: String::new(),
            });
            if count.written < most {
                count.written += 1;
                return true;
            }
            count.suppressed = count.suppressed.saturating_add(1);
            count.text.clone_from(&text);
            false
        };
        (!is_counted || has_room(same_text, MAX_SAME_TEXT))
            && (record.level() > Level::Warn || has_room(kind(None), MAX_SAME_PLACE))
    }

    /// Ends the period and returns the suppressed lines.
    pub(super) fn end_period(&mut self) -> Vec<Suppressed> {
        std::mem::take(&mut self.0)
            .into_iter()
            .filter(|(_, count)| count.suppressed > 0)
            .map(|(kind, count)| Suppressed {
                module: kind.module,
                level: count.level,
                count: count.suppressed,
                text: count.text,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_written(repeats: &mut Repeats, line: u32, text: &str) -> bool {
        is_written_as(Level::Warn, repeats, line, text)
    }

    fn is_written_as(level: Level, repeats: &mut Repeats, line: u32, text: &str) -> bool {
        let record = Record::builder()
            .level(level)
            .module_path_static(Some("store"))
            .line(Some(line))
            .build();
        repeats.admit(&record, text)
    }

    fn suppressed(count: u32, text: &str) -> Suppressed {
        Suppressed {
            module: "store",
            level: Level::Warn,
            count,
            text: text.to_owned(),
        }
    }

    #[test]
    fn repeated_lines_are_limited_and_counted() {
        let mut repeats = Repeats::NONE;
        for _ in 0..2 {
            let written = (0..1000).filter(|_| is_written(&mut repeats, 1, "busy"));
            assert_eq!(written.count(), MAX_SAME_TEXT as usize);
            // Other texts, and the same text from another place, have limits of their own.
            assert!(is_written(&mut repeats, 1, "full"));
            assert!(is_written(&mut repeats, 2, "busy"));
            assert_eq!(
                repeats.end_period(),
                [suppressed(1000 - MAX_SAME_TEXT, "busy")],
                "each period begins at zero"
            );
        }
        assert_eq!(repeats.end_period(), []);
    }

    #[test]
    fn lines_of_one_place_and_memory_are_bounded() {
        let mut repeats = Repeats::NONE;
        let written = (0..50_000).filter(|number| is_written(&mut repeats, 1, &number.to_string()));
        assert_eq!(written.count(), MAX_SAME_PLACE as usize);
        assert!(repeats.0.len() <= MAX_KINDS + 1, "{}", repeats.0.len());
        assert!(is_written(&mut repeats, 2, "49999"), "another place");
        assert_eq!(
            repeats.end_period(),
            [suppressed(50_000 - MAX_SAME_PLACE, "49999")]
        );
        // Info lines are limited by their text only.
        let mut is_written_info = |number: u32| {
            let text = format!("user {number}: signed in");
            is_written_as(Level::Info, &mut repeats, 1, &text)
        };
        assert!((0..1000).all(&mut is_written_info));
        assert_eq!(
            (0..1000).filter(|_| is_written_info(7)).count(),
            MAX_SAME_TEXT as usize - 1
        );
        let long = "ä".repeat(10 * MAX_TEXT_CHARS);
        assert!(is_written(&mut repeats, 1, &long));
        let kept = repeats.0.keys().filter_map(|kind| kind.text.as_ref());
        assert_eq!(
            kept.map(|text| text.chars().count()).max(),
            Some(MAX_TEXT_CHARS)
        );
    }
}
