//! The rules for choosing a password: Django's four validators, with Django's algorithms and texts.
//!
//! `common.txt` is the list of common passwords that comes with Django (BSD 3-Clause; compiled by Royce Williams from
//! leaked passwords), in lower case and in the order of its bytes.

use std::collections::HashMap;

/// The list of common passwords, one a line, sorted bytewise.
static COMMON: &str = include_str!("common.txt");

/// Likeness from which a password is too similar to something about its owner.
const MAX_SIMILARITY: f64 = 0.7;

/// What is known of a password's owner.
#[derive(Clone, Copy, Debug, Default)]
pub struct PersonalData<'a> {
    /// Mail address.
    pub email: Option<&'a str>,
    /// Given name.
    pub first_name: Option<&'a str>,
    /// Family name.
    pub last_name: Option<&'a str>,
}

/// The rules.
#[derive(Clone, Copy, Debug)]
pub struct PasswordRules {
    /// Shortest allowed password, in characters.
    pub min_length: usize,
}

impl PasswordRules {
    /// Everything that speaks against a password, in the order of the API: similar to its owner, too short, too common,
    /// entirely numeric. Of the similarities only the first is told, as in Django.
    pub fn complaints(&self, password: &str, person: &PersonalData<'_>) -> Vec<String> {
        let mut complaints = Vec::new();
        let attributes = [
            ("first name", person.first_name),
            ("last name", person.last_name),
            ("email", person.email),
        ];
        let similar = attributes
            .iter()
            .find(|(_, value)| value.is_some_and(|value| is_similar(password, value)));
        if let Some((attribute, _)) = similar {
            complaints.push(format!("The password is too similar to the {attribute}."));
        }
        if password.chars().count() < self.min_length {
            let unit = if self.min_length == 1 {
                "character"
            } else {
                "characters"
            };
            complaints.push(format!(
                "This password is too short. It must contain at least {} {unit}.",
                self.min_length
            ));
        }
        if is_common(password) {
            complaints.push("This password is too common.".into());
        }
        if is_numeric(password) {
            complaints.push("This password is entirely numeric.".into());
        }
        complaints
    }
}

/// Django's `UserAttributeSimilarityValidator` for one attribute: the whole of it and each of its words.
fn is_similar(password: &str, value: &str) -> bool {
    let password: Vec<char> = password.to_lowercase().chars().collect();
    let value = value.to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    value
        .split(|c| !is_word(c))
        .chain([value.as_str()])
        .map(|part| part.chars().collect::<Vec<char>>())
        .any(|part| {
            !part.is_empty()
                && !exceeds_length_ratio(password.len(), part.len())
                && quick_ratio(&password, &part) >= MAX_SIMILARITY
        })
}

/// Django's shortcut: a text that is much shorter than the password cannot be similar to it.
fn exceeds_length_ratio(password: usize, part: usize) -> bool {
    let bound = MAX_SIMILARITY / 2.0 * to_f64(password);
    password >= 10 * part && to_f64(part) < bound
}

/// Python's `SequenceMatcher.quick_ratio`: the share of characters that both have, wherever they stand.
fn quick_ratio(one: &[char], other: &[char]) -> f64 {
    let mut available: HashMap<char, usize> = HashMap::new();
    for c in other {
        *available.entry(*c).or_default() += 1;
    }
    let matches = one
        .iter()
        .filter(|c| match available.get_mut(c) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        })
        .count();
    2.0 * to_f64(matches) / to_f64(one.len() + other.len())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "lengths of passwords are far below 2^52"
)]
fn to_f64(number: usize) -> f64 {
    number as f64
}

/// Django's `CommonPasswordValidator`.
fn is_common(password: &str) -> bool {
    let password = password.to_lowercase();
    let wanted = password.trim().as_bytes();
    let list = COMMON.as_bytes();
    // Bisects the text itself, so that nothing has to be built at start.
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let start = list[..middle]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let length = list[start..].iter().position(|b| *b == b'\n');
        let end = length.map_or(list.len(), |length| start + length);
        match list[start..end].cmp(wanted) {
            std::cmp::Ordering::Equal => return !wanted.is_empty(),
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

/// Django's `NumericPasswordValidator`, Python's `str.isdigit`: digits of any script, superscripts and the like included.
fn is_numeric(password: &str) -> bool {
    !password.is_empty()
        && password.chars().all(|c| {
            // Numeric characters are digits unless they are fractions, larger numbers or letters used as numbers.
            c.is_ascii_digit()
                || (c.is_numeric()
                    && !matches!(c, '\u{bc}'..='\u{be}' | '\u{2150}'..='\u{218b}' | '\u{3007}' | '\u{3021}'..='\u{3029}'
                        | '\u{3220}'..='\u{3229}' | '\u{3248}'..='\u{324f}' | '\u{3251}'..='\u{325f}'
                        | '\u{3280}'..='\u{3289}' | '\u{32b1}'..='\u{32bf}'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: PasswordRules = PasswordRules { min_length: 8 };
    const SIMILAR: &str = "The password is too similar to the email.";
    const SHORT: &str = "This password is too short. It must contain at least 8 characters.";
    const USUAL: &str = "This password is too common.";
    const NUMERIC: &str = "This password is entirely numeric.";

    fn complaints(password: &str) -> Vec<String> {
        let person = PersonalData {
            email: Some("johannes@example.com"),
            first_name: Some("Maximilian"),
            last_name: Some("O'Hara-Lindqvist"),
        };
        RULES.complaints(password, &person)
    }

    #[test]
    fn rules_are_those_of_django() {
        for (password, expected) in [
            ("securepassword123", vec![]),
            ("johannes", vec![SIMILAR, USUAL]),
            ("Johannes1", vec![SIMILAR]),
            ("johannes@example.com", vec![SIMILAR]),
            ("short1!", vec![SHORT]),
            ("password", vec![USUAL]),
            ("PASSWORD", vec![USUAL]),
            (" password ", vec![USUAL]),
            ("12345", vec![SHORT, USUAL, NUMERIC]),
            ("83749201746", vec![NUMERIC]),
            ("٠١٢٣٤٥٦٧٨", vec![NUMERIC]),
            (
                "maximilian1",
                vec!["The password is too similar to the first name."],
            ),
            (
                "lindqvist",
                vec!["The password is too similar to the last name."],
            ),
        ] {
            assert_eq!(complaints(password), expected, "{password}");
        }
    }

    #[test]
    fn every_common_password_is_found() {
        assert!(COMMON.lines().is_sorted());
        assert_eq!(COMMON.lines().count(), COMMON_COUNT);
        for (number, line) in COMMON.lines().enumerate() {
            assert!(is_common(line), "{number}: {line}");
        }
        for other in [
            "",
            " ",
            "\n",
            "correct horse battery staple",
            "zzzzzzzzzzzzzzzzzzzzzzz",
        ] {
            assert!(!is_common(other), "{other:?}");
        }
    }

    const COMMON_COUNT: usize = 19640;
}
