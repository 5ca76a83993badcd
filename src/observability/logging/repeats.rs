//! Lines that repeat. Anybody can bring some of them about with each request, and the log must not fill the disk then: of those
//! with the same words so many are written in a period, and the others are counted. Of warnings and errors the same goes for
//! those from one place in the program, whatever their words: some name a file, or say what a decoder ran into.
//!
//! Knows nothing of the time: a period ends when somebody asks what was left out in it.

use std::collections::BTreeMap;

use log::{Level, Record};

/// How many lines of the same words are written in a period.
const SAME_WORDS: u32 = 20;

/// How many warnings and errors of one place in the program are written in a period.
const SAME_PLACE: u32 = 200;

/// Most kinds of lines that are told apart by their words, so that memory is bounded.
const MOST_KINDS: usize = 10_000;

/// Characters of a text that count.
const LONGEST_TEXT: usize = 300;

/// The lines of this period.
pub(super) struct Repeats(BTreeMap<Kind, Count>);

/// Lines that are alike.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    module: &'static str,
    line: u32,
    /// Nothing is said of the words where all lines of a place are one kind.
    words: Option<String>,
}

struct Count {
    written: u32,
    left_out: u32,
    level: Level,
    /// What the last one that was left out said.
    text: String,
}

/// Lines that were not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) module: &'static str,
    pub(super) level: Level,
    pub(super) count: u32,
    /// What the last of them said.
    pub(super) text: String,
}

impl Repeats {
    pub(super) const NONE: Self = Self(BTreeMap::new());

    /// Whether a line is to be written. It counts as written then, and as left out otherwise.
    pub(super) fn admit(&mut self, record: &Record<'_>, text: &str) -> bool {
        let text: String = text.chars().take(LONGEST_TEXT).collect();
        let kind = |words| Kind {
            module: record.module_path_static().unwrap_or_default(),
            line: record.line().unwrap_or_default(),
            words,
        };
        let same_words = kind(Some(text.clone()));
        let is_told_apart = self.0.len() < MOST_KINDS || self.0.contains_key(&same_words);
        let mut has_room = |kind, most| {
            let count = self.0.entry(kind).or_insert_with(|| Count {
                written: 0,
                left_out: 0,
                level: record.level(),
                text: String::new(),
            });
            if count.written < most {
                count.written += 1;
                return true;
            }
            count.left_out = count.left_out.saturating_add(1);
            count.text.clone_from(&text);
            false
        };
        (!is_told_apart || has_room(same_words, SAME_WORDS))
            && (record.level() > Level::Warn || has_room(kind(None), SAME_PLACE))
    }

    /// Ends the period and gives what was left out in it.
    pub(super) fn end_period(&mut self) -> Vec<LeftOut> {
        std::mem::take(&mut self.0)
            .into_iter()
            .filter(|(_, count)| count.left_out > 0)
            .map(|(kind, count)| LeftOut {
                module: kind.module,
                level: count.level,
                count: count.left_out,
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

    fn left_out(count: u32, text: &str) -> LeftOut {
        LeftOut {
            module: "store",
            level: Level::Warn,
            count,
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_same_words_are_written_so_often_and_then_counted() {
        let mut repeats = Repeats::NONE;
        for _ in 0..2 {
            let written = (0..1000).filter(|_| is_written(&mut repeats, 1, "busy"));
            assert_eq!(written.count(), SAME_WORDS as usize);
            // Other words, and the same ones elsewhere, have a number of their own.
            assert!(is_written(&mut repeats, 1, "full"));
            assert!(is_written(&mut repeats, 2, "busy"));
            assert_eq!(
                repeats.end_period(),
                [left_out(1000 - SAME_WORDS, "busy")],
                "and the next period begins anew"
            );
        }
        assert_eq!(repeats.end_period(), []);
    }

    #[test]
    fn one_place_is_bounded_whatever_the_words_and_so_is_memory() {
        let mut repeats = Repeats::NONE;
        let written = (0..50_000).filter(|number| is_written(&mut repeats, 1, &number.to_string()));
        assert_eq!(written.count(), SAME_PLACE as usize);
        assert!(repeats.0.len() <= MOST_KINDS + 1, "{}", repeats.0.len());
        assert!(is_written(&mut repeats, 2, "49999"), "another place");
        assert_eq!(
            repeats.end_period(),
            [left_out(50_000 - SAME_PLACE, "49999")]
        );
        // What is no fault has its own words and is written.
        let mut is_told = |number: u32| {
            let text = format!("user {number}: signed in");
            is_written_as(Level::Info, &mut repeats, 1, &text)
        };
        assert!((0..1000).all(&mut is_told));
        assert_eq!(
            (0..1000).filter(|_| is_told(7)).count(),
            SAME_WORDS as usize - 1
        );
        let long = "ä".repeat(10 * LONGEST_TEXT);
        assert!(is_written(&mut repeats, 1, &long));
        let kept = repeats.0.keys().filter_map(|kind| kind.words.as_ref());
        assert_eq!(
            kept.map(|words| words.chars().count()).max(),
            Some(LONGEST_TEXT)
        );
    }
}
