//! The rules for new passwords: Django's four validators, with their algorithms and texts.
//!
//! `common.txt` is the data of `common-passwords.txt.gz` in Django's `django/contrib/auth`
//! (BSD-3-Clause, copyright Django Software Foundation and individual contributors): nearly 20,000
//! common passwords that Royce Williams compiled from leaked ones, here in lower case, without
//! duplicates, and sorted bytewise.

use std::cmp::Ordering;

use crate::domain::trim;

/// The common passwords, one per line, sorted bytewise.
static COMMON: &str = include_str!("common.txt");

/// Similarity from which on a password is too similar to an attribute of its owner.
const MAX_SIMILARITY: f64 = 0.7;

/// The attributes of the owner that a password must not resemble.
#[derive(Clone, Copy, Default)]
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
    /// Lists the rules that a password breaks, in the order of the API: similar to its owner, too
    /// short, too common, entirely numeric. Only the first similarity is reported, as in Django.
    ///
    /// `has_leaked` says whether the list on disk contains it.
    pub fn complaints(
        &self,
        password: &str,
        person: &PersonalData<'_>,
        has_leaked: bool,
    ) -> Vec<String> {
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
        if has_leaked || is_common(password) {
            complaints.push("This password is too common.".to_owned());
        }
        if is_numeric(password) {
            complaints.push("This password is entirely numeric.".to_owned());
        }
        complaints
    }
}

/// Django's `UserAttributeSimilarityValidator` for one attribute: all of it, and each of its words.
fn is_similar(password: &str, value: &str) -> bool {
    let password = sorted_chars(&password.to_lowercase());
    let value = value.to_lowercase();
    value
        .split(|c| !is_word(c))
        .chain([value.as_str()])
        // Python's split gives empty words too, which no password resembles.
        .filter(|part| !part.is_empty())
        .map(sorted_chars)
        .any(|part| {
            !exceeds_length_ratio(password.len(), part.len())
                && quick_ratio(&password, &part) >= MAX_SIMILARITY
        })
}

fn sorted_chars(text: &str) -> Vec<char> {
    let mut chars: Vec<char> = text.chars().collect();
    chars.sort_unstable();
    chars
}

/// Django's shortcut: a much shorter word cannot be similar to the password.
fn exceeds_length_ratio(password: usize, part: usize) -> bool {
    let bound = MAX_SIMILARITY / 2.0 * to_f64(password);
    password >= 10 * part && to_f64(part) < bound
}

/// Python's `SequenceMatcher.quick_ratio` of two sorted texts: the share of characters in common,
/// regardless of their order.
fn quick_ratio(one: &[char], other: &[char]) -> f64 {
    let (mut left, mut right, mut matches) = (0, 0, 0);
    while left < one.len() && right < other.len() {
        match one[left].cmp(&other[right]) {
            Ordering::Less => left += 1,
            Ordering::Greater => right += 1,
            Ordering::Equal => {
                matches += 1;
                left += 1;
                right += 1;
            }
        }
    }
    2.0 * to_f64(matches) / to_f64(one.len() + other.len())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "lengths of passwords and names are far below 2^52"
)]
fn to_f64(number: usize) -> f64 {
    number as f64
}

/// Python's `\w`: letters, numbers and the underscore. Rust's alphanumeric characters include vowel
/// signs, other marks, and circled letters too.
fn is_word(c: char) -> bool {
    c == '_' || (c.is_alphanumeric() && !is_within(c, MARKS))
}

/// Django's `CommonPasswordValidator`.
fn is_common(password: &str) -> bool {
    let password = password.to_lowercase();
    let wanted = trim(&password).as_bytes();
    let list = COMMON.as_bytes();
    // Bisects the text itself, so no index has to be built. Both bounds are starts of lines.
    let (mut low, mut high) = (0, list.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let start = list[low..middle]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(low, |at| low + at + 1);
        let end = list[middle..high]
            .iter()
            .position(|b| *b == b'\n')
            .map_or(high, |at| middle + at);
        match list[start..end].cmp(wanted) {
            Ordering::Equal => return true,
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
        }
    }
    false
}

/// Django's `NumericPasswordValidator`, that is Python's `str.isdigit`: digits of any script,
/// superscripts and circled ones too, but no fractions or Roman numerals.
fn is_numeric(password: &str) -> bool {
    !password.is_empty() && password.chars().all(is_digit)
}

fn is_digit(c: char) -> bool {
    let code = u32::from(c);
    let zeros_up_to_it = ZEROS.partition_point(|zero| *zero <= code);
    let is_decimal = zeros_up_to_it > 0 && code - ZEROS[zeros_up_to_it - 1] < 10;
    is_decimal || is_within(c, DIGITS)
}

fn is_within(c: char, ranges: &[(u32, u32)]) -> bool {
    let code = u32::from(c);
    let started = ranges.partition_point(|(first, _)| *first <= code);
    started > 0 && code <= ranges[started - 1].1
}

/// The zero of each script's decimal digits (general category Nd, Unicode 17); nine more follow.
#[rustfmt::skip]
const ZEROS: &[u32] = &[
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66,
    0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90,
    0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0,
    0xff10, 0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450,
    0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50,
    0x11d50, 0x11da0, 0x11de0, 0x11f50, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce,
    0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e5f1, 0x1e950, 0x1fbf0,
];

/// Characters with the numeric type Digit that are not decimal digits.
#[rustfmt::skip]
const DIGITS: &[(u32, u32)] = &[
    (0xb2, 0xb3), (0xb9, 0xb9), (0x1369, 0x1371), (0x19da, 0x19da), (0x2070, 0x2070),
    (0x2074, 0x2079), (0x2080, 0x2089), (0x2460, 0x2468), (0x2474, 0x247c), (0x2488, 0x2490),
    (0x24ea, 0x24ea), (0x24f5, 0x24fd), (0x24ff, 0x24ff), (0x2776, 0x277e), (0x2780, 0x2788),
    (0x278a, 0x2792), (0x10a40, 0x10a43), (0x10e60, 0x10e68), (0x11052, 0x1105a),
    (0x1f100, 0x1f10a),
];

/// Alphabetic characters that are not letters or numbers (categories Mn, Mc and So; Unicode 14).
/// Ranges also span characters that are not alphanumeric at all.
#[rustfmt::skip]
const MARKS: &[(u32, u32)] = &[
    (0x345, 0x36f), (0x5b0, 0x5c7), (0x610, 0x61a), (0x64b, 0x65f), (0x670, 0x670),
    (0x6d6, 0x6e4), (0x6e7, 0x6ed), (0x711, 0x711), (0x730, 0x73f), (0x7a6, 0x7b0),
    (0x816, 0x817), (0x81b, 0x823), (0x825, 0x827), (0x829, 0x82c), (0x8d4, 0x903),
    (0x93a, 0x93b), (0x93e, 0x94f), (0x955, 0x957), (0x962, 0x963), (0x981, 0x983),
    (0x9be, 0x9cc), (0x9d7, 0x9d7), (0x9e2, 0x9e3), (0xa01, 0xa03), (0xa3e, 0xa51),
    (0xa70, 0xa71), (0xa75, 0xa83), (0xabe, 0xacc), (0xae2, 0xae3), (0xafa, 0xb03),
    (0xb3e, 0xb57), (0xb62, 0xb63), (0xb82, 0xb82), (0xbbe, 0xbcc), (0xbd7, 0xbd7),
    (0xc00, 0xc04), (0xc3e, 0xc56), (0xc62, 0xc63), (0xc81, 0xc83), (0xcbe, 0xcd6),
    (0xce2, 0xce3), (0xd00, 0xd03), (0xd3e, 0xd4c), (0xd57, 0xd57), (0xd62, 0xd63),
    (0xd81, 0xd83), (0xdcf, 0xddf), (0xdf2, 0xdf3), (0xe31, 0xe31), (0xe34, 0xe3a),
    (0xe4d, 0xe4d), (0xeb1, 0xeb1), (0xeb4, 0xebc), (0xecd, 0xecd), (0xf71, 0xf83),
    (0xf8d, 0xfbc), (0x102b, 0x103e), (0x1056, 0x1059), (0x105e, 0x1060), (0x1062, 0x1064),
    (0x1067, 0x106d), (0x1071, 0x1074), (0x1082, 0x108d), (0x108f, 0x108f), (0x109a, 0x109d),
    (0x1712, 0x1713), (0x1732, 0x1733), (0x1752, 0x1753), (0x1772, 0x1773), (0x17b6, 0x17c8),
    (0x1885, 0x1886), (0x18a9, 0x18a9), (0x1920, 0x1938), (0x1a17, 0x1a1b), (0x1a55, 0x1a74),
    (0x1abf, 0x1b04), (0x1b35, 0x1b43), (0x1b80, 0x1b82), (0x1ba1, 0x1bad), (0x1be7, 0x1bf1),
    (0x1c24, 0x1c36), (0x1dd3, 0x1df4), (0x24b6, 0x24e9), (0x2de0, 0x2dff), (0xa674, 0xa67b),
    (0xa69e, 0xa69f), (0xa802, 0xa802), (0xa80b, 0xa80b), (0xa823, 0xa827), (0xa880, 0xa881),
    (0xa8b4, 0xa8c5), (0xa8ff, 0xa8ff), (0xa926, 0xa92a), (0xa947, 0xa952), (0xa980, 0xa983),
    (0xa9b4, 0xa9bf), (0xa9e5, 0xa9e5), (0xaa29, 0xaa36), (0xaa43, 0xaa43), (0xaa4c, 0xaa4d),
    (0xaa7b, 0xaa7d), (0xaab0, 0xaab0), (0xaab2, 0xaab4), (0xaab7, 0xaab8), (0xaabe, 0xaabe),
    (0xaaeb, 0xaaef), (0xaaf5, 0xaaf5), (0xabe3, 0xabea), (0xfb1e, 0xfb1e), (0x10376, 0x1037a),
    (0x10a01, 0x10a0f), (0x10d24, 0x10d27), (0x10eab, 0x10eac), (0x11000, 0x11002),
    (0x11038, 0x11045), (0x11073, 0x11074), (0x11080, 0x11082), (0x110b0, 0x110c2),
    (0x11100, 0x11102), (0x11127, 0x11132), (0x11145, 0x11146), (0x11180, 0x11182),
    (0x111b3, 0x111bf), (0x111ce, 0x111cf), (0x1122c, 0x1123e), (0x112df, 0x112e8),
    (0x11300, 0x11303), (0x1133e, 0x1134c), (0x11357, 0x11357), (0x11362, 0x11363),
    (0x11435, 0x11445), (0x114b0, 0x114c1), (0x115af, 0x115be), (0x115dc, 0x115dd),
    (0x11630, 0x11640), (0x116ab, 0x116b5), (0x1171d, 0x1172a), (0x1182c, 0x11838),
    (0x11930, 0x1193c), (0x11940, 0x11940), (0x11942, 0x11942), (0x119d1, 0x119df),
    (0x119e4, 0x119e4), (0x11a01, 0x11a0a), (0x11a35, 0x11a39), (0x11a3b, 0x11a3e),
    (0x11a51, 0x11a5b), (0x11a8a, 0x11a97), (0x11c2f, 0x11c3e), (0x11c92, 0x11cb6),
    (0x11d31, 0x11d43), (0x11d47, 0x11d47), (0x11d8a, 0x11d96), (0x11ef3, 0x11ef6),
    (0x16f4f, 0x16f4f), (0x16f51, 0x16f92), (0x16ff0, 0x16ff1), (0x1bc9e, 0x1bc9e),
    (0x1e000, 0x1e02a), (0x1e947, 0x1e947), (0x1f130, 0x1f189),
];

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: PasswordRules = PasswordRules { min_length: 8 };
    const FIRST: &str = "The password is too similar to the first name.";
    const LAST: &str = "The password is too similar to the last name.";
    const EMAIL: &str = "The password is too similar to the email.";
    const SHORT: &str = "This password is too short. It must contain at least 8 characters.";
    const COMMON_ONE: &str = "This password is too common.";
    const NUMERIC: &str = "This password is entirely numeric.";

    fn complaints(password: &str, first: &str, last: &str, email: &str) -> Vec<String> {
        let person = PersonalData {
            email: Some(email),
            first_name: Some(first),
            last_name: Some(last),
        };
        RULES.complaints(password, &person, false)
    }

    #[test]
    fn first_similarity_is_reported() {
        for (password, first, last, email, expected) in [
            ("charlotte7", "Charlotte", "", "", &[FIRST][..]),
            ("annecharlotte", "Charlotte Anne", "", "", &[FIRST]),
            ("ettolrahc", "Charlotte", "", "", &[FIRST]),
            ("xxxxcharlottexxxx", "Charlotte", "", "", &[]),
            ("lindqvist1", "", "O'Hara-Lindqvist", "", &[LAST]),
            ("newuser99", "", "", "newuser@example.com", &[EMAIL]),
            ("new_user_99", "", "", "new_user_99@x.org", &[EMAIL]),
            ("i\u{307}stanbul99", "İstanbul", "", "", &[FIRST]),
            ("straße99", "STRASSE", "", "", &[]),
            (
                "Jennifer",
                "Jennifer",
                "Jennifers",
                "jennifer@x.org",
                &[FIRST, COMMON_ONE],
            ),
            ("aaaaaaaaaaaa", "aaa", "", "", &[]),
        ] {
            assert_eq!(
                complaints(password, first, last, email),
                expected,
                "{password}"
            );
        }
    }

    #[test]
    fn complaints_have_the_order_of_the_api() {
        assert_eq!(
            complaints("12345", "12345", "", ""),
            [FIRST, SHORT, COMMON_ONE, NUMERIC]
        );
        let nobody = PersonalData::default();
        assert!(
            RULES
                .complaints("river-Boat-2291", &nobody, false)
                .is_empty()
        );
        assert_eq!(
            PasswordRules { min_length: 1 }.complaints("", &nobody, false),
            ["This password is too short. It must contain at least 1 character."]
        );
    }

    #[test]
    fn length_counts_characters() {
        let nobody = PersonalData::default();
        assert_eq!(RULES.complaints("😀😀😀😀😀😀😀", &nobody, false), [SHORT]);
        assert!(
            RULES
                .complaints("😀😀😀😀😀😀😀😀", &nobody, false)
                .is_empty()
        );
    }

    #[test]
    fn every_common_password_is_found() {
        assert!(COMMON.lines().is_sorted_by(|one, next| one < next));
        assert!(COMMON.lines().count() > 19_000);
        for line in COMMON.lines() {
            assert!(is_common(line), "{line}");
        }
        for spelling in ["PaSsWoRd", " password ", "\u{a0}password\u{1c}\n"] {
            assert!(is_common(spelling), "{spelling:?}");
        }
        for other in [
            "",
            "\n",
            "~",
            "passwor",
            "passwordp",
            "password\n123456",
            "zzzzzzzzz~",
        ] {
            assert!(!is_common(other), "{other:?}");
        }
    }

    #[test]
    fn digits_are_those_of_python() {
        for numeric in [
            "98761234509",
            "٣٤٥٦٧٨٩٠",
            "１２３",
            "²³¹",
            "①②⑨",
            "၁၂၃",
            "𝟘𝟿",
        ] {
            assert!(is_numeric(numeric), "{numeric}");
        }
        for other in ["", "1234 5678", "-1", "1.5", "½", "Ⅳ", "五", "⑩", "1a"] {
            assert!(!is_numeric(other), "{other}");
        }
    }

    #[test]
    fn words_are_those_of_python() {
        for c in ['a', 'é', 'Σ', '字', '_', '7', '²', '½', 'Ⅳ'] {
            assert!(is_word(c), "{c}");
        }
        for c in ['-', '.', '@', '\'', ' ', '\u{301}', '\u{93f}', 'Ⓐ', '😀'] {
            assert!(!is_word(c), "{c}");
        }
    }
}
