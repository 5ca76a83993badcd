//! Folding text for search, so that case, accents and compatibility forms do not matter.

use std::borrow::Cow;

use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;

/// The form of a text in which a search compares it.
///
/// Letters of all scripts lose their case, their accents and other combining marks (NFKD without
/// them), and letters that Unicode does not decompose become what people type instead: `ß` is `ss`
/// and `ø` is `o`. So `munchen` finds `München`, in NFC and NFD alike, and `иван` finds `Иван`.
pub fn folded(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    let classes = CanonicalCombiningClassMapBorrowed::new();
    let mut folded = String::with_capacity(text.len());
    for c in DecomposingNormalizerBorrowed::new_nfkd().normalize_iter(text.chars()) {
        // Zero is the class of everything but combining marks.
        if classes.get_u8(c) != 0 {
            continue;
        }
        for lower in c.to_lowercase() {
            match undecomposed(lower) {
                Some(plain) => folded.push_str(plain),
                None => folded.push(lower),
            }
        }
    }
    Cow::Owned(folded)
}

/// What people type for a lower-case letter that has no decomposition.
const fn undecomposed(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'þ' => "th",
        'ł' => "l",
        'ħ' => "h",
        'ı' => "i",
        // The form at the end of a word.
        'ς' => "σ",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_of_all_scripts_fold() {
        for (text, expected) in [
            ("", ""),
            ("Ann.Smith+1@X.org", "ann.smith+1@x.org"),
            ("München", "munchen"),
            ("Mu\u{308}nchen", "munchen"),
            ("ÉLODIE", "elodie"),
            ("Straße STRASSE", "strasse strasse"),
            ("GROẞ", "gross"),
            ("Søren Łukasz Đorđe Þór", "soren lukasz dorde thor"),
            ("İstanbul ISPARTA ıspanak", "istanbul isparta ispanak"),
            ("Иван ИВАН", "иван иван"),
            ("Алёна", "алена"),
            ("ΟΔΥΣΣΕΥΣ Οδυσσεύς", "οδυσσευσ οδυσσευσ"),
            ("ﬁx Ｗｉｄｅ", "fix wide"),
            ("李", "李"),
            ("かがみ カガミ", "かかみ カカミ"),
            ("مُحَمَّد", "محمد"),
            ("שָׁלוֹם", "שלום"),
            ("ა Ა", "ა ა"),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn folding_twice_changes_nothing() {
        for text in ["Mu\u{308}nchen", "İ", "ǅ", "ﷺ", "각", "Ω K Å", "ᾳ", "ﬃ"] {
            let once = folded(text).into_owned();
            assert_eq!(folded(&once), once, "{text}");
        }
    }

    #[test]
    fn syllables_of_hangul_fold_alike_in_both_forms() {
        assert_eq!(
            folded("한국"),
            folded("\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}")
        );
    }
}
